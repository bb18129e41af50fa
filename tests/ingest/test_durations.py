"""Durations as people write them."""

from datetime import timedelta

import pytest
from lookalike_core.errors import UsageError
from lookalike_core.hints import Argument
from lookalike_ingest.durations import parse_duration
from refusals import refuses


@pytest.mark.parametrize(
    ("text", "duration"),
    [
        ("7d", timedelta(days=7)),
        ("2w", timedelta(weeks=2)),
        ("12h", timedelta(hours=12)),
        ("30m", timedelta(minutes=30)),
        ("90s", timedelta(seconds=90)),
        ("0s", timedelta(0)),
        (" 1d ", timedelta(days=1)),
    ],
)
def test_a_number_and_its_unit_are_a_duration(text: str, duration: timedelta) -> None:
    """Surrounding spaces do not matter."""
    assert parse_duration(text, Argument.PRUNE_AFTER) == duration


@pytest.mark.parametrize("text", ["", "7", "d", "-1d", "1.5h", "7 days", "7D", "999999999w"])
def test_everything_else_is_refused(text: str) -> None:
    """With examples of what is meant."""
    with refuses(UsageError, match=r"^--prune-after: .*as 7d, 12h, 30m or 90s"):
        parse_duration(text, Argument.PRUNE_AFTER)
