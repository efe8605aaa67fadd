"""Entry point of the managed Python runtimes: `/var/lang/bin/python3 -S -u /var/runtime/bootstrap.py`.

The script itself is never cached as bytecode, so it stays this small and everything else lives in
the package beside it, whose bytecode is made when the runtime tree is assembled.
"""
import sys

sys.dont_write_bytecode = True

from freehold_runtime import loop  # noqa: E402

loop.main()
