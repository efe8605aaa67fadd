package test;

import com.amazonaws.services.lambda.runtime.Context;
import java.util.List;
import java.util.Map;

/** Plain methods: the kinds of arguments and answers that Lambda binds. */
public class Plain {
    private int calls;

    public String text(String event) {
        return "got " + event;
    }

    public int sum(List<Integer> numbers) {
        return numbers.stream().mapToInt(Integer::intValue).sum();
    }

    public Map<String, Object> context(Map<String, Object> event, Context context) {
        context.getLogger().log("through the logger\n");
        System.out.println("through System.out");
        return Map.of(
                "event", event,
                "requestId", context.getAwsRequestId(),
                "name", context.getFunctionName(),
                "memory", context.getMemoryLimitInMB(),
                "left", context.getRemainingTimeInMillis() > 0);
    }

    public int count() {
        return ++calls;
    }

    public void nothing(Object event) {}

    public String fail(String event) {
        throw new IllegalStateException("as told: " + event);
    }

    public String memory(Integer mebibytes) {
        byte[][] kept = new byte[mebibytes][];
        for (int n = 0; n < mebibytes; n++) {
            kept[n] = new byte[1 << 20];
        }
        return "kept " + kept.length;
    }

    public String exit(Integer status) {
        System.exit(status);
        return "not reached";
    }
}
