package freehold;

import java.io.EOFException;
import java.io.File;
import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.reflect.Field;
import java.nio.charset.StandardCharsets;

/**
 * Direct frames over the socket that the process was executed with: one read and one write per event.
 *
 * <p>Every frame begins with eight bytes, little-endian: length of the rest (u32), kind (u8), flags
 * (u8), length of a text (u16). The host speaks, we answer; `docs/decisions/0009-direct-frames.md`
 * has the table. No child process holds the socket: Java closes all but three descriptors in one.
 */
final class FramesClient implements Client {
    private static final int VERSION = 1;
    private static final int GREET = 1;
    private static final int BEGIN = 2;
    private static final int EVENT = 3;
    private static final int REHEARSE = 4;
    private static final int PREPARE = 5;
    private static final int RESUME = 6;
    private static final int HELLO = 1;
    private static final int READY = 2;
    private static final int INIT_ERROR = 3;
    private static final int ANSWER = 4;
    private static final int ERROR = 5;
    private static final int REHEARSED = 8;
    private static final int UNFIT = 10;
    /** Flag of a rehearse and of what answers it. */
    private static final int BRIEFLY = 1;
    private static final int LAST = 1;
    private static final int HEAD = 8;
    private static final int ID = 36;
    private static final int EVENT_FIXED = ID + 16;
    private static final int TEXT_BYTES_MAX = 256;
    private static final byte[] JSON_TYPE = Bootstrap.utf8("application/json");

    private final InputStream in;
    private final OutputStream out;
    private byte[] buffer = new byte[16384];
    private int have;

    /** Over an open descriptor. */
    static FramesClient over(int number) throws ReflectiveOperationException {
        FileDescriptor descriptor = new FileDescriptor();
        Field field = FileDescriptor.class.getDeclaredField("fd");
        field.setAccessible(true);
        field.setInt(descriptor, number);
        return new FramesClient(new FileInputStream(descriptor), new FileOutputStream(descriptor));
    }

    FramesClient(InputStream in, OutputStream out) {
        this.in = in;
        this.out = out;
    }

    /** Serves what comes before an init, until `begin`. */
    void untilBegun() {
        while (true) {
            int end = frame();
            if (buffer[4] == BEGIN) {
                Environment.apply(text(HEAD, end));
                have = 0;
                return;
            }
            between();
        }
    }

    void ready() {
        word(READY, VERSION);
    }

    @Override
    public Invocation next() {
        while (true) {
            int end = frame();
            if (buffer[4] == EVENT) {
                return event(end);
            }
            between();
        }
    }

    private Invocation event(int end) {
        int arn = HEAD + EVENT_FIXED;
        int trace = arn + u16(HEAD + ID + 8);
        int context = trace + u16(HEAD + ID + 10);
        int body = context + u32(HEAD + ID + 12);
        long deadline = (u32(HEAD + ID) & 0xffffffffL) | (long) u32(HEAD + ID + 4) << 32;
        byte[] event = new byte[end - body];
        System.arraycopy(buffer, body, event, 0, event.length);
        Invocation invocation = new Invocation(
            new String(buffer, HEAD, ID, StandardCharsets.ISO_8859_1), deadline, text(arn, trace), text(trace, context),
            body > context ? text(context, body) : null, event);
        have = 0;
        if (buffer.length > 1 << 20) {
            // One large event is no reason to keep its room.
            buffer = new byte[16384];
        }
        return invocation;
    }

    /** The frame of an event, as the host writes it: of the request id of zeroes, without a deadline. */
    static byte[] event(String arn, String trace, byte[] body) {
        byte[] fixed = new byte[HEAD + EVENT_FIXED];
        java.util.Arrays.fill(fixed, HEAD, HEAD + ID, (byte) '0');
        byte[] texts = Bootstrap.utf8(arn + trace);
        int rest = EVENT_FIXED + texts.length + body.length;
        fixed[0] = (byte) rest;
        fixed[1] = (byte) (rest >>> 8);
        fixed[4] = EVENT;
        fixed[HEAD + ID + 8] = (byte) arn.length();
        fixed[HEAD + ID + 10] = (byte) trace.length();
        byte[] frame = java.util.Arrays.copyOf(fixed, HEAD + rest);
        System.arraycopy(texts, 0, frame, fixed.length, texts.length);
        System.arraycopy(body, 0, frame, fixed.length + texts.length, body.length);
        return frame;
    }

