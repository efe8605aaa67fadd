"""The context object that a handler gets as its second argument.

Attribute names and shapes are those of the Lambda documentation ("AWS Lambda context object in
Python"); what the invocation did not bring is None, never missing.
"""
import os
import time


# What is the same for every event of an instance, as `refresh` has found it.
_of_instance = {}


def refresh():
    """Reads what the environment says about the instance; it is asked for with every event."""
    environ = os.environ
    _of_instance.update(
        log_group_name=environ.get("AWS_LAMBDA_LOG_GROUP_NAME"),
        log_stream_name=environ.get("AWS_LAMBDA_LOG_STREAM_NAME"),
        function_name=environ.get("AWS_LAMBDA_FUNCTION_NAME"),
        memory_limit_in_mb=environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE"),
        function_version=environ.get("AWS_LAMBDA_FUNCTION_VERSION"),
    )


class LambdaContext(object):
    def __init__(self, request_id, deadline_ms, arn, client_context, cognito_identity, tenant_id):
        self.__dict__.update(_of_instance)
        self.aws_request_id = request_id
        self.invoked_function_arn = arn
        self.tenant_id = tenant_id
        self.client_context = _filled(ClientContext(), client_context)
        if self.client_context is not None:
            self.client_context.client = _filled(Client(), self.client_context.client)
        self.identity = identity = CognitoIdentity()
        cognito_identity = cognito_identity or {}
        identity.cognito_identity_id = cognito_identity.get("cognitoIdentityId")
        identity.cognito_identity_pool_id = cognito_identity.get("cognitoIdentityPoolId")
        self._epoch_deadline_time_in_ms = deadline_ms

    def get_remaining_time_in_millis(self):
        return max(0, self._epoch_deadline_time_in_ms - int(time.time() * 1000))

    def log(self, message):
        from . import output

        output.write_log(str(message))

    def __repr__(self):
        shown = (
            "aws_request_id",
            "log_group_name",
            "log_stream_name",
            "function_name",
            "memory_limit_in_mb",
            "function_version",
            "invoked_function_arn",
            "client_context",
            "identity",
            "tenant_id",
        )
        return _shown(self, shown)


class CognitoIdentity(object):
    __slots__ = ["cognito_identity_id", "cognito_identity_pool_id"]

    def __repr__(self):
        return _shown(self, self.__slots__)


class Client(object):
    __slots__ = [
        "installation_id",
        "app_title",
        "app_version_name",
        "app_version_code",
        "app_package_name",
    ]

    def __repr__(self):
        return _shown(self, self.__slots__)


class ClientContext(object):
    __slots__ = ["custom", "env", "client"]

    def __repr__(self):
        return _shown(self, self.__slots__)


def _filled(target, fields):
    if fields is None:
        return None
    for name in target.__slots__:
        setattr(target, name, fields.get(name))
    return target


def _shown(thing, names):
    values = ",".join("%s=%s" % (name, getattr(thing, name)) for name in names)
    return "%s([%s])" % (type(thing).__name__, values)
