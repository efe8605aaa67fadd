package com.amazonaws.services.lambda.runtime;

/** See {@link Context}. */
public interface RequestHandler<I, O> {
    O handleRequest(I input, Context context);
}
