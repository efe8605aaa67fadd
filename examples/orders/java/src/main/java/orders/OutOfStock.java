package orders;

/** Not so many are left. */
final class OutOfStock extends Refused {
    private static final long serialVersionUID = 1;

    OutOfStock(String message) {
        super(message);
    }
}
