package freehold;

import java.lang.reflect.Field;
import java.nio.Buffer;
import java.nio.ByteBuffer;

/**
 * What a JVM that was booted ahead needs of the C library, and Java has no call for. See
 * `runtimes/java/native.rs`. Loaded in such a JVM alone; one without it is not to be booted ahead.
 */
final class Native {
    private static final String LIBRARY = "/var/runtime/lib/libfreehold.so";
    private static boolean isLoaded;

    private Native() {}

    static void load() {
        System.load(System.getProperty("freehold.native", LIBRARY));
        isLoaded = true;
    }

    static boolean isLoaded() {
        return isLoaded;
    }

    /** Makes `folder` the working folder. What is not there is the loader's to report. */
    static void enterFolder(String folder) {
        ByteBuffer path = text(folder);
        enter(address(path));
        java.lang.ref.Reference.reachabilityFence(path);
    }

    /** Sets a variable for child processes. */
    static void setVariable(String name, String value) {
        ByteBuffer first = text(name);
        ByteBuffer second = text(value);
        set(address(first), address(second));
        java.lang.ref.Reference.reachabilityFence(first);
        java.lang.ref.Reference.reachabilityFence(second);
    }

    private static native int enter(long path);

    private static native int set(long name, long value);

    /** The text with a zero behind it, outside of the heap. */
    private static ByteBuffer text(String text) {
        byte[] bytes = Bootstrap.utf8(text);
        return ByteBuffer.allocateDirect(bytes.length + 1).put(bytes).put((byte) 0);
    }

    private static long address(ByteBuffer buffer) {
        try {
            Field field = Buffer.class.getDeclaredField("address");
            field.setAccessible(true);
            return field.getLong(buffer);
        } catch (ReflectiveOperationException error) {
            throw new IllegalStateException("this JVM hides where a buffer lies", error);
        }
    }
}
