"""Builds the JSON of a figure with its interval."""

from typing import TYPE_CHECKING

from lookalike_search.evaluation.bootstrap import Estimate

if TYPE_CHECKING:
    from lookalike_search.commands import json_records as records


def interval_json(found: Estimate) -> "records.Interval":
    """Returns a figure and the ends of its interval."""
    return {"value": found.value, "low": found.low, "high": found.high}
