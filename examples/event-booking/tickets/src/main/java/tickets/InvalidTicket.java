package tickets;

/** What was to be signed is no ticket; the message names the field. */
public final class InvalidTicket extends RuntimeException {
    private static final long serialVersionUID = 1;

    InvalidTicket(String message) {
        super(message);
    }
}
