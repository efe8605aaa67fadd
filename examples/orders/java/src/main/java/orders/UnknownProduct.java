package orders;

/** There is no product of that name. */
final class UnknownProduct extends Refused {
    private static final long serialVersionUID = 1;

    UnknownProduct(String message) {
        super(message);
    }
}
