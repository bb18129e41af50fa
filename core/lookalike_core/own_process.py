"""Whether this process belongs to a command, which may change settings of the whole process.

In a process of a host application nothing is changed. This module imports nothing slow.
"""

import gc
import os
from importlib import import_module
from types import ModuleType

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


def load_module(name: str) -> ModuleType:
    """Imports a module; in a command's own process without garbage collections.

    They take a twentieth of a first query and find nothing. All objects that exist afterwards are exempt from
    later collections, too.
    """
    if not _is_own or not gc.isenabled():
        return import_module(name)
    gc.disable()
    try:
        return import_module(name)
    finally:
        gc.freeze()
        gc.enable()
