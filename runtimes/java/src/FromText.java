package freehold;

import java.lang.reflect.Constructor;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.math.BigDecimal;
import java.nio.ByteBuffer;
import java.time.DateTimeException;
import java.time.LocalDate;
import java.time.OffsetDateTime;
import java.time.ZoneOffset;
import java.time.ZonedDateTime;
import java.time.format.DateTimeFormatter;
import java.time.format.DateTimeFormatterBuilder;
import java.util.Base64;
import java.util.Date;
import java.util.List;

/** Types of which JSON has no own form: made of one text or number. */
final class FromText {
    private static final List<String> FACTORIES = List.of("parse", "fromString", "valueOf", "create");
    /** `2024-05-06T07:08:09.5+00:00`, with `Z` and `+0000` as well. */
    private static final DateTimeFormatter TIME = new DateTimeFormatterBuilder()
        .append(DateTimeFormatter.ISO_LOCAL_DATE_TIME)
        .appendPattern("[XXX][XX]").toFormatter(java.util.Locale.ROOT);

    private FromText() {}

    /**
     * Bytes from base64, a date, or by `parse(CharSequence)`, `fromString(String)`, `valueOf(String)`,
     * `create(String)` or a constructor: times of java.time and Joda, UUIDs, URIs and the like.
     */
    static Object make(Object value, Class<?> raw) {
        if (raw == ByteBuffer.class && value instanceof String) {
            return ByteBuffer.wrap(Base64.getDecoder().decode((String) value));
        }
        if (raw == Date.class && value instanceof Number) {
            return new Date(Binding.truncated(new BigDecimal(value.toString())).longValueExact());
        }
        if (raw == Date.class && value instanceof String) {
            return date((String) value);
        }
        for (Method method : raw.getMethods()) {
            boolean isFactory = FACTORIES.contains(method.getName()) && Modifier.isStatic(method.getModifiers())
                && method.getParameterCount() == 1 && raw.isAssignableFrom(method.getReturnType())
                && method.getParameterTypes()[0].isInstance(value.toString());
            if (isFactory) {
                return Binding.call(() -> method.invoke(null, value.toString()));
            }
        }
        Object argument = value instanceof Number ? (Object) ((Number) value).longValue() : value.toString();
        Class<?> wanted = value instanceof Number ? long.class : String.class;
        for (Constructor<?> constructor : raw.getConstructors()) {
            if (constructor.getParameterCount() == 1 && constructor.getParameterTypes()[0] == wanted) {
                return Binding.call(() -> constructor.newInstance(argument));
            }
        }
        throw Binding.mismatch(value, raw);
    }

    /** ISO 8601, RFC 1123, or milliseconds; never empty. */
    private static Date date(String text) {
        if (text.matches("-?\\d{1,18}")) {
            return new Date(Long.parseLong(text));
        }
        try {
            if (Character.isLetter(text.charAt(0))) {
                return Date.from(ZonedDateTime.parse(text, DateTimeFormatter.RFC_1123_DATE_TIME).toInstant());
            }
            return Date.from(text.indexOf('T') < 0 ? LocalDate.parse(text).atStartOfDay(ZoneOffset.UTC).toInstant() : OffsetDateTime.parse(text, TIME).toInstant());
        } catch (DateTimeException error) {
            throw Binding.mismatch(text, Date.class);
        }
    }

    /** What AWS's own events mean by a number where a date is wanted: seconds with a fraction. */
    static Date ofSeconds(Number seconds) {
        return new Date(Binding.truncated(new BigDecimal(seconds.toString()).movePointRight(3)).longValueExact());
    }
}
