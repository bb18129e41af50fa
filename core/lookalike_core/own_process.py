"""Whether this process is ours alone, as a command's is, so that we may set what holds for all of it.

In a host's process nothing is set. This imports nothing that takes long.
"""

import os

VARIABLES = {"OMP_WAIT_POLICY": "passive", "TF_CPP_MIN_LOG_LEVEL": "3"}
"""Environment variables that libraries read as they are loaded, where they are not set already.

OpenMP's threads wait for each other at full speed, t-SNE's thousands of times, which takes four times as long
where another process wants a core, too. TensorFlow, beside which models are verified, talks on stderr before
Python can stop it.
"""

_is_own = False


def claim() -> None:
    """Declares this process ours, before anything is imported that reads `VARIABLES`."""
    global _is_own  # noqa: PLW0603 - there is one process
    _is_own = True
    for name, value in VARIABLES.items():
        os.environ.setdefault(name, value)  # noqa: TID251 - it is ours


def is_own() -> bool:
    """Returns whether it was declared so."""
    return _is_own
