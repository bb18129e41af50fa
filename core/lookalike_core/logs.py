"""Loggers, all below `lookalike`; without a handler they print nothing.

INFO is progress, WARNING a failure or something left out. Messages are complete sentences. A record with a
remedy carries a `Hint` as its attribute `hint`.
"""

import logging

ROOT = "lookalike"


def get_logger(room: str) -> logging.Logger:
    """Returns the logger of a module group, such as `lookalike.stores` for `stores`."""
    return logging.getLogger(f"{ROOT}.{room}")


# Without a handler Python itself would write warnings to the host's stderr.
logging.getLogger(ROOT).addHandler(logging.NullHandler())
