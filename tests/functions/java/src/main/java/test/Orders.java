package test;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import java.util.List;
import java.util.Map;

/** RequestHandler with POJOs, nested and in generics. */
public class Orders implements RequestHandler<Orders.Order, Orders.Bill> {
    public static class Line {
        private String name;
        private double price;
        private int count = 1;

        public String getName() { return name; }
        public void setName(String name) { this.name = name; }
        public double getPrice() { return price; }
        public void setPrice(double price) { this.price = price; }
        public int getCount() { return count; }
        public void setCount(int count) { this.count = count; }
    }

    public static class Order {
        private String customer;
        private List<Line> lines;
        private Map<String, String> notes;

        public String getCustomer() { return customer; }
        public void setCustomer(String customer) { this.customer = customer; }
        public List<Line> getLines() { return lines; }
        public void setLines(List<Line> lines) { this.lines = lines; }
        public Map<String, String> getNotes() { return notes; }
        public void setNotes(Map<String, String> notes) { this.notes = notes; }
    }

    public static class Bill {
        private final String to;
        private final double total;
        private final Line first;

        Bill(String to, double total, Line first) {
            this.to = to;
            this.total = total;
            this.first = first;
        }

        public String getTo() { return to; }
        public double getTotal() { return total; }
        public Line getFirst() { return first; }
    }

    @Override
    public Bill handleRequest(Order order, Context context) {
        double total = order.lines.stream().mapToDouble(line -> line.price * line.count).sum();
        return new Bill(order.customer + order.notes.getOrDefault("suffix", ""), total, order.lines.get(0));
    }
}
