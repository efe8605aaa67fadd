package freehold;

/** How a runtime is spoken to: direct frames, or the public Runtime API. */
interface Client {
    /** Waits for the next event; ends the process when the platform is gone. */
    Invocation next();

    void postResponse(String id, byte[] body);

    /** `isLast`: the process ends after it. */
    void postError(String id, String type, byte[] body, boolean isLast);

    void postInitError(String type, byte[] body);

    /** Of what follows a restore. */
    void postRestoreError(String type, byte[] body);
}
