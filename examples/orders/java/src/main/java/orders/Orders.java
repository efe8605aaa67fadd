package orders;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import java.sql.SQLException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;

/** Places, lists and cancels orders; see ../README.md for what goes in and comes out. */
public final class Orders implements RequestHandler<Object, Object> {

    private static final int LINES_MAX = 20;
    private static final int QUANTITY_MAX = 1000;
    private static final int LISTED_MAX = 50;

    private final Database database;

    /** Called by the runtime, once per instance, in time that is not the caller's. */
    public Orders() {
        database = new Database(System.getenv("DATABASE_URL"));
        try {
            database.connect();
        } catch (Database.Unavailable problem) {
            // Who cannot connect now tries again.
            System.out.println("the database cannot be reached yet: " + problem.getMessage());
        }
    }

    @Override
    public Object handleRequest(Object given, Context context) {
        if (!(given instanceof Map<?, ?> event)) {
            throw new InvalidOrder("the call must be an object with an action");
        }
        try {
            return switch (event.get("action") instanceof String action ? action : "") {
                case "place" -> Map.of("order", place(event));
                case "cancel" -> Map.of("order", cancel(key(event, "id")));
                case "list" -> Map.of("orders", list(text(event, "customer")));
                case "stock" -> Map.of("stock", database.transaction(Orders::stock));
                default -> throw new InvalidOrder("action must be one of place, cancel, list, stock");
            };
        } catch (Database.Unavailable problem) {
            System.out.println(problem.getMessage() + ": " + problem.getCause());
            throw new DatabaseUnavailable(problem.getMessage());
        } catch (SQLException problem) {
            throw new IllegalStateException(problem);
        }
    }

    private Map<String, Object> place(Map<?, ?> event) throws SQLException, Database.Unavailable {
        String id = key(event, "id");
        String customer = text(event, "customer");
        SortedMap<String, Integer> lines = lines(event);
        return database.transaction(sql -> {
            if (sql.run(sql.insertOrder(), id, customer) == 0) {
                // Placed before: the answer was lost, or another order has the id.
                Order order = read(sql, id);
                if (!order.customer.equals(customer) || !order.quantities().equals(lines)) {
                    throw new OrderExists("another order was placed as " + id);
                }
                return order.shown();
            }
            // By name, so that two orders for the same products wait for each other in the same order.
            for (Map.Entry<String, Integer> line : lines.entrySet()) {
                String sku = line.getKey();
                int quantity = line.getValue();
                // The condition is what keeps stock from falling below zero, whoever else buys now.
                if (sql.run("UPDATE products SET stock = stock - ? WHERE sku = ? AND stock >= ?",
                        quantity, sku, quantity) == 0) {
                    List<List<Object>> left = sql.rows("SELECT stock FROM products WHERE sku = ?", sku);
                    if (left.isEmpty()) {
                        throw new UnknownProduct("there is no product " + sku);
                    }
                    throw new OutOfStock(left.get(0).get(0) + " of " + sku + " are left, not " + quantity);
                }
                sql.run("INSERT INTO order_lines (order_id, sku, quantity, price)"
                        + " SELECT ?, sku, ?, price FROM products WHERE sku = ?", id, quantity, sku);
            }
            return read(sql, id).shown();
        });
    }

    private Map<String, Object> cancel(String id) throws SQLException, Database.Unavailable {
        return database.transaction(sql -> {
            int changed = sql.run(
                    "UPDATE orders SET status = 'cancelled' WHERE id = ? AND status = 'placed'", id);
            Order order = read(sql, id);
            // Cancelled once: a second call gives nothing back.
            if (changed > 0) {
                for (Line line : order.lines) {
                    sql.run("UPDATE products SET stock = stock + ? WHERE sku = ?", line.quantity, line.sku);
                }
            }
            return order.shown();
        });
    }

    private List<Map<String, Object>> list(String customer) throws SQLException, Database.Unavailable {
        String chosen = "SELECT * FROM orders WHERE customer = ? ORDER BY placed DESC, id LIMIT " + LISTED_MAX;
        return database.transaction(
                sql -> orders(sql, chosen, customer).stream().map(Order::shown).toList());
    }

