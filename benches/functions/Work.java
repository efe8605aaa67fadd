import java.util.Map;

public class Work {
    private static final Map<String, String> ANSWER = Map.of("text", "x".repeat(20000));

    public Map<String, String> handle(Map<String, Object> event) {
        Object body = event.getOrDefault("body", event.getOrDefault("text", ""));
        System.out.println("one: the event has " + String.valueOf(body).length() + " characters");
        System.out.println("two: it has " + event.size() + " fields");
        System.out.println("three: done");
        return ANSWER;
    }
}
