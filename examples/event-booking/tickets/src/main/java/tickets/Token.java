package tickets;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.security.GeneralSecurityException;
import java.util.Base64;
import java.util.Map;
import java.util.stream.Collectors;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/** JSON Web Tokens (RFC 7519) with HMAC-SHA256. Signs only: {@code poster} checks. */
final class Token {
    private static final String HEADER = "{\"alg\":\"HS256\",\"typ\":\"JWT\"}";

    /** RFC 7518, 3.2: a key as long as the hash, at least. */
    private static final int KEY_MIN_BYTES = 32;

    private final SecretKeySpec key;

    private Token(SecretKeySpec key) {
        this.key = key;
    }

    static Token withKey(String key) {
        if (key == null || key.getBytes(UTF_8).length < KEY_MIN_BYTES) {
            throw new IllegalStateException("TICKET_KEY must have " + KEY_MIN_BYTES + " bytes or more");
        }
        return new Token(new SecretKeySpec(key.getBytes(UTF_8), "HmacSHA256"));
    }

    String sign(Map<String, Object> claims) {
        String signed = encode(HEADER.getBytes(UTF_8)) + "." + encode(json(claims).getBytes(UTF_8));
        try {
            Mac mac = Mac.getInstance("HmacSHA256");
            mac.init(key);
            return signed + "." + encode(mac.doFinal(signed.getBytes(UTF_8)));
        } catch (GeneralSecurityException impossible) {
            throw new IllegalStateException("every Java platform has HmacSHA256", impossible);
        }
    }

    private static String encode(byte[] bytes) {
        return Base64.getUrlEncoder().withoutPadding().encodeToString(bytes);
    }

    /** Texts and whole numbers are all that a ticket has. */
    private static String json(Map<String, Object> claims) {
        return claims.entrySet().stream()
                .map(claim -> quote(claim.getKey()) + ":"
                        + (claim.getValue() instanceof Long number ? number.toString() : quote((String) claim.getValue())))
                .collect(Collectors.joining(",", "{", "}"));
    }

    private static String quote(String text) {
        StringBuilder out = new StringBuilder("\"");
        for (char c : text.toCharArray()) {
            if (c == '"' || c == '\\') {
                out.append('\\').append(c);
            } else if (c < ' ' || Character.isSurrogate(c)) {
                // A half of a surrogate pair would not survive UTF-8; escaped, any text does.
                out.append(String.format("\\u%04x", (int) c));
            } else {
                out.append(c);
            }
        }
        return out.append('"').toString();
    }
}
