"""Instants as text: ISO 8601 in UTC to the second, so that texts sort as their instants do."""

from datetime import UTC, date, datetime, time, timedelta

_START = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST = datetime(1, 1, 1, tzinfo=UTC)
_LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
_SECOND_NS = 10**9
_LAST_SECOND = time(23, 59, 59)


def format_instant(when: datetime) -> str:
    """Returns an instant as text; one without a zone is taken as UTC, and parts of a second are dropped.

    Instants that are in no year from 1 to 9999 in UTC become the first or the last one that is.
    """
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    try:
        when = when.astimezone(UTC)
    except OverflowError:
        when = _FIRST if when.year == _FIRST.year else _LAST
    return when.isoformat(timespec="seconds")


def format_ns(time_ns: int) -> str:
    """Returns an instant in nanoseconds since 1970 as `format_instant` does."""
    try:
        when = _START + timedelta(seconds=time_ns // _SECOND_NS)
    except OverflowError:
        when = _FIRST if time_ns < 0 else _LAST
    return format_instant(when)


def parse_instant(text: str, *, is_end: bool = False) -> str:
    """Returns the instant of a date or a date with a time, in ISO 8601, as `format_instant` does.

    A date is the first second of its day, with `is_end` its last one. Without an offset it is in UTC.

    Raises:
        ValueError: the text is neither.
    """
    text = text.strip()
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return format_instant(datetime.fromisoformat(text))
    return format_instant(datetime.combine(day, _LAST_SECOND if is_end else time.min))
