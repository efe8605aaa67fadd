package freehold;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.UndeclaredThrowableException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/** Errors as Lambda shows them: `errorMessage`, `errorType`, `stackTrace`, `cause`. */
final class Failure extends RuntimeException {
    private static final long serialVersionUID = 1L;
    private final String lambdaType;

    /** A failure that Lambda has a name for. */
    Failure(String lambdaType, String message, Throwable cause) {
        super(message, cause);
        this.lambdaType = lambdaType;
    }

    /** What the function threw, without what reflection put around it. */
    static Throwable unwrapped(Throwable error) {
        Throwable inner = error;
        while ((inner instanceof InvocationTargetException || inner instanceof UndeclaredThrowableException) && inner.getCause() != null) {
            inner = inner.getCause();
        }
        return inner;
    }

    static String type(Throwable error) {
        return error instanceof Failure ? ((Failure) error).lambdaType : error.getClass().getName();
    }

    static byte[] json(Throwable error) {
        return Bootstrap.utf8(Json.write(described(error, Collections.newSetFromMap(new IdentityHashMap<>()))));
    }

    private static Map<String, Object> described(Throwable error, Set<Throwable> seen) {
        seen.add(error);
        Map<String, Object> fields = new LinkedHashMap<>();
        fields.put("errorMessage", error.getMessage() == null ? Json.NULL : error.getMessage());
        fields.put("errorType", type(error));
        if (!(error instanceof Failure)) {
            fields.put("stackTrace", trace(error));
        }
        Throwable cause = error.getCause();
        if (cause != null && !seen.contains(cause)) {
            fields.put("cause", described(cause, seen));
        }
        return fields;
    }

    /** The function's own frames: what is below the first of ours is how it was called. */
    private static List<String> trace(Throwable error) {
        List<String> lines = new ArrayList<>();
        for (StackTraceElement frame : error.getStackTrace()) {
            if (frame.getClassName().startsWith("freehold.")) {
                break;
            }
            lines.add(frame.toString());
        }
        int last = lines.size();
        while (last > 0 && (lines.get(last - 1).contains("java.lang.reflect.") || lines.get(last - 1).contains("jdk.internal.reflect."))) {
            last--;
        }
        return lines.subList(0, last);
    }

    /** One log event: on standard output a line is an event, so the ends of its lines are returns. */
    static String logged(Throwable error) {
        StringBuilder text = new StringBuilder();
        String head = error.getMessage() == null ? "" : error.getMessage() + ": ";
        text.append(head).append(type(error));
        append(text, error, 0);
        return text.append('\n').toString();
    }

    private static void append(StringBuilder text, Throwable error, int depth) {
        for (String line : trace(error)) {
            text.append("\r\tat ").append(line);
        }
        for (Throwable other : depth < 8 ? error.getSuppressed() : new Throwable[0]) {
            text.append("\rSuppressed: ").append(other.toString().replace('\n', '\r'));
            append(text, other, depth + 1);
        }
        Throwable cause = error.getCause();
        if (cause != null && cause != error && depth < 8) {
            text.append("\rCaused by: ").append(cause.toString().replace('\n', '\r'));
            append(text, cause, depth + 1);
        }
    }
}
