"""Whether this process belongs to a command, which may change settings of the whole process.

In a process of a host application nothing is changed. This module imports nothing slow.
"""

import os

VARIABLES = {"OMP_WAIT_POLICY": "passive", "TF_CPP_MIN_LOG_LEVEL": "3"}
"""Environment variables that libraries read when they are imported, set unless they are set already.

OpenMP's threads spin while they wait, in t-SNE thousands of times, which takes four times as long when
another process uses a core. TensorFlow, which models are verified against, logs to stderr before Python code
can prevent it.
"""

_is_own = False


def claim() -> None:
    """Marks the process as a command's own, before any library that reads `VARIABLES` is imported."""
    global _is_own  # noqa: PLW0603 - there is one process
    _is_own = True
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)  # noqa: TID251 - it is ours


def is_own() -> bool:
    """Returns whether the process was marked by `claim`."""
    return _is_own
