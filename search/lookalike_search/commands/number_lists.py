"""Parses the values of options that take one number or several, separated by commas."""

from lookalike_core.errors import UsageError


def parse_whole_numbers(text: str, option: str, *, least: int, most: int) -> list[int]:
    """Returns the whole numbers of a list, ascending, each once.

    Raises:
        UsageError: a part is no whole number, or out of the range.
    """
    return sorted({int(part) for part in _parts(text, option, "whole numbers", least, most)})


def parse_numbers(text: str, option: str, *, least: float, most: float) -> list[float]:
    """Returns the numbers of a list, ascending, each once.

    Raises:
        UsageError: a part is no number, or out of the range.
    """
    return sorted({float(part) for part in _parts(text, option, "numbers", least, most)})


def _parts(text: str, option: str, what: str, least: float, most: float) -> list[str]:
    parts = [part.strip() for part in text.split(",")]
    for part in parts:
        if not _is_within(part, least, most, is_whole=what != "numbers"):
            raise UsageError(
                f"{option}: {part!r} is not one of the {what} from {least:,} to {most:,}; several are "
                f"separated by commas, as in {option} 1,5,10"
            )
    return parts


def _is_within(part: str, least: float, most: float, *, is_whole: bool) -> bool:
    if is_whole:
        return part.isascii() and part.isdigit() and least <= int(part) <= most
    try:
        return least <= float(part) <= most  # false for NaN
    except ValueError:
        return False
