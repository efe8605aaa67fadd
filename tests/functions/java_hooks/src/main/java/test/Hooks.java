package test;

import java.util.ArrayList;
import java.util.List;
import org.crac.Context;
import org.crac.Core;
import org.crac.Resource;

/** Resources that note when they are told. `FAILS` names those that fail, and when: `one.beforeCheckpoint`. */
public class Hooks {
    private static final List<String> TOLD = new ArrayList<>();
    private static final List<Resource> KEPT = List.of(new Noting("one"), new Noting("two"), new Noting("three"));

    static {
        for (Resource resource : KEPT) {
            Core.getGlobalContext().register(resource);
        }
        forget();
        System.gc();
        TOLD.add("init");
    }

    /** To be registered is not to be kept. */
    private static void forget() {
        Core.getGlobalContext().register(new Noting("nobody's"));
    }

    private static final class Noting implements Resource {
        private final String name;

        Noting(String name) {
            this.name = name;
        }

        @Override
        public void beforeCheckpoint(Context<? extends Resource> context) {
            note("beforeCheckpoint");
        }

        @Override
        public void afterRestore(Context<? extends Resource> context) {
            note("afterRestore");
        }

        private void note(String what) {
            String hook = name + "." + what;
            TOLD.add(hook);
            String fails = System.getenv("FAILS");
            if (fails != null && List.of(fails.split(",")).contains(hook)) {
                throw new IllegalStateException(hook + " as told");
            }
        }
    }

    public List<String> told(Object event) {
        return TOLD;
    }
}
