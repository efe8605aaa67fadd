package freehold;

import java.lang.reflect.Field;
import java.util.Map;

/**
 * The variables of a process that was executed before it was known for whom: Java reads them once, so
 * its copy is changed, and the C library's for child processes.
 */
final class Environment {
    private Environment() {}

    /** `NAME=VALUE`, separated by NULs. What is so already is left alone. */
    static void apply(String variables) {
        Map<String, String> known = System.getenv();
        Map<String, String> own = null;
        for (String entry : variables.split("\0")) {
            int equals = entry.indexOf('=');
            if (equals <= 0) {
                continue;
            }
            String name = entry.substring(0, equals);
            String value = entry.substring(equals + 1);
            if (!value.equals(known.get(name))) {
                if (own == null) {
                    own = writable(known);
                }
                own.put(name, value);
                if (Native.isLoaded()) {
                    Native.setVariable(name, value);
                }
            }
        }
    }

    /** Sets one of the variables to what it is: what that needs is loaded, and nothing has changed. */
    static void rehearse() {
        Map<String, String> known = System.getenv();
        for (Map.Entry<String, String> entry : known.entrySet()) {
            writable(known).put(entry.getKey(), entry.getValue());
            if (Native.isLoaded()) {
                Native.setVariable(entry.getKey(), entry.getValue());
            }
            return;
        }
    }

    /** The map behind `System.getenv()`; what is put there, `ProcessBuilder` knows too. */
    @SuppressWarnings("unchecked")
    private static Map<String, String> writable(Map<String, String> known) {
        try {
            Field field = known.getClass().getDeclaredField("m");
            field.setAccessible(true);
            return (Map<String, String>) field.get(known);
        } catch (ReflectiveOperationException error) {
            throw new IllegalStateException("this JVM's environment cannot be changed", error);
        }
    }
}
