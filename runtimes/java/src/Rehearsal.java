package freehold;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.URLClassLoader;

/**
 * A function of ours, loaded as a function is and run through everything of ours, before anybody
 * waits: what a start and an event need is loaded and linked then, and the compiler has seen it.
 *
 * <p>The package of `runtimes/java/rehearsal` lies beside the bootstrap in the runtime's tree. No
 * function's code is touched, and nothing stays that a function could see: its classes, loaders and
 * jars are closed, and what is set for an event is what it was.
 */
final class Rehearsal {
    private static final String PACKAGE = System.getProperty("freehold.rehearsal", "/var/runtime/rehearsal");
    private static final String[] HANDLERS = {
        "rehearsed.Hello", "rehearsed.Hello::plain", "rehearsed.Hello::bean", "rehearsed.Hello::record", "rehearsed.Hello::stream",
    };
    /** Where many JVMs are wanted soon: what every start needs, for a fifth of the processor time. */
    private static final String[] BRIEFLY = {"rehearsed.Hello::plain"};
    private static final String EVENT = "{\"text\":\"\\u00e9\",\"numbers\":[1,2.5,-3e8],\"nothing\":null,\"nested\":{\"is\":[true]}}";
    /**
     * How often the package is loaded, and how many events each of its handlers then takes. More of
     * either makes starts hardly quicker, and each round costs every JVM that is booted processor time
     * and memory.
     */
    private static final int LOADS = 2;
    private static final int EVENTS = 10;

    private Rehearsal() {}

    static void run(boolean briefly) {
        ClassLoader own = Thread.currentThread().getContextClassLoader();
        try {
            Environment.rehearse();
            for (int load = 0; load < (briefly ? 1 : LOADS); load++) {
                for (String handler : briefly ? BRIEFLY : HANDLERS) {
                    perform(handler);
                }
            }
            if (!briefly) {
                IllegalStateException error = new IllegalStateException("rehearsal");
                Failure.logged(error);
                Failure.json(error);
            }
        } catch (Throwable error) {
            throw new IllegalStateException(error);
        } finally {
            Thread.currentThread().setContextClassLoader(own);
            System.clearProperty(Bootstrap.TRACE_PROPERTY);
        }
        if (!briefly) {
            // A function's init finds an empty nursery.
            System.gc();
        }
    }

    private static void perform(String name) throws Throwable {
        FramesClient client = new FramesClient(new Events(), OutputStream.nullOutputStream());
        try (URLClassLoader loader = Bootstrap.loader(PACKAGE)) {
            Handler handler = Handler.load(loader, name);
            client.ready();
            for (int event = 0; event < EVENTS; event++) {
                Bootstrap.serveOne(client, handler);
            }
        }
    }

    /** A line on which one event follows the other, each in a read of its own. */
    private static final class Events extends InputStream {
        private final byte[] frame = FramesClient.event("arn:aws:lambda:::function:rehearsal", "Root=1", Bootstrap.utf8(EVENT));

        @Override
        public int read(byte[] into, int at, int most) {
            System.arraycopy(frame, 0, into, at, frame.length);
            return frame.length;
        }

        @Override
        public int read() throws IOException {
            throw new IOException("frames are read whole");
        }
    }
}
