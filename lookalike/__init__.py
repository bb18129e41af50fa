"""Lookalike finds the images most like a given one."""

from lookalike_core import __version__

__all__ = ["__version__"]
