package com.amazonaws.services.lambda.runtime;

/** See {@link Context}. */
public interface LambdaLogger {
    void log(String message);
}
