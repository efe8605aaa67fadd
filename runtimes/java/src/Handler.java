package freehold;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.lang.reflect.TypeVariable;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * From the text in `_HANDLER` to a call: `pkg.Class` (RequestHandler or RequestStreamHandler) or
 * `pkg.Class::method` (any public method; with several of one name the one with most parameters, of
 * those the one that takes a Context).
 */
final class Handler {
    private static final String PACKAGE = "com.amazonaws.services.lambda.runtime.";
    private final Object target;
    private final Method method;
    private final Type[] types;
    private final Type resultType;

    private Handler(Object target, Method method, Type[] types, Type resultType) {
        this.target = target;
        this.method = method;
        this.types = types;
        this.resultType = resultType;
    }

    static Handler load(ClassLoader loader, String text) throws Throwable {
        int colons = text.indexOf("::");
        String className = colons < 0 ? text : text.substring(0, colons);
        if (className.isEmpty() || (colons >= 0 && colons + 2 == text.length())) {
            throw new Failure("Runtime.MalformedHandlerName", "'" + text + "' is not a valid handler name. A valid handler name is package.Class::method or package.Class", null);
        }
        Class<?> type;
        try {
            type = Class.forName(className, true, loader);
        } catch (ClassNotFoundException error) {
            throw new Failure("java.lang.ClassNotFoundException", "Class not found: " + className, error);
        }
        Method method = colons < 0 ? interfaceMethod(type, className) : namedMethod(type, text.substring(colons + 2));
        Object target = null;
        if (!Modifier.isStatic(method.getModifiers())) {
            try {
                target = type.getConstructor().newInstance();
            } catch (NoSuchMethodException error) {
                throw new Failure("java.lang.NoSuchMethodException", "Class " + className + " has no public zero-argument constructor", error);
            }
        }
        method.setAccessible(true);
        Map<TypeVariable<?>, Type> bound = bindings(type);
        Type[] types = method.getGenericParameterTypes();
        for (int i = 0; i < types.length; i++) {
            types[i] = resolved(types[i], bound);
        }
        return new Handler(target, method, types, resolved(method.getGenericReturnType(), bound));
    }

    private static Method interfaceMethod(Class<?> type, String className) {
        boolean isHandler = false;
        for (Class<?> one : interfaces(type, new ArrayList<>())) {
            isHandler |= one.getName().equals(PACKAGE + "RequestHandler") || one.getName().equals(PACKAGE + "RequestStreamHandler");
        }
        if (!isHandler) {
            throw new Failure("Runtime.HandlerNotFound", "Class " + className + " implements neither RequestHandler nor RequestStreamHandler; name a method as " + className + "::method", null);
        }
        return namedMethod(type, "handleRequest");
    }

    private static List<Class<?>> interfaces(Class<?> type, List<Class<?>> found) {
        for (Class<?> at = type; at != null; at = at.getSuperclass()) {
            for (Class<?> one : at.getInterfaces()) {
                found.add(one);
                interfaces(one, found);
            }
        }
        return found;
    }

    private static Method namedMethod(Class<?> type, String name) {
        List<Method> found = new ArrayList<>();
        for (Method method : publicMethods(type)) {
            // A bridge is the erased twin that the compiler adds; the method itself has the generics.
            if (method.getName().equals(name) && !method.isBridge() && !Modifier.isAbstract(method.getModifiers())) {
                found.add(method);
            }
        }
        if (found.isEmpty()) {
            throw new Failure("Runtime.HandlerNotFound", "No public method named " + name + " with appropriate method signature found on class " + type.getName(), null);
        }
        found.sort(Comparator.comparingInt((Method m) -> m.getParameterCount()).thenComparing(m -> takesContext(m)).reversed());
        Method first = found.get(0);
        int limit = isStream(first) ? 3 : 2;
        if (first.getParameterCount() > limit) {
            throw new Failure("Runtime.HandlerNotFound", "Method " + name + " of class " + type.getName() + " has too many parameters", null);
        }
        return first;
    }

