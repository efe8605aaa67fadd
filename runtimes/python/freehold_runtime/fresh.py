"""What must not be the same in two processes that were thawed from one image.

The kernel's randomness (`os.urandom`, `secrets`, `random.SystemRandom`, `uuid4`) needs nothing.
Whatever keeps a state of its own in this process is given a new one, and credentials that a library
has read from the environment, or asked the endpoint for, become those of this instance.

Refuses to touch generators that the function has made for itself: `random.Random()`,
`numpy.random.default_rng()`. They are the function's to renew, in its hook after a restore.
"""
import os
import sys
import time

_credentials = []
# Those that a library asked the endpoint for, with the token of the instance that was.
_asked = []
# What sets the size of a pool, by what the library's file is called: (part of its name, the variables
# that say the size, the first that is there; names of the function).
_POOLS = (
    # As its builds name it: with a prefix of SciPy's, and for 64-bit indices.
    ("openblas", ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), [
        prefix + "openblas_set_num_threads" + suffix
        for prefix in ("scipy_", "") for suffix in ("64_", "")
    ]),
    ("libmkl_rt", ("MKL_NUM_THREADS", "OMP_NUM_THREADS"), ["MKL_Set_Num_Threads"]),
    # OpenMP of GCC, LLVM and Intel, under which scikit-learn, PyTorch and others run.
    ("libgomp", ("OMP_NUM_THREADS",), ["omp_set_num_threads"]),
    ("libomp", ("OMP_NUM_THREADS",), ["omp_set_num_threads"]),
    ("libiomp", ("OMP_NUM_THREADS",), ["omp_set_num_threads"]),
)


def reseed():
    """A state of its own for everything in the process that was seeded before."""
    modules = sys.modules
    for name, renew in _SEEDED.items():
        module = modules.get(name)
        if module is not None:
            renew(module)


def _random(random):
    generator = getattr(random, "_inst", None)
    if generator is not None and type(generator) is getattr(random, "Random", None):
        # `random.seed()` without its Python, which asks about types that it is not given.
        super(type(generator), generator).seed()
        generator.gauss_next = None
    elif hasattr(random, "seed"):
        # Not the one that we know; without this it is the function's own, of the same name.
        random.seed()


def _numpy_random(random):
    random.seed()


def _threading(threading):
    main = getattr(threading, "_main_thread", None)
    if hasattr(main, "_native_id"):
        # There is no other thread: the main one's id is the process's.
        main._native_id = os.getpid()


def _ssl(ssl):
    # OpenSSL notices a fork by the process id, which siblings of an image share.
    ssl.RAND_add(os.urandom(64), 64.0)


def _tempfile(tempfile):
    tempfile._name_sequence = None


def _uuid(uuid):
    # Node (with the bit that says it is no hardware's) and clock of `uuid1`; libuuid keeps its own
    # within the C library, so not that one.
    uuid._node = int.from_bytes(os.urandom(6), "big") | 1 << 40
    uuid._last_timestamp = None
    for name in ("_generate_time_safe", "_uuid_generate_time"):
        if hasattr(uuid, name):
            setattr(uuid, name, None)


def _multiprocessing(process):
    # The key by which a process and its children know each other.
    process.current_process().authkey = os.urandom(32)


def _logging(logging):
    if hasattr(logging, "_startTime"):
        # What a record's `relativeCreated` counts from: nanoseconds since 3.13.
        is_whole = isinstance(logging._startTime, int)
        logging._startTime = time.time_ns() if is_whole else time.time()


_SEEDED = {
    "threading": _threading, "random": _random, "numpy.random": _numpy_random, "_ssl": _ssl,
    "tempfile": _tempfile, "uuid": _uuid,
}
# By the name of a module that was imported ahead: what makes anew, as a function imports it, what its
# execution made.
MADE_ON_IMPORT = dict(_SEEDED, **{"multiprocessing.process": _multiprocessing, "logging": _logging})


def remember_credentials():
    """Notes the credential objects that were made of the environment, or of what the endpoint said,
    before they are frozen.

    A version whose function names a provider of its own (`AWS_CONTAINER_…`) has keys in its environment,
    see `environment.rs`; any other one has none there.
    """
    del _credentials[:], _asked[:]
    botocore = sys.modules.get("botocore.credentials")
    if botocore is None:
        return
    import gc

    mine = os.environ.get("AWS_ACCESS_KEY_ID")
    for item in gc.get_objects():
        # By its type: `isinstance` asks the object, which may be a proxy that runs code or raises.
        if not issubclass(type(item), botocore.Credentials):
            continue
        if item.__dict__.get("method") == "container-role" and "_expiry_time" in item.__dict__:
            _asked.append(item)
        elif mine is not None and _key_of(item) == mine:
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
    for item in _asked:
        _ask_again(item, environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN"))


def _ask_again(item, token):
    """Has a library ask before it signs the next time: what it holds ended long ago."""
    end = item._expiry_time
    if end is None:
        # Of somebody else's making: it never ends, or nothing was asked yet.
        return
    item._expiry_time = type(end).fromtimestamp(0, end.tzinfo)
    # botocore before 1.33 keeps the header that it asked with first.
    for cell in getattr(item._refresh_using, "__closure__", None) or ():
        try:
            headers = cell.cell_contents
        except ValueError:
            continue
        if type(headers) is dict and "Authorization" in headers:
            headers["Authorization"] = token


def widen():
    """Thread pools of numeric libraries were held at one while the image was made, since threads are
    not carried: now they are as large as the instance may have them."""
    wanted = [(part, _threads(variables), names) for part, variables, names in _POOLS]
    if all(count < 2 for _, count, _ in wanted):
        return
    with open("/proc/self/maps") as maps:
        mapped = {line.split(None, 5)[-1].rstrip("\n") for line in maps if ".so" in line}
    for path in mapped:
        for part, count, names in wanted:
            if count > 1 and part in os.path.basename(path):
                _set_threads(path, names, count)
    numexpr = sys.modules.get("numexpr")
    count = _threads(("NUMEXPR_NUM_THREADS", "OMP_NUM_THREADS"))
    if count > 1 and hasattr(numexpr, "set_num_threads"):
        try:
            numexpr.set_num_threads(count)
        except ValueError:
            pass  # more than NUMEXPR_MAX_THREADS: it stays at one


def _threads(variables):
    """What the first of these that is there says; 0 for what is no plain number."""
    count = next(filter(None, map(os.environ.get, variables)), "0")
    return int(count) if count.isdigit() and len(count) < 5 else 0


def _set_threads(path, names, count):
    import ctypes

    try:
        # By its path it is the one that is mapped already. Loading another one runs its code.
        library = ctypes.CDLL(path, os.RTLD_NOLOAD | os.RTLD_NOW)
    except OSError:
        return  # it is mapped, and no file any more: it stays at one thread
    for name in names:
        if hasattr(library, name):
            getattr(library, name)(count)
            break


def _key_of(item):
    # Not through a property: those that refresh themselves would call out.
    return item.__dict__.get("_access_key") or item.__dict__.get("access_key")
