package freehold;

import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;

/**
 * The Runtime API over one kept-alive HTTP/1.1 connection. On a plain socket: `java.net.http` would
 * load six hundred classes and start a thread before the first event.
 */
final class RuntimeClient implements Client {
    private static final int HEAD_LIMIT_BYTES = 1 << 20;
    private final String address;
    private Socket socket;
    private InputStream in;
    private final byte[] buffer = new byte[65536];
    private int at;
    private int end;

    RuntimeClient(String address) {
        this.address = address;
    }

    @Override
    public Invocation next() {
        Answer answer = exchange("GET", "/2018-06-01/runtime/invocation/next", "", null);
        if (answer.status != 200) {
            throw new IllegalStateException("GET next answered " + answer.status);
        }
        return new Invocation(answer.headers, answer.body);
    }

    @Override
    public void postResponse(String id, byte[] body) {
        post("/2018-06-01/runtime/invocation/" + id + "/response", "", body);
    }

    @Override
    public void postError(String id, String type, byte[] body, boolean isLast) {
        post("/2018-06-01/runtime/invocation/" + id + "/error", errorType(type), body);
    }

    @Override
    public void postInitError(String type, byte[] body) {
        post("/2018-06-01/runtime/init/error", errorType(type), body);
    }

    /** Says that init and the hooks before a snapshot are done, and waits until it goes on. */
    void restoreNext() {
        Answer answer = exchange("GET", "/2018-06-01/runtime/restore/next", "", null);
        if (answer.status != 200) {
            throw new IllegalStateException("GET restore/next answered " + answer.status);
        }
    }

    @Override
    public void postRestoreError(String type, byte[] body) {
        post("/2018-06-01/runtime/restore/error", errorType(type), body);
    }

    private static String errorType(String type) {
        return "Lambda-Runtime-Function-Error-Type: " + type.replaceAll("[^\\x20-\\x7e]", "?") + "\r\n";
    }

    private void post(String path, String headers, byte[] body) {
        Answer answer = exchange("POST", path, headers + "Content-Type: application/json\r\n", body);
        if (answer.status >= 400) {
            // The platform tells the caller (413 for a response over the limit); the loop goes on.
            System.err.println("The Runtime API refused " + path + " with " + answer.status);
        }
    }

    private static final class Answer {
        int status;
        Map<String, String> headers = new HashMap<>();
        byte[] body = new byte[0];
    }

    private Answer exchange(String method, String path, String headers, byte[] body) {
        try {
            if (socket == null) {
                connect();
            }
            String length = body == null ? "" : "Content-Length: " + body.length + "\r\n";
            String head = method + " " + path + " HTTP/1.1\r\nHost: " + address + "\r\n" + headers + length + "\r\n";
            byte[] first = head.getBytes(StandardCharsets.ISO_8859_1);
            byte[] message = first;
            if (body != null) {
                message = new byte[first.length + body.length];
                System.arraycopy(first, 0, message, 0, first.length);
                System.arraycopy(body, 0, message, first.length, body.length);
            }
            socket.getOutputStream().write(message);
            return read();
        } catch (IOException error) {
            // This environment is being taken down; there is nobody left to tell.
            System.err.println("The Runtime API is gone: " + error.getMessage());
            System.exit(1);
            throw new IllegalStateException(error);
        }
    }

    private void connect() throws IOException {
        int colon = address.lastIndexOf(':');
        socket = new Socket();
        socket.setTcpNoDelay(true);
        socket.connect(new InetSocketAddress(address.substring(0, colon), Integer.parseInt(address.substring(colon + 1))));
        in = socket.getInputStream();
        at = end = 0;
    }

    private Answer read() throws IOException {
        Answer answer = new Answer();
        do {
            String[] status = line().split(" ", 3);
            if (status.length < 2 || !status[0].startsWith("HTTP/1.")) {
                throw new IOException("not an HTTP status line");
            }
            answer.status = Integer.parseInt(status[1]);
            answer.headers.clear();
            for (String line = line(); !line.isEmpty(); line = line()) {
                int colon = line.indexOf(':');
                if (colon > 0) {
                    answer.headers.put(line.substring(0, colon).trim().toLowerCase(Locale.ROOT), line.substring(colon + 1).trim());
                }
            }
        } while (answer.status < 200);
        if (answer.headers.getOrDefault("transfer-encoding", "").equalsIgnoreCase("chunked")) {
            ByteArrayOutputStream body = new ByteArrayOutputStream();
            for (int size = chunkSize(); size > 0; size = chunkSize()) {
                body.write(exactly(size));
                line();
            }
            while (!line().isEmpty()) {
                // Trailers say nothing to us.
            }
            answer.body = body.toByteArray();
        } else {
            answer.body = exactly(Integer.parseInt(answer.headers.getOrDefault("content-length", "0")));
        }
        if (answer.headers.getOrDefault("connection", "").equalsIgnoreCase("close")) {
            socket.close();
            socket = null;
        }
        return answer;
    }

    private int chunkSize() throws IOException {
        return Integer.parseInt(line().split(";")[0].trim(), 16);
    }

    private String line() throws IOException {
        ByteArrayOutputStream line = new ByteArrayOutputStream(128);
        for (int b = one(); b != '\n'; b = one()) {
            line.write(b);
            if (line.size() > HEAD_LIMIT_BYTES) {
                throw new IOException("a line of an answer is over " + HEAD_LIMIT_BYTES + " bytes");
            }
        }
        String text = line.toString(StandardCharsets.UTF_8);
        return text.endsWith("\r") ? text.substring(0, text.length() - 1) : text;
    }

    private int one() throws IOException {
        if (at == end) {
            fill();
        }
        return buffer[at++];
    }

    private void fill() throws IOException {
        end = in.read(buffer);
        at = 0;
        if (end <= 0) {
            end = 0;
            throw new EOFException("the connection was closed");
        }
    }

    private byte[] exactly(int size) throws IOException {
        byte[] body = new byte[size];
        int have = Math.min(size, end - at);
        System.arraycopy(buffer, at, body, 0, have);
        at += have;
        while (have < size) {
            int got = in.read(body, have, size - have);
            if (got < 0) {
                throw new EOFException("the connection was closed");
            }
            have += got;
        }
        return body;
    }
}