    /** Of a subclass before those of its super class, which may not be public itself. */
    private static List<Method> publicMethods(Class<?> type) {
        List<Method> found = new ArrayList<>();
        for (Class<?> at = type; at != null; at = at.getSuperclass()) {
            for (Method method : at.getDeclaredMethods()) {
                if (Modifier.isPublic(method.getModifiers())) {
                    found.add(method);
                }
            }
        }
        found.addAll(List.of(type.getMethods()));
        return found;
    }

    private static boolean isStream(Method method) {
        Class<?>[] types = method.getParameterTypes();
        return types.length >= 2 && types[0] == InputStream.class && types[1] == OutputStream.class;
    }

    private static boolean isContext(Class<?> type) {
        return type.getName().equals(PACKAGE + "Context");
    }

    private static boolean takesContext(Method method) {
        Class<?>[] types = method.getParameterTypes();
        return types.length > 0 && isContext(types[types.length - 1]);
    }

    byte[] handle(Invocation invocation) throws Throwable {
        ByteArrayOutputStream stream = isStream(method) ? new ByteArrayOutputStream() : null;
        Class<?>[] raw = method.getParameterTypes();
        Object[] arguments = new Object[raw.length];
        for (int i = 0; i < raw.length; i++) {
            if (isContext(raw[i])) {
                arguments[i] = Context.of(raw[i], invocation);
            } else if (raw[i] == OutputStream.class) {
                arguments[i] = stream;
            } else if (raw[i] == InputStream.class) {
                arguments[i] = new ByteArrayInputStream(invocation.body);
            } else {
                arguments[i] = event(invocation, types[i]);
            }
        }
        Object result = method.invoke(target, arguments);
        if (stream != null) {
            return stream.toByteArray();
        }
        if (result instanceof InputStream) {
            return ((InputStream) result).readAllBytes();
        }
        return Bootstrap.utf8(resultType == void.class ? "null" : Json.write(result));
    }

    private static Object event(Invocation invocation, Type type) {
        try {
            return Binding.bind(Json.parse(new String(invocation.body, java.nio.charset.StandardCharsets.UTF_8)), type);
        } catch (Failure failure) {
            throw failure;
        } catch (RuntimeException error) {
            throw new Failure("Runtime.UnmarshalError", "An error occurred during JSON parsing: " + error.getMessage(), error);
        }
    }

    /** What the type variables of `type`'s super types stand for: `RequestHandler<Order, String>`. */
    private static Map<TypeVariable<?>, Type> bindings(Class<?> type) {
        Map<TypeVariable<?>, Type> bound = new HashMap<>();
        for (Class<?> at = type; at != null; at = at.getSuperclass()) {
            bindAll(at, bound);
        }
        return bound;
    }

    private static void bindAll(Class<?> type, Map<TypeVariable<?>, Type> bound) {
        List<Type> above = new ArrayList<>(List.of(type.getGenericInterfaces()));
        if (type.getGenericSuperclass() != null) {
            above.add(type.getGenericSuperclass());
        }
        for (Type one : above) {
            Class<?> raw = Binding.raw(one);
            if (one instanceof ParameterizedType) {
                Type[] given = ((ParameterizedType) one).getActualTypeArguments();
                for (int i = 0; i < given.length; i++) {
                    bound.put(raw.getTypeParameters()[i], resolved(given[i], bound));
                }
            }
            if (raw.isInterface()) {
                bindAll(raw, bound);
            }
        }
    }

    private static Type resolved(Type type, Map<TypeVariable<?>, Type> bound) {
        if (type instanceof TypeVariable) {
            return bound.getOrDefault(type, Object.class);
        }
        if (type instanceof ParameterizedType) {
            ParameterizedType generic = (ParameterizedType) type;
            Type[] given = generic.getActualTypeArguments();
            for (int i = 0; i < given.length; i++) {
                given[i] = resolved(given[i], bound);
            }
            return new Binding.Generic(Binding.raw(generic), given);
        }
        return type;
    }
}
