package freehold;

import java.lang.reflect.Array;
import java.lang.reflect.Constructor;
import java.lang.reflect.Field;
import java.lang.reflect.GenericArrayType;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.RecordComponent;
import java.lang.reflect.Type;
import java.lang.reflect.WildcardType;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * Values between what {@link Json} parses and the types of a handler: beans (setters, getters, public
 * fields), records, enums, collections, maps, arrays, numbers, and types made from a text. Field names
 * match exactly, else without regard to case; unknown fields are ignored, as on Lambda.
 *
 * The classes of aws-lambda-java-events bind as Lambda's own tables for them say: their dates are
 * seconds, `detail-type` is `detailType`, and what has no setter is made by its constructor.
 */
final class Binding {
    /** Where AWS keeps the classes of its events. */
    private static final String EVENTS = "com.amazonaws.services.";

    private Binding() {}

    /** A generic type with its variables filled in. */
    static final class Generic implements ParameterizedType {
        private final Class<?> raw;
        private final Type[] given;

        Generic(Class<?> raw, Type[] given) {
            this.raw = raw;
            this.given = given;
        }

        @Override
        public Type[] getActualTypeArguments() {
            return given.clone();
        }

        @Override
        public Type getRawType() {
            return raw;
        }

        @Override
        public Type getOwnerType() {
            return raw.getDeclaringClass();
        }
    }

    static Class<?> raw(Type type) {
        if (type instanceof Class) {
            return (Class<?>) type;
        } else if (type instanceof ParameterizedType) {
            return raw(((ParameterizedType) type).getRawType());
        } else if (type instanceof GenericArrayType) {
            return Array.newInstance(raw(((GenericArrayType) type).getGenericComponentType()), 0).getClass();
        } else if (type instanceof WildcardType) {
            return raw(((WildcardType) type).getUpperBounds()[0]);
        }
        return Object.class;
    }

    private static Type argument(Type type, int index) {
        if (type instanceof ParameterizedType) {
            Type[] given = ((ParameterizedType) type).getActualTypeArguments();
            if (index < given.length) {
                return given[index];
            }
        }
        return Object.class;
    }

    static Object bind(Object value, Type type) {
        Class<?> raw = raw(type);
        if (value == null) {
            return raw.isPrimitive() ? Array.get(Array.newInstance(raw, 1), 0) : null;
        }
        if (raw == Object.class) {
            return value;
        }
        if (value.equals("") && (raw.isPrimitive() || raw.isEnum() || raw == Boolean.class || raw == Character.class || Number.class.isAssignableFrom(raw) || raw == java.util.Date.class)) {
            return bind(null, type);
        }
        if (raw == String.class || raw == CharSequence.class) {
            // Lambda hands a plain text over as it is; anything else has no single text.
            if (value instanceof Map || value instanceof List) {
                throw mismatch(value, raw);
            }
            return value.toString();
        }
        if (raw == boolean.class || raw == Boolean.class) {
            return value instanceof Boolean ? value : bool(value, raw);
        }
        if (raw == char.class || raw == Character.class) {
            if (value instanceof String && ((String) value).length() == 1) {
                return ((String) value).charAt(0);
            }
            throw mismatch(value, raw);
        }
        if (raw.isPrimitive() || Number.class.isAssignableFrom(raw)) {
            return number(value, raw);
        }
        if (raw.isEnum()) {
            return constant(value, raw);
        }
        if (raw == byte[].class && value instanceof String) {
            return Base64.getDecoder().decode((String) value);
        }
        if (raw.isArray()) {
            return array(value, type, raw);
        }
        if (Map.class.isAssignableFrom(raw)) {
            return map(value, type, raw);
        }
        if (Collection.class.isAssignableFrom(raw) || raw == Iterable.class) {
            return collection(value, type, raw);
        }
        if (raw.isInstance(value)) {
            return value;
        }
        return value instanceof Map ? structured((Map<?, ?>) value, type, raw) : FromText.make(value, raw);
    }

    static IllegalArgumentException mismatch(Object value, Class<?> wanted) {
        String kind = value instanceof Map ? "an object" : value instanceof List ? "an array" : "'" + value + "'";
        return new IllegalArgumentException("cannot make " + wanted.getName() + " of " + kind);
    }

