package freehold;

import java.util.Map;

/** One event and what came with it. */
final class Invocation {
    final String id;
    final String functionArn;
    final String traceId;
    final String clientContext;
    final String cognitoIdentity;
    final long deadlineMs;
    final byte[] body;

    Invocation(String id, long deadlineMs, String functionArn, String traceId, String clientContext, byte[] body) {
        this.id = id;
        this.functionArn = functionArn;
        this.traceId = traceId;
        this.clientContext = clientContext;
        this.cognitoIdentity = null;
        this.deadlineMs = deadlineMs;
        this.body = body;
    }

    Invocation(Map<String, String> headers, byte[] body) {
        this.id = headers.getOrDefault("lambda-runtime-aws-request-id", "");
        this.functionArn = headers.get("lambda-runtime-invoked-function-arn");
        this.traceId = headers.get("lambda-runtime-trace-id");
        this.clientContext = headers.get("lambda-runtime-client-context");
        this.cognitoIdentity = headers.get("lambda-runtime-cognito-identity");
        this.deadlineMs = Long.parseLong(headers.getOrDefault("lambda-runtime-deadline-ms", "0"));
        this.body = body;
    }

    int remainingMs() {
        return (int) Math.max(0, Math.min(Integer.MAX_VALUE, deadlineMs - System.currentTimeMillis()));
    }
}
