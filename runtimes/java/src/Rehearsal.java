package freehold;

import java.net.URL;
import java.net.URLClassLoader;

/**
 * Events through everything of ours and nothing of a function's, before anybody waits: what an event
 * needs is loaded, and the compiler has seen it.
 */
public final class Rehearsal {
    private static final String EVENT = "{\"text\":\"\\u00e9\",\"numbers\":[1,2.5,-3e8],\"nothing\":null,\"nested\":{\"is\":[true]}}";
    private static final int ROUNDS = 200;

    public Rehearsal() {}

    /** The function of the rehearsal. */
    public Object handle(java.util.Map<String, Object> event) {
        return event;
    }

    static void run() {
        Invocation event = new Invocation("00000000-0000-0000-0000-000000000000", 0, "arn", "Root=1", null, Bootstrap.utf8(EVENT));
        try (URLClassLoader loader = new URLClassLoader(new URL[0], Rehearsal.class.getClassLoader())) {
            Handler handler = Handler.load(loader, Rehearsal.class.getName() + "::handle");
            for (int round = 0; round < ROUNDS; round++) {
                handler.handle(event);
            }
            Failure.json(new IllegalStateException("rehearsal"));
        } catch (Throwable error) {
            throw new IllegalStateException(error);
        }
    }
}
