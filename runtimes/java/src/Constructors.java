package freehold;

import java.lang.reflect.Constructor;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.lang.reflect.Parameter;
import java.util.ArrayList;
import java.util.List;

/**
 * The constructor that takes all fields of a class which can be filled in no other way, as those of
 * S3's events. Its parameters go by their names where the compiler kept them, else by the order in
 * which the fields are declared, and only where that order fits in every type.
 */
final class Constructors {
    private Constructors() {}

    /** Null if there is none, or more than one that could be meant. */
    static Constructor<?> ofAllFields(Class<?> type) {
        List<Field> fields = fields(type);
        Constructor<?> found = null;
        for (Constructor<?> constructor : type.getConstructors()) {
            boolean fits = !fields.isEmpty() && constructor.getParameterCount() == fields.size()
                && (isNamed(constructor, fields) || isInOrder(constructor, fields));
            if (fits && found != null) {
                return null;
            }
            found = fits ? constructor : found;
        }
        return found;
    }

    /** The fields that its parameters stand for. */
    static List<String> names(Class<?> type, Constructor<?> constructor) {
        List<Field> fields = fields(type);
        boolean isNamed = isNamed(constructor, fields);
        List<String> names = new ArrayList<>();
        for (int i = 0; i < fields.size(); i++) {
            names.add(isNamed ? constructor.getParameters()[i].getName() : fields.get(i).getName());
        }
        return names;
    }

    private static boolean isNamed(Constructor<?> constructor, List<Field> fields) {
        List<String> names = new ArrayList<>();
        fields.forEach(field -> names.add(field.getName()));
        for (Parameter parameter : constructor.getParameters()) {
            if (!parameter.isNamePresent() || !names.remove(parameter.getName())) {
                return false;
            }
        }
        return true;
    }

    private static boolean isInOrder(Constructor<?> constructor, List<Field> fields) {
        Class<?>[] types = constructor.getParameterTypes();
        for (int i = 0; i < types.length; i++) {
            Class<?> field = fields.get(i).getType();
            // A time may be given as the text that the constructor reads it from.
            boolean fits = types[i] == field || types[i] == String.class && field.getName().contains(".time.");
            if (!fits) {
                return false;
            }
        }
        return true;
    }

    /** Of the super classes first, as constructors hand theirs on. */
    private static List<Field> fields(Class<?> type) {
        List<Field> found = type.getSuperclass() == null ? new ArrayList<>() : fields(type.getSuperclass());
        for (Field field : type.getDeclaredFields()) {
            if (!Modifier.isStatic(field.getModifiers()) && !field.isSynthetic()) {
                found.add(field);
            }
        }
        return found;
    }
}
