package orders;

/** No order has that id. */
final class OrderNotFound extends Refused {
    private static final long serialVersionUID = 1;

    OrderNotFound(String message) {
        super(message);
    }
}
