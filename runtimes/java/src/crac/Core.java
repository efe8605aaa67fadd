package freehold.crac;

import freehold.Hooks;

/**
 * Where the `org.crac` of a function finds the platform: it looks for an implementation by the name of a
 * package (`org.crac.Core.Compat`, as on Lambda), and for these classes in it. What it registers here are
 * stand-ins of the function's resources, which live as long as those.
 *
 * <p>Loaded by a function that brings `org.crac`, and by none else.
 *
 * <p>Source: the published `org.crac` 0.1.3 to 1.5.0; API documentation of `jdk.crac`.
 */
public final class Core {
    private static final Context<Resource> GLOBAL = new Registered();

    static {
        Hooks.areIn(GLOBAL);
    }

    private Core() {}

    public static Context<Resource> getGlobalContext() {
        return GLOBAL;
    }

    /** When there is a checkpoint is the platform's to say. */
    public static void checkpointRestore() throws CheckpointException, RestoreException {
        throw new UnsupportedOperationException("checkpoints are made when a version is published");
    }
}
