package orders;

/** The database cannot be reached now; the same call may be made again. */
final class DatabaseUnavailable extends Refused {
    private static final long serialVersionUID = 1;

    DatabaseUnavailable(String message) {
        super(message);
    }
}