    private static Object bool(Object value, Class<?> raw) {
        if (value.equals("true") || value.equals("false")) {
            return value.equals("true");
        }
        if (value instanceof Integer || value instanceof Long) {
            return ((Number) value).longValue() != 0;
        }
        throw mismatch(value, raw);
    }

    private static Object number(Object value, Class<?> raw) {
        if (!(value instanceof Number) && !(value instanceof String)) {
            throw mismatch(value, raw);
        }
        try {
            BigDecimal exact = new BigDecimal(value.toString().trim());
            if (raw == int.class || raw == Integer.class) {
                return truncated(exact).intValueExact();
            } else if (raw == long.class || raw == Long.class) {
                return truncated(exact).longValueExact();
            } else if (raw == double.class || raw == Double.class) {
                return exact.doubleValue();
            } else if (raw == float.class || raw == Float.class) {
                return exact.floatValue();
            } else if (raw == short.class || raw == Short.class) {
                return truncated(exact).shortValueExact();
            } else if (raw == byte.class || raw == Byte.class) {
                return truncated(exact).byteValueExact();
            } else if (raw == BigInteger.class) {
                return truncated(exact);
            } else if (raw == BigDecimal.class) {
                return exact;
            } else if (raw == Number.class) {
                return value instanceof Number ? value : exact;
            }
        } catch (ArithmeticException | NumberFormatException error) {
            throw mismatch(value, raw);
        }
        return FromText.make(value, raw);
    }

    static BigInteger truncated(BigDecimal value) {
        // 1e999999999 is a few bytes of JSON and gigabytes as an integer.
        if (value.precision() - value.scale() > 400) {
            throw new ArithmeticException("too large");
        }
        return value.toBigInteger();
    }

    /** By name, or by number; a name that is not among them is nothing, as on Lambda. */
    private static Object constant(Object value, Class<?> raw) {
        Object[] constants = raw.getEnumConstants();
        if (value instanceof Integer && (int) value >= 0 && (int) value < constants.length) {
            return constants[(int) value];
        }
        if (value instanceof Map || value instanceof List) {
            throw mismatch(value, raw);
        }
        for (Object constant : constants) {
            if (((Enum<?>) constant).name().equals(value)) {
                return constant;
            }
        }
        return null;
    }

    /** Where a list is wanted, one value alone is a list of one. */
    private static List<?> items(Object value) {
        return value instanceof List ? (List<?>) value : List.of(value);
    }

    private static Object array(Object value, Type type, Class<?> raw) {
        Type item = type instanceof GenericArrayType ? ((GenericArrayType) type).getGenericComponentType() : raw.getComponentType();
        List<?> items = items(value);
        Object array = Array.newInstance(raw.getComponentType(), items.size());
        for (int i = 0; i < items.size(); i++) {
            Array.set(array, i, bind(items.get(i), item));
        }
        return array;
    }

    @SuppressWarnings("unchecked")
    private static Object map(Object value, Type type, Class<?> raw) {
        if (!(value instanceof Map)) {
            throw mismatch(value, raw);
        }
        Map<Object, Object> made = SortedMap.class.isAssignableFrom(raw) ? new TreeMap<>()
            : raw.isInterface() || Modifier.isAbstract(raw.getModifiers()) ? new LinkedHashMap<>() : (Map<Object, Object>) made(raw);
        for (Map.Entry<?, ?> entry : ((Map<?, ?>) value).entrySet()) {
            made.put(bind(entry.getKey(), argument(type, 0)), bind(entry.getValue(), argument(type, 1)));
        }
        return made;
    }

    @SuppressWarnings("unchecked")
    private static Object collection(Object value, Type type, Class<?> raw) {
        Collection<Object> made;
        if (!raw.isInterface() && !Modifier.isAbstract(raw.getModifiers())) {
            made = (Collection<Object>) made(raw);
        } else if (SortedSet.class.isAssignableFrom(raw)) {
            made = new TreeSet<>();
        } else if (Set.class.isAssignableFrom(raw)) {
            made = new LinkedHashSet<>();
        } else {
            made = raw.isAssignableFrom(ArrayList.class) ? new ArrayList<>() : (Collection<Object>) (Object) new ArrayDeque<>();
        }
        for (Object item : items(value)) {
            made.add(bind(item, argument(type, 0)));
        }
        return made;
    }

