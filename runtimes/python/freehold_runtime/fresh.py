"""What must not be the same in two processes that were thawed from one image.

The kernel's randomness (`os.urandom`, `secrets`, `random.SystemRandom`, `uuid4`) needs nothing.
Whatever keeps a state of its own in this process is given a new one, and credentials that a library
has read from the environment become those of this instance.

Refuses to touch generators that the function has made for itself: `random.Random()`,
`numpy.random.default_rng()`. They are the function's to renew, in its hook after a restore.
"""
import os
import sys

_credentials = []
# Of OpenBLAS, as its builds name it: with a prefix of SciPy's, and for 64-bit indices.
_SET_THREADS = [
    prefix + "openblas_set_num_threads" + suffix
    for prefix in ("scipy_", "") for suffix in ("64_", "")
]


def reseed():
    """A state of its own for everything in the process that was seeded before."""
    modules = sys.modules
    random = modules.get("random")
    if random is not None:
        random.seed()
    numpy_random = modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()
    ssl = modules.get("_ssl")
    if ssl is not None:
        # OpenSSL notices a fork by the process id, which siblings of an image share.
        ssl.RAND_add(os.urandom(64), 64.0)
    tempfile = modules.get("tempfile")
    if tempfile is not None:
        tempfile._name_sequence = None
    uuid = modules.get("uuid")
    if uuid is not None:
        # Node (with the bit that says it is no hardware's) and clock of `uuid1`; libuuid keeps its
        # own within the C library, so not that one.
        uuid._node = int.from_bytes(os.urandom(6), "big") | 1 << 40
        uuid._last_timestamp = None
        for name in ("_generate_time_safe", "_uuid_generate_time"):
            if hasattr(uuid, name):
                setattr(uuid, name, None)


def remember_credentials():
    """Notes the credential objects that were made of the environment, before they are frozen."""
    del _credentials[:]
    botocore = sys.modules.get("botocore.credentials")
    if botocore is None:
        return
    import gc

    mine = os.environ.get("AWS_ACCESS_KEY_ID")
    for item in gc.get_objects():
        # By its type: `isinstance` asks the object, which may be a proxy that runs code or raises.
        if issubclass(type(item), botocore.Credentials) and _key_of(item) == mine:
            _credentials.append(item)


def renew_credentials():
    """Clients that were made during init sign with the credentials of this instance."""
    environ = os.environ
    for item in _credentials:
        # `RefreshableCredentials` has properties over these names, plain ones the names alone.
        prefix = "_" if "_access_key" in item.__dict__ else ""
        setattr(item, prefix + "access_key", environ.get("AWS_ACCESS_KEY_ID"))
        setattr(item, prefix + "secret_key", environ.get("AWS_SECRET_ACCESS_KEY"))
        setattr(item, prefix + "token", environ.get("AWS_SESSION_TOKEN"))


def widen():
    """Thread pools of numeric libraries were held at one while the image was made, since threads are
    not carried: now they are as large as the instance may have them."""
    count = os.environ.get("OPENBLAS_NUM_THREADS") or os.environ.get("OMP_NUM_THREADS") or "1"
    if count == "1" or not count.isdigit() or "numpy" not in sys.modules:
        return
    import ctypes

    with open("/proc/self/maps") as maps:
        mapped = {line.split(None, 5)[-1].rstrip("\n") for line in maps if "openblas" in line}
    for path in mapped:
        try:
            library = ctypes.CDLL(path)
        except OSError:
            continue  # it is mapped, and no file any more: it stays at one thread
        for name in _SET_THREADS:
            if hasattr(library, name):
                getattr(library, name)(int(count))
                break


def _key_of(item):
    # Not through a property: those that refresh themselves would call out.
    return item.__dict__.get("_access_key") or item.__dict__.get("access_key")
