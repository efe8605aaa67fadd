package orders;

/** What is refused. Lambda hands the name of the class to a caller as {@code errorType}. */
public abstract class Refused extends RuntimeException {
    private static final long serialVersionUID = 1;

    Refused(String message) {
        super(message);
    }
}