    private static Object structured(Map<?, ?> fields, Type type, Class<?> raw) {
        if (java.util.Date.class.isAssignableFrom(raw) || raw.getName().startsWith("java.time.") || raw.getName().startsWith("java.nio.")) {
            throw mismatch(fields, raw);
        }
        return raw.isRecord() ? record(fields, raw) : bean(fields, raw, null);
    }

    private static Object record(Map<?, ?> fields, Class<?> raw) {
        RecordComponent[] parts = raw.getRecordComponents();
        Class<?>[] types = new Class<?>[parts.length];
        Object[] values = new Object[parts.length];
        for (int i = 0; i < parts.length; i++) {
            types[i] = parts[i].getType();
            String name = found(fields, parts[i].getName(), raw);
            values[i] = bind(name == null ? null : fields.get(name), parts[i].getGenericType());
        }
        return call(() -> {
            Constructor<?> constructor = raw.getDeclaredConstructor(types);
            constructor.setAccessible(true);
            return constructor.newInstance(values);
        });
    }

    /** `outer` is the object that an inner class which is not static belongs to. */
    private static Object bean(Map<?, ?> fields, Class<?> raw, Object outer) {
        Map<String, Method> setters = setters(raw);
        List<Field> open = new ArrayList<>();
        for (Field field : raw.getFields()) {
            if (!Modifier.isStatic(field.getModifiers()) && !Modifier.isFinal(field.getModifiers())) {
                open.add(field);
            }
        }
        Constructor<?> whole = setters.isEmpty() && open.isEmpty() ? Constructors.ofAllFields(raw) : null;
        if (whole != null) {
            return constructed(fields, raw, whole);
        }
        Object bean = outer == null ? made(raw) : madeWithin(outer, raw);
        setters.forEach((property, setter) -> {
            String name = found(fields, property, raw);
            if (name != null) {
                Object value = property(fields.get(name), setter.getGenericParameterTypes()[0], raw, bean);
                call(() -> {
                    setter.setAccessible(true);
                    return setter.invoke(bean, value);
                });
            }
        });
        for (Field field : open) {
            String name = found(fields, field.getName(), raw);
            if (name != null) {
                Object value = property(fields.get(name), field.getGenericType(), raw, bean);
                call(() -> {
                    field.setAccessible(true);
                    field.set(bean, value);
                    return null;
                });
            }
        }
        return bean;
    }

    private static Object constructed(Map<?, ?> fields, Class<?> raw, Constructor<?> constructor) {
        List<String> names = Constructors.names(raw, constructor);
        Type[] types = constructor.getGenericParameterTypes();
        Object[] values = new Object[types.length];
        for (int i = 0; i < types.length; i++) {
            String name = found(fields, names.get(i), raw);
            values[i] = property(name == null ? null : fields.get(name), types[i], raw, null);
        }
        return call(() -> {
            constructor.setAccessible(true);
            return constructor.newInstance(values);
        });
    }

    /** By property. Of several with one name that which takes what the getter gives, else a text. */
    private static Map<String, Method> setters(Class<?> raw) {
        Map<String, Method> found = new TreeMap<>();
        for (Method method : raw.getMethods()) {
            String name = method.getName();
            boolean isSetter = name.length() > 3 && name.startsWith("set") && method.getParameterCount() == 1 && !Modifier.isStatic(method.getModifiers()) && !method.isBridge();
            if (isSetter) {
                found.merge(lowered(name.substring(3)), method, (one, other) -> rank(one, raw) >= rank(other, raw) ? one : other);
            }
        }
        return found;
    }

    private static int rank(Method setter, Class<?> raw) {
        Class<?> type = setter.getParameterTypes()[0];
        try {
            if (raw.getMethod("get" + setter.getName().substring(3)).getReturnType() == type) {
                return 2;
            }
        } catch (NoSuchMethodException error) {
            // Then a text is what can always be made.
        }
        return type == String.class ? 1 : 0;
    }

    private static boolean isEvent(Class<?> raw) {
        return raw.getName().startsWith(EVENTS);
    }

    /** A value for a property of `owner`, which is being filled in. */
    private static Object property(Object value, Type type, Class<?> owner, Object bean) {
        if (value instanceof Number && type == java.util.Date.class && isEvent(owner)) {
            return FromText.ofSeconds((Number) value);
        }
        Class<?> raw = raw(type);
        boolean isInner = raw.isMemberClass() && !Modifier.isStatic(raw.getModifiers()) && raw.getDeclaringClass().isInstance(bean);
        return value instanceof Map && isInner ? bean((Map<?, ?>) value, raw, bean) : bind(value, type);
    }

