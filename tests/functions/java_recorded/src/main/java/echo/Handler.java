package echo;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** Answers with its event, with what it sees, or not at all. */
public class Handler implements RequestHandler<Map<String, Object>, Object> {
    @Override
    public Object handleRequest(Map<String, Object> event, Context context) {
        Object message = event.get("error_msg");
        if (message != null) {
            throw new RuntimeException("Error: " + message);
        }
        if (!"look".equals(event.get("do"))) {
            return event;
        }
        Map<String, Object> told = new LinkedHashMap<>();
        told.put("aws_request_id", context.getAwsRequestId());
        told.put("function_name", context.getFunctionName());
        told.put("function_version", context.getFunctionVersion());
        told.put("invoked_function_arn", context.getInvokedFunctionArn());
        told.put("log_group_name", context.getLogGroupName());
        told.put("log_stream_name", context.getLogStreamName());
        told.put("memory_limit_in_mb", String.valueOf(context.getMemoryLimitInMB()));
        told.put("remaining_time_in_millis", context.getRemainingTimeInMillis());
        return Map.of("environment", System.getenv(), "packages", List.of(), "ctx", told);
    }
}
