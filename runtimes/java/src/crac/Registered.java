package freehold.crac;

import java.lang.ref.WeakReference;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.Iterator;
import java.util.List;
import java.util.Objects;

/**
 * Resources in the order in which they were registered. None is kept alive by that, and one that fails keeps
 * no other from being told. Who is registered while others are told is told the next time. Without streams
 * and lambdas: the first of a process loads many times as many classes as these.
 */
final class Registered extends Context<Resource> {
    private final List<WeakReference<Resource>> resources = new ArrayList<>();

    @Override
    public void register(Resource resource) {
        Objects.requireNonNull(resource);
        synchronized (resources) {
            Iterator<WeakReference<Resource>> known = resources.iterator();
            while (known.hasNext()) {
                if (known.next().get() == null) {
                    known.remove();
                }
            }
            resources.add(new WeakReference<>(resource));
        }
    }

    @Override
    public void beforeCheckpoint(Context<? extends Resource> context) throws CheckpointException {
        List<Resource> lastFirst = living();
        Collections.reverse(lastFirst);
        List<Throwable> failed = new ArrayList<>();
        for (Resource resource : lastFirst) {
            try {
                resource.beforeCheckpoint(this);
            } catch (Exception error) {
                failed.addAll(parts(error, error instanceof CheckpointException));
            }
        }
        if (!failed.isEmpty()) {
            throw new CheckpointException(failed);
        }
    }

    @Override
    public void afterRestore(Context<? extends Resource> context) throws RestoreException {
        List<Throwable> failed = new ArrayList<>();
        for (Resource resource : living()) {
            try {
                resource.afterRestore(this);
            } catch (Exception error) {
                failed.addAll(parts(error, error instanceof RestoreException));
            }
        }
        if (!failed.isEmpty()) {
            throw new RestoreException(failed);
        }
    }

    private List<Resource> living() {
        List<Resource> living = new ArrayList<>();
        synchronized (resources) {
            for (WeakReference<Resource> one : resources) {
                Resource resource = one.get();
                if (resource != null) {
                    living.add(resource);
                }
            }
        }
        return living;
    }

    /** Another context's failures are its resources'. */
    private static List<Throwable> parts(Exception error, boolean isContexts) {
        boolean hasParts = isContexts && error.getSuppressed().length > 0;
        return hasParts ? Arrays.asList(error.getSuppressed()) : List.of(error);
    }

    /** What a version's state and a caller are told: all of them, in one line. */
    static String text(List<Throwable> failed) {
        StringBuilder text = new StringBuilder();
        for (Throwable one : failed) {
            text.append(text.length() == 0 ? "" : "; ").append(one);
        }
        return text.toString();
    }
}
