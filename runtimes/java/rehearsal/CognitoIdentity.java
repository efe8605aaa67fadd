package com.amazonaws.services.lambda.runtime;

/** See {@link Context}. */
public interface CognitoIdentity {
    String getIdentityId();
}
