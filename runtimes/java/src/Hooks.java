package freehold;

import freehold.crac.Context;

/**
 * The function's hooks around a snapshot, of versions with SnapStart alone. A JVM is not carried by one (it is
 * made of threads), so both halves run in every instance, in one process.
 *
 * <p>They come by the `org.crac` that a function brings: see `freehold.crac.Core`, which is loaded for a
 * function that registers something, and says so here.
 */
public final class Hooks {
    /** By this `org.crac` is told where to look for an implementation. */
    static final String PROPERTY = "org.crac.Core.Compat";
    static final String PACKAGE = "freehold.crac";
    /** Exit code of Lambda's runtime when a hook fails. */
    private static final int EXIT = 64;
    private static volatile Context<?> registered;

    private Hooks() {}

    /** The function's hooks, from now on. */
    public static void areIn(Context<?> context) {
        registered = context;
    }

    static void before(Client client) {
        Context<?> context = registered;
        if (context == null) {
            return;
        }
        try {
            context.beforeCheckpoint(context);
        } catch (Throwable error) {
            System.err.print(Failure.logged(error));
            client.postInitError("Runtime.BeforeCheckpointError", Failure.json(error));
            System.exit(EXIT);
        }
    }

    static void after(Client client) {
        Context<?> context = registered;
        if (context == null) {
            return;
        }
        try {
            context.afterRestore(context);
        } catch (Throwable error) {
            System.err.print(Failure.logged(error));
            client.postRestoreError("Runtime.AfterRestoreError", Failure.json(error));
            System.exit(EXIT);
        }
    }
}
