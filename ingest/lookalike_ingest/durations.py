"""Durations as people write them: `7d`, `12h`, `30m`, `90s`."""

import re
from datetime import timedelta

from lookalike_core.errors import UsageError
from lookalike_core.hints import Argument

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DURATION = re.compile(rf"(\d{{1,9}})([{''.join(_UNITS)}])")


def parse_duration(text: str, origin: Argument | str) -> timedelta:
    """Returns the duration that a whole number and its unit stand for; `origin` is what names it.

    Raises:
        UsageError: it is no whole number with one of the units.
    """
    found = _DURATION.fullmatch(text.strip())
    try:
        if found is not None:
            return timedelta(**{_UNITS[found[2]]: int(found[1])})
    except OverflowError:
        pass
    raise UsageError.of(
        origin, f"{text!r} is no duration; write a whole number and its unit, as 7d, 12h, 30m or 90s"
    )
