package test;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestStreamHandler;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;

/** RequestStreamHandler: bytes in, bytes out. */
public class Stream implements RequestStreamHandler {
    @Override
    public void handleRequest(InputStream in, OutputStream out, Context context) throws IOException {
        out.write("{\"length\":".getBytes());
        out.write(Integer.toString(in.readAllBytes().length).getBytes());
        out.write("}".getBytes());
    }
}