    /** The key that stands for `name` in what was parsed, or null. */
    private static String found(Map<?, ?> fields, String name, Class<?> owner) {
        if (fields.containsKey(name)) {
            return name;
        }
        for (Object key : fields.keySet()) {
            String text = isEvent(owner) ? ((String) key).replace("-", "") : (String) key;
            if (name.equalsIgnoreCase(text)) {
                return (String) key;
            }
        }
        return null;
    }

    private static Object made(Class<?> raw) {
        return call(() -> {
            Constructor<?> constructor = raw.getDeclaredConstructor();
            constructor.setAccessible(true);
            return constructor.newInstance();
        });
    }

    private static Object madeWithin(Object outer, Class<?> raw) {
        return call(() -> {
            Constructor<?> constructor = raw.getDeclaredConstructor(raw.getDeclaringClass());
            constructor.setAccessible(true);
            return constructor.newInstance(outer);
        });
    }

    /** The properties of a bean or record that have a value, in the order of its declared fields. */
    static Map<String, Object> properties(Object bean) {
        Map<String, Object> all = allProperties(bean);
        all.values().removeIf(java.util.Objects::isNull);
        return all;
    }

    private static Map<String, Object> allProperties(Object bean) {
        Class<?> raw = bean.getClass();
        Map<String, Object> found = new LinkedHashMap<>();
        if (raw.isRecord()) {
            for (RecordComponent part : raw.getRecordComponents()) {
                Method accessor = part.getAccessor();
                accessor.setAccessible(true);
                found.put(part.getName(), call(() -> accessor.invoke(bean)));
            }
            return found;
        }
        Map<String, Method> getters = new TreeMap<>();
        for (Method method : raw.getMethods()) {
            String property = getterOf(method);
            if (property != null && !(getters.containsKey(property) && method.getName().startsWith("is"))) {
                getters.put(property, method);
            }
        }
        List<String> order = new ArrayList<>();
        for (Class<?> at = raw; at != null && at != Object.class; at = at.getSuperclass()) {
            for (Field field : at.getDeclaredFields()) {
                if (getters.containsKey(field.getName()) && !order.contains(field.getName())) {
                    order.add(field.getName());
                }
            }
        }
        getters.keySet().stream().filter(name -> !order.contains(name)).forEach(order::add);
        for (String property : order) {
            Method getter = getters.get(property);
            getter.setAccessible(true);
            found.put(property, call(() -> getter.invoke(bean)));
        }
        for (Field field : raw.getFields()) {
            if (!Modifier.isStatic(field.getModifiers()) && !found.containsKey(field.getName())) {
                field.setAccessible(true);
                found.put(field.getName(), call(() -> field.get(bean)));
            }
        }
        return found;
    }

    private static String getterOf(Method method) {
        if (method.getParameterCount() != 0 || Modifier.isStatic(method.getModifiers()) || method.getDeclaringClass() == Object.class || method.isBridge()) {
            return null;
        }
        String name = method.getName();
        if (name.length() > 3 && name.startsWith("get") && method.getReturnType() != void.class) {
            return lowered(name.substring(3));
        }
        return name.length() > 2 && name.startsWith("is") && (method.getReturnType() == boolean.class || method.getReturnType() == Boolean.class) ? lowered(name.substring(2)) : null;
    }

    /** As beans are named: `Name` → `name`, but `URL` stays. */
    private static String lowered(String name) {
        boolean isAcronym = name.length() > 1 && Character.isUpperCase(name.charAt(0)) && Character.isUpperCase(name.charAt(1));
        return isAcronym ? name : Character.toLowerCase(name.charAt(0)) + name.substring(1);
    }

    interface Act {
        Object run() throws ReflectiveOperationException;
    }

    static Object call(Act act) {
        try {
            return act.run();
        } catch (InvocationTargetException error) {
            throw new IllegalArgumentException(String.valueOf(error.getCause()), error.getCause());
        } catch (ReflectiveOperationException error) {
            throw new IllegalArgumentException(error.toString(), error);
        }
    }
}
