package tickets;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.junit.Assert.assertEquals;
import static org.junit.Assert.assertNotEquals;
import static org.junit.Assert.assertThrows;

import java.time.Clock;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.Base64;
import java.util.HashMap;
import java.util.Map;
import org.junit.Test;

public class SignTest {
    private static final String KEY = "0123456789abcdef0123456789abcdef";
    private static final Clock CLOCK = Clock.fixed(Instant.parse("2031-05-01T00:00:00Z"), ZoneOffset.UTC);

    private static Map<String, Object> request() {
        Map<String, Object> request = new HashMap<>(Map.of(
                "booking", "bk-1", "holder", "Ada \"the\\first\"\n", "title", "Harbour Lights", "venue", "Dock 4",
                "starts", "2031-05-16T20:00:00Z", "seats", "2 × standard", "total", "65.50 EUR"));
        return request;
    }

    private static Map<String, Object> sign(String key, Map<String, Object> request) {
        return new Sign(Token.withKey(key), CLOCK).handleRequest(request, null);
    }

    @Test
    public void claimsAreWrittenAsJson() {
        Map<String, Object> signed = sign(KEY, request());
        assertEquals("2031-05-17T08:00:00Z", signed.get("expires"));
        String claims = new String(Base64.getUrlDecoder().decode(((String) signed.get("token")).split("\\.")[1]), UTF_8);
        assertEquals("{\"jti\":\"bk-1\",\"sub\":\"Ada \\\"the\\\\first\\\"\\u000a\",\"iat\":1935360000,"
                + "\"exp\":1936771200,\"title\":\"Harbour Lights\",\"venue\":\"Dock 4\","
                + "\"starts\":\"2031-05-16T20:00:00Z\",\"seats\":\"2 × standard\",\"total\":\"65.50 EUR\"}", claims);
    }

    @Test
    public void theSignatureDependsOnTheKey() {
        assertEquals(sign(KEY, request()), sign(KEY, request()));
        assertNotEquals(sign(KEY, request()), sign(KEY + "!", request()));
    }

    @Test
    public void whatIsNoTicketIsNotSigned() {
        for (String field : request().keySet()) {
            for (Object wrong : new Object[] {null, 7, " ", "x".repeat(201)}) {
                Map<String, Object> request = request();
                request.put(field, wrong);
                InvalidTicket problem = assertThrows(InvalidTicket.class, () -> sign(KEY, request));
                assertEquals(field, problem.getMessage().split(" ")[0]);
            }
        }
        for (String wrong : new String[] {"tomorrow", "2031-05-01T00:00:00Z"}) {
            Map<String, Object> request = request();
            request.put("starts", wrong);
            assertThrows(InvalidTicket.class, () -> sign(KEY, request));
        }
        assertThrows(InvalidTicket.class, () -> sign(KEY, null));
    }

    @Test
    public void aShortKeyIsRefusedAtTheStart() {
        assertThrows(IllegalStateException.class, () -> Token.withKey(null));
        assertThrows(IllegalStateException.class, () -> Token.withKey("short"));
    }
}