    private static Map<String, Object> stock(Database.Statements sql) throws SQLException {
        Map<String, Object> stock = new LinkedHashMap<>();
        for (List<Object> row : sql.rows("SELECT sku, stock FROM products ORDER BY sku LIMIT 1000")) {
            stock.put((String) row.get(0), row.get(1));
        }
        return stock;
    }

    private record Line(String sku, int quantity, int price) {
        Map<String, Object> shown() {
            return Map.of("sku", sku, "quantity", quantity, "price", price);
        }
    }

    private record Order(String id, String customer, String status, List<Line> lines) {
        SortedMap<String, Integer> quantities() {
            SortedMap<String, Integer> quantities = new TreeMap<>();
            lines.forEach(line -> quantities.put(line.sku, line.quantity));
            return quantities;
        }

        Map<String, Object> shown() {
            long total = lines.stream().mapToLong(line -> (long) line.quantity * line.price).sum();
            return Map.of("id", id, "customer", customer, "status", status, "total", total,
                    "lines", lines.stream().map(Line::shown).toList());
        }
    }

    private static Order read(Database.Statements sql, String id) throws SQLException {
        List<Order> found = orders(sql, "SELECT * FROM orders WHERE id = ?", id);
        if (found.isEmpty()) {
            throw new OrderNotFound("there is no order " + id);
        }
        return found.get(0);
    }

    /** The orders that a query chooses, with their lines, newest first. */
    private static List<Order> orders(Database.Statements sql, String chosen, String argument)
            throws SQLException {
        Map<String, Order> orders = new LinkedHashMap<>();
        for (List<Object> row : sql.rows(
                "SELECT o.id, o.customer, o.status, l.sku, l.quantity, l.price FROM (" + chosen + ") o"
                        + " JOIN order_lines l ON l.order_id = o.id ORDER BY o.placed DESC, o.id, l.sku", argument)) {
            String id = (String) row.get(0);
            orders.computeIfAbsent(id, unseen -> new Order(
                    id, (String) row.get(1), (String) row.get(2), new ArrayList<>()));
            orders.get(id).lines.add(new Line((String) row.get(3), (Integer) row.get(4), (Integer) row.get(5)));
        }
        return new ArrayList<>(orders.values());
    }

    private static String key(Map<?, ?> holder, String field) {
        if (!(holder.get(field) instanceof String value) || !value.matches("[A-Za-z0-9-]{1,40}")) {
            throw new InvalidOrder(field + " must be 1 to 40 letters, digits and hyphens");
        }
        return value;
    }

    private static String text(Map<?, ?> event, String field) {
        // Neither database keeps a zero, and half of a surrogate pair is no text.
        if (!(event.get(field) instanceof String value) || value.isEmpty()
                || value.codePointCount(0, value.length()) > 80
                || value.codePoints().anyMatch(c -> c == 0 || Character.getType(c) == Character.SURROGATE)) {
            throw new InvalidOrder(field + " must be a text of 1 to 80 characters");
        }
        return value;
    }

    private static SortedMap<String, Integer> lines(Map<?, ?> event) {
        if (!(event.get("lines") instanceof List<?> given) || given.isEmpty() || given.size() > LINES_MAX) {
            throw new InvalidOrder("lines must have 1 to " + LINES_MAX + " entries");
        }
        SortedMap<String, Integer> lines = new TreeMap<>();
        for (Object one : given) {
            if (!(one instanceof Map<?, ?> line)) {
                throw new InvalidOrder("each of lines must be an object");
            }
            String sku = key(line, "sku");
            Object quantity = line.get("quantity");
            boolean isWhole = quantity instanceof Integer || quantity instanceof Long;
            long count = isWhole ? ((Number) quantity).longValue() : 0;
            if (lines.containsKey(sku)) {
                throw new InvalidOrder("lines has " + sku + " twice");
            }
            if (count < 1 || count > QUANTITY_MAX) {
                throw new InvalidOrder("quantity must be from 1 to " + QUANTITY_MAX);
            }
            lines.put(sku, (int) count);
        }
        return lines;
    }
}
