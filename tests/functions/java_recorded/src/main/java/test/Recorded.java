package test;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import com.amazonaws.services.lambda.runtime.RequestStreamHandler;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.util.Map;
import org.joda.time.DateTimeZone;

/** The kinds of handlers that the recorded cases of Java name. */
public class Recorded {
    /** Bytes in, bytes out. */
    public static class Stream implements RequestStreamHandler {
        @Override
        public void handleRequest(InputStream in, OutputStream out, Context context) throws IOException {
            in.transferTo(out);
        }
    }

    /** An event as an object. */
    public static class Place {
        private String bucket;
        private String key;
        private boolean validated;

        public String getBucket() {
            return bucket;
        }

        public void setBucket(String bucket) {
            this.bucket = bucket;
        }

        public String getKey() {
            return key;
        }

        public void setKey(String key) {
            this.key = key;
        }

        public boolean isValidated() {
            return validated;
        }

        public void setValidated(boolean validated) {
            this.validated = validated;
        }
    }

    /** The same object, seen. */
    public static class Bucket implements RequestHandler<Place, Place> {
        @Override
        public Place handleRequest(Place event, Context context) {
            event.setValidated(true);
            return event;
        }
    }

    /** The interface's method and another one. */
    public static class Two implements RequestHandler<Map<String, Object>, String> {
        @Override
        public String handleRequest(Map<String, Object> event, Context context) {
            return "INTERFACE";
        }

        public String handleRequestCustom(Map<String, Object> event, Context context) {
            return "CUSTOM";
        }
    }

    /** Answers by a library that its package brings. */
    public static class WithLibrary implements RequestHandler<Map<String, Object>, String> {
        @Override
        public String handleRequest(Map<String, Object> event, Context context) {
            if (!DateTimeZone.UTC.getID().equals("UTC")) {
                throw new IllegalStateException("the library is another one");
            }
            return "{\"echo\":\"" + event.get("echo") + "\"}";
        }
    }
}
