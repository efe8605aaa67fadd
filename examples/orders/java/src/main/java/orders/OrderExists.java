package orders;

/** Another order was placed with this id. */
final class OrderExists extends Refused {
    private static final long serialVersionUID = 1;

    OrderExists(String message) {
        super(message);
    }
}
