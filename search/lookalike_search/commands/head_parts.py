"""How an evaluation shows what a head was learned from and what it never saw."""

from collections.abc import Iterator, Sequence
from math import isnan
from typing import Any

from lookalike_core.cli.console import Reporter
from lookalike_core.errors import LookalikeError
from lookalike_core.settings import Settings
from lookalike_core.stores.protocol import Store
from lookalike_exporter.heads.head_file import head_of

from lookalike_search.evaluation.head_splits import MEANINGS, PartFigures, parts_of
from lookalike_search.evaluation.leave_one_out import Estimate
from lookalike_search.evaluation.summary import Evaluation

SHOWN = {
    "precision_at_1": "precision@1",
    "precision_at_10": "precision@10",
    "mean_average_precision": "mean average precision",
}


def headed_parts(
    evaluation: Evaluation, store: Store, settings: Settings, reporter: Reporter, *, seed: int
) -> list[PartFigures] | None:
    """The parts of a collection with a head, or of several fused; None where no head is there to say."""
    names = evaluation.fusion.collections if evaluation.fusion else [evaluation.collection]
    identities = {name: store.manifest(name).identity for name in names}
    trained: set[str] = set()
    classes: set[str] = set()
    for name, identity in identities.items():
        if identity.head is None:
            continue
        try:
            head = head_of(identity, settings, collection=name)
        except LookalikeError as error:
            reporter.say(f"warning: what the head was learned from cannot be told: {error}")
            return None
        trained |= head.trained
        classes |= set(head.classes)
    if not classes:
        return None
    payloads = evaluation.pictures.payloads
    return list(parts_of(evaluation.values, payloads, trained=trained, classes=classes, seed=seed))


def parts_lines(parts: Sequence[PartFigures] | None) -> Iterator[str]:
    """A table for each part."""
    for part in parts or ():
        yield f"{part.pictures} pictures of {part.classes} classes: {MEANINGS[part.part]}"
        for key, title in SHOWN.items():
            found = part.figures[key]
            interval = "-" if isnan(found.low) else f"{found.low:.4f} - {found.high:.4f}"
            yield f"  {title:28}  {found.value:.4f}   {interval}"
        yield ""


def parts_json(parts: Sequence[PartFigures] | None) -> dict[str, Any]:
    """Null where there is no head."""
    listed = (
        None
        if parts is None
        else [
            {
                "part": part.part,
                "pictures": part.pictures,
                "classes": part.classes,
                **{key: _estimate(part.figures[key]) for key in SHOWN},
            }
            for part in parts
        ]
    )
    return {"head": listed}


def _estimate(found: Estimate) -> dict[str, float | None]:
    numbers = {"value": found.value, "low": found.low, "high": found.high}
    return {key: None if isnan(value) else value for key, value in numbers.items()}
