package com.amazonaws.services.lambda.runtime;

/** Of the interfaces that functions bring along as much as a rehearsal needs. */
public interface Context {
    String getAwsRequestId();

    int getRemainingTimeInMillis();

    LambdaLogger getLogger();

    CognitoIdentity getIdentity();
}
