"""How an evaluation shows what a head was learned from and what it never saw."""

from collections.abc import Iterator, Mapping, Sequence
from math import isnan
from typing import Any

from lookalike_search.evaluation.head_splits import MEANINGS, PartFigures

SHOWN = {
    "precision_at_1": "precision@1",
    "precision_at_10": "precision@10",
    "mean_average_precision": "mean average precision",
}


def parts_lines(parts: Sequence[PartFigures] | None) -> Iterator[str]:
    """A table for each part."""
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


def numbers_json(numbers: Mapping[str, float]) -> dict[str, float | None]:
    """Figures by name; null for NaN: there is none."""
    return {key: None if isnan(number) else number for key, number in numbers.items()}


def parts_json(parts: Sequence[PartFigures] | None) -> dict[str, Any]:
    """Null where there is no head."""
    listed = (
        None
        if parts is None
        else [
            {
                "part": part.part,
                "pictures": part.images,
                "classes": part.classes,
                **{key: part.figures[key].to_json() for key in SHOWN},
                "best_possible": numbers_json({key: part.best_possible[key] for key in SHOWN}),
            }
            for part in parts
        ]
    )
    return {"head": listed}
