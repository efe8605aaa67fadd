"""From the text in `_HANDLER` to the callable: `module.function`, `pkg.module.function`, `dir/module.function`.

Error names and texts are Lambda's.
"""
import sys


def load(handler):
    module_name, dot, function_name = handler.rpartition(".")
    if not dot:
        from .faults import Fault

        raise Fault(
            "Runtime.MalformedHandlerName",
            "Bad handler '%s': not enough values to unpack (expected 2, got 1)" % handler,
        )
    if module_name.split(".")[0] in sys.builtin_module_names:
        from .faults import Fault

        raise Fault(
            "Runtime.BuiltInModuleConflict",
            "Cannot use built-in module %s as a handler module" % module_name,
        )
    importable = module_name.replace("/", ".")
    try:
        # `importlib.import_module` without `importlib`: the interpreter already has this inside. Unlike
        # `__import__` it leaves its frames in tracebacks, where Lambda has them.
        if importable.startswith("."):
            raise TypeError(
                "the 'package' argument is required to perform a relative import for %r" % importable
            )
        module = sys.modules["_frozen_importlib"]._gcd_import(importable)
    except ImportError as error:
        from .faults import Fault

        raise Fault(
            "Runtime.ImportModuleError",
            "Unable to import module '%s': %s" % (module_name, error),
        )
    except SyntaxError as error:
        from .faults import Fault

        raise Fault(
            "Runtime.UserCodeSyntaxError",
            "Syntax error in module '%s': %s" % (module_name, error),
            ['  File "%s" Line %s\n    %s' % (error.filename, error.lineno, error.text)],
        )
    try:
        return getattr(module, function_name)
    except AttributeError:
        from .faults import Fault

        raise Fault(
            "Runtime.HandlerNotFound",
            "Handler '%s' missing on module '%s'" % (function_name, module_name),
        )
