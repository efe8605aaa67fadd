"""JSON in and out as Lambda's marshaller does it, without importing `json` where that is possible.

`json` pulls in `re`, which is half of a bare interpreter's start. The accelerator module `_json` is
what `json` itself calls; whatever it cannot settle (a syntax error, trailing data, an interpreter
without it) goes to `json`, whose error texts are the ones that functions see.
"""
import sys

try:
    from _json import encode_basestring, encode_basestring_ascii, make_encoder, make_scanner
except ImportError:
    make_scanner = make_encoder = None

# From 3.12 on Lambda writes text as it is; before it writes \u escapes.
ENSURE_ASCII = sys.version_info < (3, 12)
_CONSTANTS = {"-Infinity": float("-inf"), "Infinity": float("inf"), "NaN": float("nan")}


class _ScannerOptions(object):
    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = _CONSTANTS.__getitem__
    memo = {}


_scan = make_scanner(_ScannerOptions) if make_scanner else None


def decode(body):
    """The event of a request body (bytes)."""
    text = body.decode("utf-8")
    if _scan is not None:
        stripped = text.strip(" \t\n\r")
        try:
            event, end = _scan(stripped, 0)
            if end == len(stripped):
                return event
        except Exception:
            # StopIteration for no value at all, JSONDecodeError for a bad one; 3.10 raises
            # SystemError when `json.decoder` is not loaded yet. `json` below settles it.
            pass
    import json

    return json.loads(text)


def encode(value):
    """`value` as JSON text. Decimals are written as the numbers they are, as Lambda does."""
    decimals = []

    def default(item):
        decimal = sys.modules.get("decimal")
        if decimal is not None and isinstance(item, decimal.Decimal):
            if item.is_nan():
                return _CONSTANTS["NaN"]
            # The C encoder cannot emit raw text, so a marker stands in until it is done. NUL never
            # comes out of it unescaped, and the id of this list is not known to the function.
            decimals.append(str(item))
            return "\0decimal:%d:%d\0" % (id(decimals), len(decimals) - 1)
        raise TypeError("Object of type %s is not JSON serializable" % type(item).__name__)

    if make_encoder is not None:
        escape = encode_basestring_ascii if ENSURE_ASCII else encode_basestring
        run = make_encoder({}, default, escape, None, ": ", ", ", False, False, True)
        pieces = run(value, 0)
        text = pieces if isinstance(pieces, str) else "".join(pieces)
    else:
        import json

        text = json.dumps(value, default=default, ensure_ascii=ENSURE_ASCII)
    for index, number in enumerate(decimals):
        text = text.replace('"\\u0000decimal:%d:%d\\u0000"' % (id(decimals), index), number)
    return text
