package orders;

/** What came in is no order; the text names the field. */
final class InvalidOrder extends Refused {
    private static final long serialVersionUID = 1;

    InvalidOrder(String message) {
        super(message);
    }
}
