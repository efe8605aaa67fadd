package tickets;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import java.time.Clock;
import java.time.Instant;
import java.time.format.DateTimeParseException;
import java.time.temporal.ChronoUnit;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Signs what a booking became: {@code {booking, holder, title, venue, starts, seats, total}} in,
 * {@code {token, expires}} out. Answers other functions only; what comes in is still checked, since
 * a signature vouches for it.
 */
public final class Sign implements RequestHandler<Map<String, Object>, Map<String, Object>> {

    /** A claim of a ticket is one line of print. */
    private static final int CLAIM_MAX_CHARS = 200;

    /** How long after its start an event may still be entered. */
    private static final int ENTRY_HOURS = 12;

    private final Token token;
    private final Clock clock;

    /** Called by the runtime, once per instance: without its key the function fails at its start. */
    public Sign() {
        this(Token.withKey(System.getenv("TICKET_KEY")), Clock.systemUTC());
    }

    Sign(Token token, Clock clock) {
        this.token = token;
        this.clock = clock;
    }

    @Override
    public Map<String, Object> handleRequest(Map<String, Object> request, Context context) {
        Instant now = clock.instant();
        Instant starts = instant(text(request, "starts"));
        if (!starts.isAfter(now)) {
            throw new InvalidTicket("starts must be in the future");
        }
        Instant expires = starts.plus(ENTRY_HOURS, ChronoUnit.HOURS);
        Map<String, Object> claims = new LinkedHashMap<>();
        claims.put("jti", text(request, "booking"));
        claims.put("sub", text(request, "holder"));
        claims.put("iat", now.getEpochSecond());
        claims.put("exp", expires.getEpochSecond());
        for (String name : new String[] {"title", "venue", "starts", "seats", "total"}) {
            claims.put(name, text(request, name));
        }
        String signed = token.sign(claims);
        if (context != null) {
            // The booking, not the token: who reads the log must not be able to enter.
            context.getLogger().log("signed " + claims.get("jti") + "\n");
        }
        return Map.of("token", signed, "expires", expires.toString());
    }

    private static String text(Map<String, Object> request, String name) {
        Object value = request == null ? null : request.get(name);
        if (!(value instanceof String text) || text.isBlank() || text.length() > CLAIM_MAX_CHARS) {
            throw new InvalidTicket(name + " must be a text of 1 to " + CLAIM_MAX_CHARS + " characters");
        }
        return text;
    }

    private static Instant instant(String text) {
        try {
            return Instant.parse(text);
        } catch (DateTimeParseException problem) {
            throw new InvalidTicket("starts must be a time such as 2031-05-16T20:00:00Z");
        }
    }
}