    /** What is asked of a process that is booted ahead, and around a start image. */
    private void between() {
        int kind = buffer[4];
        if (kind == GREET) {
            word(HELLO, VERSION);
        } else if (kind == REHEARSE) {
            int briefly = buffer[5] & BRIEFLY;
            Rehearsal.run(briefly != 0);
            byte[] nothing = new byte[0];
            send(REHEARSED, briefly, 0, nothing, nothing, nothing);
        } else if (kind == PREPARE) {
            Hooks.before(this);
            String[] tasks = new File("/proc/self/task").list();
            byte[] reason = Bootstrap.utf8((tasks == null ? 0 : tasks.length) + " threads of the JVM's own");
            send(UNFIT, 0, 0, new byte[0], new byte[0], reason);
        } else if (kind == RESUME) {
            Environment.apply(text(HEAD, have));
            Hooks.after(this);
            word(READY, VERSION);
        } else {
            gone("the host sent a frame of kind " + kind);
        }
        have = 0;
    }

    @Override
    public void postResponse(String id, byte[] body) {
        send(ANSWER, 0, JSON_TYPE.length, latin(id), JSON_TYPE, body);
    }

    @Override
    public void postError(String id, String type, byte[] body, boolean isLast) {
        byte[] text = cut(type);
        send(ERROR, isLast ? LAST : 0, text.length, latin(id), text, body);
    }

    @Override
    public void postInitError(String type, byte[] body) {
        byte[] text = cut(type);
        send(INIT_ERROR, 0, text.length, new byte[0], text, body);
    }

    @Override
    public void postRestoreError(String type, byte[] body) {
        postInitError(type, body);
    }

    private static byte[] latin(String id) {
        return id.getBytes(StandardCharsets.ISO_8859_1);
    }

    private static byte[] cut(String text) {
        byte[] bytes = Bootstrap.utf8(text);
        return bytes.length <= TEXT_BYTES_MAX ? bytes : java.util.Arrays.copyOf(bytes, TEXT_BYTES_MAX);
    }

    private void word(int kind, int text) {
        send(kind, 0, text, new byte[0], new byte[0], new byte[0]);
    }

    private void send(int kind, int flags, int text, byte[] id, byte[] label, byte[] body) {
        int length = id.length + label.length + body.length;
        byte[] frame = new byte[HEAD + length];
        for (int i = 0; i < 4; i++) {
            frame[i] = (byte) (length >>> 8 * i);
        }
        frame[4] = (byte) kind;
        frame[5] = (byte) flags;
        frame[6] = (byte) text;
        frame[7] = (byte) (text >>> 8);
        System.arraycopy(id, 0, frame, HEAD, id.length);
        System.arraycopy(label, 0, frame, HEAD + id.length, label.length);
        System.arraycopy(body, 0, frame, HEAD + id.length + label.length, body.length);
        try {
            out.write(frame);
        } catch (IOException error) {
            gone(error.getMessage());
        }
    }

    /** Reads one frame into the buffer, whole: where it ends. The host sends the next one later. */
    private int frame() {
        try {
            while (have < HEAD || have < HEAD + u32(0)) {
                int whole = have < HEAD ? HEAD : HEAD + u32(0);
                if (whole > buffer.length) {
                    buffer = java.util.Arrays.copyOf(buffer, whole);
                }
                int got = in.read(buffer, have, buffer.length - have);
                if (got < 0) {
                    throw new EOFException("the host closed the line");
                }
                have += got;
            }
        } catch (IOException error) {
            gone(error.getMessage());
        }
        return HEAD + u32(0);
    }

    private void gone(String why) {
        System.err.println("The line to the platform is gone: " + why);
        System.exit(1);
    }

    private String text(int from, int to) {
        return new String(buffer, from, to - from, StandardCharsets.UTF_8);
    }

    private int u16(int at) {
        return buffer[at] & 0xff | (buffer[at + 1] & 0xff) << 8;
    }

    private int u32(int at) {
        return u16(at) | u16(at + 2) << 16;
    }
}
