package freehold;

import java.lang.reflect.Array;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Base64;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * JSON text to maps, lists and plain values, and any value to JSON text. Fields without a value are left
 * out there, as Lambda's serializer leaves them out.
 */
final class Json {
    /** Deeper values are refused rather than let overflow the stack. */
    private static final int DEPTH_LIMIT = 500;
    /** A null that is written out where it stands. */
    static final Object NULL = new Object() {
        @Override
        public String toString() {
            return "null";
        }
    };
    private final String text;
    private int at;

    private Json(String text) {
        this.text = text;
    }

    static Object parse(String text) {
        Json parser = new Json(text);
        Object value = parser.value(0);
        parser.space();
        if (parser.at != text.length()) {
            throw parser.wrong("the end");
        }
        return value;
    }

    private IllegalArgumentException wrong(String expected) {
        String found = at < text.length() ? "'" + text.charAt(at) + "'" : "the end";
        return new IllegalArgumentException("expected " + expected + " at character " + at + ", found " + found);
    }

    private void space() {
        while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) {
            at++;
        }
    }

    private Object value(int depth) {
        if (depth > DEPTH_LIMIT) {
            throw new IllegalArgumentException("nested deeper than " + DEPTH_LIMIT);
        }
        space();
        if (at == text.length()) {
            throw wrong("a value");
        }
        switch (text.charAt(at)) {
            case '{': return object(depth);
            case '[': return array(depth);
            case '"': return string();
            case 't': return word("true", Boolean.TRUE);
            case 'f': return word("false", Boolean.FALSE);
            case 'n': return word("null", null);
            default: return number();
        }
    }

    private Object word(String word, Object value) {
        if (!text.startsWith(word, at)) {
            throw wrong("a value");
        }
        at += word.length();
        return value;
    }

    private Map<String, Object> object(int depth) {
        Map<String, Object> fields = new LinkedHashMap<>();
        at++;
        space();
        if (at < text.length() && text.charAt(at) == '}') {
            at++;
            return fields;
        }
        while (true) {
            space();
            if (at == text.length() || text.charAt(at) != '"') {
                throw wrong("a field name");
            }
            String name = string();
            expect(':');
            fields.put(name, value(depth + 1));
            if (more('}')) {
                return fields;
            }
        }
    }

    private List<Object> array(int depth) {
        List<Object> items = new ArrayList<>();
        at++;
        space();
        if (at < text.length() && text.charAt(at) == ']') {
            at++;
            return items;
        }
        while (true) {
            items.add(value(depth + 1));
            if (more(']')) {
                return items;
            }
        }
    }

    private void expect(char c) {
        space();
        if (at == text.length() || text.charAt(at) != c) {
            throw wrong("'" + c + "'");
        }
        at++;
    }

    /** Consumes a comma or `close`; whether it was `close`. */
    private boolean more(char close) {
        space();
        if (at < text.length() && text.charAt(at) == close) {
            at++;
            return true;
        }
        expect(',');
        return false;
    }

    private String string() {
        int start = ++at;
        int end = start;
        while (end < text.length() && text.charAt(end) != '"' && text.charAt(end) != '\\' && text.charAt(end) >= ' ') {
            end++;
        }
        StringBuilder built = new StringBuilder().append(text, start, end);
        at = end;
        while (true) {
            if (at == text.length()) {
                throw wrong("'\"'");
            }
            char c = text.charAt(at++);
            if (c == '"') {
                return built.toString();
            } else if (c < ' ') {
                at--;
                throw wrong("no control character");
            } else if (c != '\\') {
                built.append(c);
            } else {
                built.append(escaped());
            }
        }
    }

    private char escaped() {
        char c = at < text.length() ? text.charAt(at++) : 0;
        switch (c) {
            case '"': case '\\': case '/': return c;
            case 'b': return '\b';
            case 'f': return '\f';
            case 'n': return '\n';
            case 'r': return '\r';
            case 't': return '\t';
            case 'u':
                if (at + 4 <= text.length()) {
                    int code = 0;
                    for (int end = at + 4; at < end; at++) {
                        int digit = Character.digit(text.charAt(at), 16);
                        if (digit < 0) {
                            throw wrong("a hexadecimal digit");
                        }
                        code = code * 16 + digit;
                    }
                    return (char) code;
                }
                // fall through
            default:
                throw wrong("an escape");
        }
    }

    private Number number() {
        int start = at;
        boolean isWhole = true;
        while (at < text.length() && "+-0123456789.eE".indexOf(text.charAt(at)) >= 0) {
            isWhole &= text.charAt(at) == '-' || Character.isDigit(text.charAt(at));
            at++;
        }
        String digits = text.substring(start, at);
        try {
            if (!isWhole) {
                return Double.valueOf(digits);
            }
            if (digits.length() < 19) {
                long value = Long.parseLong(digits);
                return value == (int) value ? (Number) (int) value : (Number) value;
            }
            BigInteger big = new BigInteger(digits);
            return big.bitLength() < 64 ? (Number) big.longValue() : big;
        } catch (NumberFormatException error) {
            at = start;
            throw wrong("a value");
        }
    }

    static String write(Object value) {
        StringBuilder out = new StringBuilder();
        write(value, out, 0);
        return out.toString();
    }

    private static void write(Object value, StringBuilder out, int depth) {
        if (depth > DEPTH_LIMIT) {
            throw new Failure("Runtime.MarshalError", "The response is nested deeper than " + DEPTH_LIMIT + ", or holds itself", null);
        }
        if (value == null || value == NULL || value instanceof Boolean || value instanceof BigDecimal || value instanceof BigInteger || isFinite(value)) {
            out.append(value);
        } else if (value instanceof CharSequence || value instanceof Character || value instanceof Enum || value instanceof Number) {
            quote(value instanceof Enum ? ((Enum<?>) value).name() : value.toString(), out);
        } else if (value instanceof Map) {
            char before = '{';
            for (Map.Entry<?, ?> entry : ((Map<?, ?>) value).entrySet()) {
                if (entry.getValue() == null) {
                    continue;
                }
                out.append(before);
                quote(String.valueOf(entry.getKey()), out);
                out.append(':');
                write(entry.getValue(), out, depth + 1);
                before = ',';
            }
            out.append(before == '{' ? "{}" : "}");
        } else if (value instanceof Iterable) {
            char before = '[';
            for (Object item : (Iterable<?>) value) {
                out.append(before);
                write(item, out, depth + 1);
                before = ',';
            }
            out.append(before == '[' ? "[]" : "]");
        } else if (value instanceof byte[]) {
            quote(Base64.getEncoder().encodeToString((byte[]) value), out);
        } else if (value instanceof ByteBuffer) {
            byte[] bytes = new byte[((ByteBuffer) value).remaining()];
            ((ByteBuffer) value).duplicate().get(bytes);
            quote(Base64.getEncoder().encodeToString(bytes), out);
        } else if (value.getClass().isArray()) {
            out.append('[');
            for (int i = 0; i < Array.getLength(value); i++) {
                out.append(i == 0 ? "" : ",");
                write(Array.get(value, i), out, depth + 1);
            }
            out.append(']');
        } else if (value instanceof java.util.Date) {
            out.append(((java.util.Date) value).getTime());
        } else if (value instanceof java.util.Calendar) {
            out.append(((java.util.Calendar) value).getTimeInMillis());
        } else if (value instanceof java.util.Optional) {
            write(((java.util.Optional<?>) value).orElse(null), out, depth);
        } else if (value.getClass().getName().startsWith("java.") || value.getClass().getName().startsWith("org.joda.time.")) {
            // Times, URIs, UUIDs: what they print is what they are.
            quote(value.toString(), out);
        } else {
            write(Binding.properties(value), out, depth);
        }
    }

    private static boolean isFinite(Object value) {
        if (value instanceof Double || value instanceof Float) {
            return Double.isFinite(((Number) value).doubleValue());
        }
        return value instanceof Integer || value instanceof Long || value instanceof Short || value instanceof Byte;
    }

    private static void quote(String text, StringBuilder out) {
        out.append('"');
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c == '\n') {
                out.append("\\n");
            } else if (c == '\r') {
                out.append("\\r");
            } else if (c == '\t') {
                out.append("\\t");
            } else if (c < ' ' || Character.isSurrogate(c) && isAlone(text, i)) {
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        out.append('"');
    }

    private static boolean isAlone(String text, int i) {
        return Character.isHighSurrogate(text.charAt(i))
            ? i + 1 == text.length() || !Character.isLowSurrogate(text.charAt(i + 1))
            : i == 0 || !Character.isHighSurrogate(text.charAt(i - 1));
    }
}
