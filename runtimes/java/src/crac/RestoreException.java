package freehold.crac;

import java.util.List;

/** What was told of a restore has failed; suppressed, in order, is how. */
public final class RestoreException extends Exception {
    private static final long serialVersionUID = 1L;

    RestoreException(List<Throwable> failed) {
        super(Registered.text(failed));
        for (Throwable one : failed) {
            addSuppressed(one);
        }
    }
}
