package freehold;

import java.io.File;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Guest side of direct frames and of the Lambda Runtime API for Java 17 and later: init, then one
 * event after the other.
 *
 * <p>Plain JDK only. The function's classes come from a loader of their own, which also has the
 * `com.amazonaws.services.lambda.runtime` interfaces: they are the function's, whatever version.
 */
public final class Bootstrap {
    static final String TRACE_PROPERTY = "com.amazonaws.xray.traceHeader";

    private Bootstrap() {}

    public static void main(String[] arguments) throws Exception {
        System.setProperty(Hooks.PROPERTY, Hooks.PACKAGE);
        String descriptor = System.getenv("_FREEHOLD_FRAMES");
        if (descriptor == null) {
            RuntimeClient client = new RuntimeClient(System.getenv("AWS_LAMBDA_RUNTIME_API"));
            Handler handler = load(client);
            if ("snap-start".equals(System.getenv("AWS_LAMBDA_INITIALIZATION_TYPE"))) {
                Hooks.before(client);
                client.restoreNext();
                Hooks.after(client);
            }
            serve(client, handler);
            return;
        }
        FramesClient frames = FramesClient.over(Integer.parseInt(descriptor));
        if (System.getenv("_HANDLER") == null) {
            // Executed before it is known for whom: the host will ask for a rehearsal.
            Native.load();
        }
        frames.untilBegun();
        if (Native.isLoaded()) {
            // The package was mounted over the folder that this process stands in.
            Native.enterFolder(System.getenv().getOrDefault("LAMBDA_TASK_ROOT", "/var/task"));
        }
        Handler handler = load(frames);
        frames.ready();
        serve(frames, handler);
    }

    private static Handler load(Client client) {
        try {
            String root = System.getenv().getOrDefault("LAMBDA_TASK_ROOT", "/var/task");
            return Handler.load(loader(root), System.getenv().getOrDefault("_HANDLER", ""));
        } catch (Throwable error) {
            Throwable cause = Failure.unwrapped(error);
            System.err.print(Failure.logged(cause));
            client.postInitError(Failure.type(cause), Failure.json(cause));
            System.exit(1);
            throw new IllegalStateException(error);
        }
    }

    /** The loader of a package's classes, for the thread that asks. */
    static URLClassLoader loader(String root) throws Exception {
        URLClassLoader loader = new URLClassLoader(classPath(root), ClassLoader.getSystemClassLoader());
        Thread.currentThread().setContextClassLoader(loader);
        return loader;
    }

    private static void serve(Client client, Handler handler) {
        while (true) {
            serveOne(client, handler);
        }
    }

    static void serveOne(Client client, Handler handler) {
        Invocation invocation = client.next();
        if (invocation.traceId == null) {
            System.clearProperty(TRACE_PROPERTY);
        } else {
            // Java cannot change its environment; the X-Ray SDKs read this property first.
            System.setProperty(TRACE_PROPERTY, invocation.traceId);
        }
        byte[] answer;
        try {
            answer = handler.handle(invocation);
        } catch (Throwable error) {
            Throwable cause = Failure.unwrapped(error);
            // After an Error of the virtual machine nothing of it can be relied on.
            boolean isLast = cause instanceof VirtualMachineError;
            System.err.print(Failure.logged(cause));
            client.postError(invocation.id, Failure.type(cause), Failure.json(cause), isLast);
            if (isLast) {
                System.exit(1);
            }
            return;
        }
        client.postResponse(invocation.id, answer);
    }

    /** `/var/task`, `/var/task/lib/*.jar`, then the layers' `/opt/java/lib/*.jar`: Lambda's order. */
    private static URL[] classPath(String root) throws Exception {
        List<URL> found = new ArrayList<>();
        found.add(new File(root).toURI().toURL());
        for (String folder : new String[] {root + "/lib", "/opt/java/lib"}) {
            File[] jars = new File(folder).listFiles((at, name) -> name.endsWith(".jar"));
            if (jars != null) {
                Arrays.sort(jars);
                for (File jar : jars) {
                    found.add(jar.toURI().toURL());
                }
            }
        }
        return found.toArray(new URL[0]);
    }

    static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}
