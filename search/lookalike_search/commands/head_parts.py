"""The figures of training, held-out and unseen images of a head, as text and JSON."""

from collections.abc import Iterator, Sequence
from math import isnan

from lookalike_search.commands import json_records as records
from lookalike_search.evaluation.head_splits import MEANINGS, PartFigures
from lookalike_search.evaluation.leave_one_out import Estimate

SHOWN = {
    "precision_at_1": "precision@1",
    "precision_at_10": "precision@10",
    "mean_average_precision": "mean average precision",
}


def parts_lines(parts: Sequence[PartFigures] | None) -> Iterator[str]:
    """Yields a table for each part."""
    for part in parts or ():
        images = f"{part.images} image{'' if part.images == 1 else 's'}"
        classes = f"{part.classes} class{'' if part.classes == 1 else 'es'}"
        yield f"{images} of {classes}: {MEANINGS[part.part]}"
        yield f"  {'':28}   value   95 % interval     best possible"
        for key, title in SHOWN.items():
            found = part.figures[key]
            interval = "-" if isnan(found.low) else f"{found.low:.4f} - {found.high:.4f}"
            best = part.best_possible[key]
            yield f"  {title:28}  {_number(found.value)}   {interval:15}   {_number(best):>13}"
        yield ""


def _number(value: float) -> str:
    return f"{'-':>6}" if isnan(value) else f"{value:.4f}"


def parts_json(parts: Sequence[PartFigures]) -> list[records.HeadPart]:
    """Returns the JSON of each part."""
    return [
        {
            "part": part.part,
            "pictures": part.images,
            "classes": part.classes,
            "precision_at_1": interval_json(part.figures["precision_at_1"]),
            "precision_at_10": interval_json(part.figures["precision_at_10"]),
            "mean_average_precision": interval_json(part.figures["mean_average_precision"]),
            "best_possible": {
                "precision_at_1": part.best_possible["precision_at_1"],
                "precision_at_10": part.best_possible["precision_at_10"],
                "mean_average_precision": part.best_possible["mean_average_precision"],
            },
        }
        for part in parts
    ]


def interval_json(found: Estimate) -> records.Interval:
    """Returns the JSON of a figure."""
    return {"value": found.value, "low": found.low, "high": found.high}
