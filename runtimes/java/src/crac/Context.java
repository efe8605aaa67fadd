package freehold.crac;

/** A resource that tells others. */
public abstract class Context<R extends Resource> implements Resource {
    protected Context() {}

    /** Tells the one that was registered last first. */
    @Override
    public abstract void beforeCheckpoint(Context<? extends Resource> context) throws CheckpointException;

    /** Tells the one that was registered first first. */
    @Override
    public abstract void afterRestore(Context<? extends Resource> context) throws RestoreException;

    /** From now on `resource` is told, for as long as somebody else holds it. */
    public abstract void register(R resource);
}
