import java.util.Map;

public class Hello {
    public Map<String, String> handle(Map<String, Object> event) {
        return Map.of("hello", "world");
    }
}
