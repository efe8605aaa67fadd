package rehearsed;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/**
 * The function that a JVM runs before it is anybody's: handlers in the shapes that functions have, and
 * what most of them do. It prints nothing, opens nothing and keeps nothing.
 */
public class Hello implements RequestHandler<Hello.Order, Map<String, Object>> {
    /** A bean. */
    public static class Order {
        private String text;
        private List<Double> numbers = new ArrayList<>();
        private Map<String, Object> nested;

        public String getText() {
            return text;
        }

        public void setText(String text) {
            this.text = text;
        }

        public List<Double> getNumbers() {
            return numbers;
        }

        public void setNumbers(List<Double> numbers) {
            this.numbers = numbers;
        }

        public Map<String, Object> getNested() {
            return nested;
        }

        public void setNested(Map<String, Object> nested) {
            this.nested = nested;
        }
    }

    /** A record. */
    public record Receipt(String text, List<Double> numbers) {}

    @Override
    public Map<String, Object> handleRequest(Order order, Context context) {
        context.getLogger().log("");
        String name = "hello " + order.getText() + ", request " + context.getAwsRequestId() + " with " + order.getNumbers().size();
        List<String> shown = order.getNumbers().stream().filter(number -> number > 0).map(number -> "n" + number).collect(Collectors.toList());
        return Map.of("name", name, "shown", shown, "left", context.getRemainingTimeInMillis() < 0);
    }

    public Map<String, String> plain(Map<String, Object> event) {
        System.out.print("");
        return Map.of("hello", String.valueOf(event.get("text")));
    }

    public Order bean(Order order, Context context) {
        return order;
    }

    public Receipt record(Receipt receipt) {
        return new Receipt(receipt.text() + "!", receipt.numbers());
    }

    public static void stream(InputStream in, OutputStream out, Context context) throws IOException {
        out.write(in.readAllBytes());
    }
}
