package freehold.crac;

import java.util.List;

/** What was told of a checkpoint has failed; suppressed, in order, is how. */
public final class CheckpointException extends Exception {
    private static final long serialVersionUID = 1L;

    CheckpointException(List<Throwable> failed) {
        super(Registered.text(failed));
        for (Throwable one : failed) {
            addSuppressed(one);
        }
    }
}
