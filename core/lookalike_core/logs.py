"""Loggers, all below `lookalike`; without a handler they print nothing.

INFO is what is going on, WARNING what went wrong or was left out. Messages are sentences that stand alone.
A record of something that can be helped carries a `Hint` as its attribute `hint`.
"""

import logging

ROOT = "lookalike"


def get_logger(room: str) -> logging.Logger:
    """Returns the logger of a room, `lookalike.stores` of `stores`."""
    return logging.getLogger(f"{ROOT}.{room}")


# Without a handler Python itself would write warnings to the host's stderr.
logging.getLogger(ROOT).addHandler(logging.NullHandler())
