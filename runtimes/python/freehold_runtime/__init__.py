"""Guest side of direct frames and of the Lambda Runtime API for Python 3.6 and later.

Refuses to grow imports: every module that is loaded before the handler is paid for by each cold
start (`import json` 9 ms, `import logging` 16 ms over a bare 8 ms, measured on Python 3.11), so
nothing here imports them. `logs` configures logging when the function imports it; `faults`, which
needs `traceback`, loads with the first error.
"""
