package freehold;

import java.lang.reflect.InvocationHandler;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/**
 * The function's own `Context`, `LambdaLogger`, `CognitoIdentity`, `ClientContext` and `Client`
 * interfaces, implemented by proxies: their methods are matched by name, so any version of the
 * interface works.
 */
final class Context {
    private static final String PACKAGE = "com.amazonaws.services.lambda.runtime.";
    private static final Map<String, Integer> LEVELS = Map.of("TRACE", 0, "DEBUG", 1, "INFO", 2, "WARN", 3, "ERROR", 4, "FATAL", 5);

    private Context() {}

    /** An object of `type`, the function's Context interface. */
    static Object of(Class<?> type, Invocation invocation) {
        ClassLoader loader = type.getClassLoader();
        Object logger = proxy(loader, "LambdaLogger", new Logger(invocation.id));
        Object identity = identity(loader, invocation);
        Object client = client(loader, invocation);
        return proxied(type, (self, method, arguments) -> {
            switch (method.getName()) {
                case "getAwsRequestId": return invocation.id;
                case "getLogGroupName": return System.getenv("AWS_LAMBDA_LOG_GROUP_NAME");
                case "getLogStreamName": return System.getenv("AWS_LAMBDA_LOG_STREAM_NAME");
                case "getFunctionName": return System.getenv("AWS_LAMBDA_FUNCTION_NAME");
                case "getFunctionVersion": return System.getenv("AWS_LAMBDA_FUNCTION_VERSION");
                case "getInvokedFunctionArn": return invocation.functionArn;
                case "getRemainingTimeInMillis": return invocation.remainingMs();
                case "getMemoryLimitInMB": return Integer.parseInt(System.getenv().getOrDefault("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "0"));
                case "getLogger": return logger;
                case "getIdentity": return identity;
                case "getClientContext": return client;
                case "getXrayTraceId": return invocation.traceId;
                default: return ordinary(self, method, arguments, "Context " + invocation.id);
            }
        });
    }

    private static Object identity(ClassLoader loader, Invocation invocation) {
        Map<?, ?> fields = object(invocation.cognitoIdentity);
        return proxy(loader, "CognitoIdentity", (self, method, arguments) -> {
            switch (method.getName()) {
                case "getIdentityId": return text(fields.get("cognitoIdentityId"));
                case "getIdentityPoolId": return text(fields.get("cognitoIdentityPoolId"));
                default: return ordinary(self, method, arguments, "CognitoIdentity");
            }
        });
    }

    private static Object client(ClassLoader loader, Invocation invocation) {
        if (invocation.clientContext == null || invocation.clientContext.isEmpty()) {
            return null;
        }
        Map<?, ?> fields = object(invocation.clientContext);
        Map<?, ?> app = fields.get("client") instanceof Map ? (Map<?, ?>) fields.get("client") : Map.of();
        Object client = proxy(loader, "Client", (self, method, arguments) -> {
            switch (method.getName()) {
                case "getInstallationId": return text(app.get("installation_id"));
                case "getAppTitle": return text(app.get("app_title"));
                case "getAppVersionName": return text(app.get("app_version_name"));
                case "getAppVersionCode": return text(app.get("app_version_code"));
                case "getAppPackageName": return text(app.get("app_package_name"));
                default: return ordinary(self, method, arguments, "Client");
            }
        });
        return proxy(loader, "ClientContext", (self, method, arguments) -> {
            switch (method.getName()) {
                case "getClient": return fields.containsKey("client") ? client : null;
                case "getCustom": return fields.get("custom");
                case "getEnvironment": return fields.get("env");
                default: return ordinary(self, method, arguments, "ClientContext");
            }
        });
    }

    private static Map<?, ?> object(String json) {
        if (json == null || json.isEmpty()) {
            return Map.of();
        }
        Object value = Json.parse(json);
        return value instanceof Map ? (Map<?, ?>) value : Map.of();
    }

    private static String text(Object value) {
        return value == null ? null : value.toString();
    }

    private static Object proxy(ClassLoader loader, String name, InvocationHandler answers) {
        try {
            return proxied(Class.forName(PACKAGE + name, false, loader), answers);
        } catch (ClassNotFoundException error) {
            // The function's jar has no such interface, so nothing in it can ask for one.
            return null;
        }
    }

    private static Object proxied(Class<?> type, InvocationHandler answers) {
        return Proxy.newProxyInstance(type.getClassLoader(), new Class<?>[] {type}, answers);
    }

    /** What every object answers, default methods, and null for a method that came later than we. */
    private static Object ordinary(Object self, Method method, Object[] arguments, String shown) throws Throwable {
        switch (method.getName()) {
            case "toString": return shown;
            case "hashCode": return System.identityHashCode(self);
            case "equals": return self == arguments[0];
            default: return method.isDefault() ? InvocationHandler.invokeDefault(self, method, arguments) : null;
        }
    }

    /** `log(String)`, `log(byte[])`, `log(String, LogLevel)`: plain text, or JSON lines at a level. */
    private static final class Logger implements InvocationHandler {
        private final String requestId;
        private final boolean isJson = "JSON".equalsIgnoreCase(System.getenv("AWS_LAMBDA_LOG_FORMAT"));

        Logger(String requestId) {
            this.requestId = requestId;
        }

        @Override
        public Object invoke(Object self, Method method, Object[] arguments) throws Throwable {
            if (!method.getName().equals("log")) {
                return ordinary(self, method, arguments, "LambdaLogger");
            }
            String level = arguments.length > 1 && arguments[1] != null ? arguments[1].toString() : "UNDEFINED";
            String least = System.getenv().getOrDefault("AWS_LAMBDA_LOG_LEVEL", "TRACE").toUpperCase(java.util.Locale.ROOT);
            if (LEVELS.getOrDefault(level, 9) < LEVELS.getOrDefault(least, 0)) {
                return null;
            }
            byte[] bytes = arguments[0] instanceof byte[] ? (byte[]) arguments[0] : Bootstrap.utf8(String.valueOf(arguments[0]));
            if (isJson) {
                Map<String, Object> line = new java.util.LinkedHashMap<>();
                line.put("timestamp", java.time.Instant.now().toString());
                line.put("level", level);
                line.put("message", new String(bytes, StandardCharsets.UTF_8));
                line.put("AWSRequestId", requestId);
                bytes = Bootstrap.utf8(Json.write(line) + "\n");
            } else if (!level.equals("UNDEFINED")) {
                bytes = Bootstrap.utf8("[" + level + "] " + new String(bytes, StandardCharsets.UTF_8));
            }
            // One write, so that the text of two threads is not mixed.
            System.out.write(bytes, 0, bytes.length);
            System.out.flush();
            return null;
        }
    }
}
