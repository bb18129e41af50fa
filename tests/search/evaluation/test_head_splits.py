"""Figures by the images that a head was fitted to."""

import numpy as np
import pytest
from lookalike_core.stores.points import Payload
from lookalike_search.evaluation.head_splits import HeadTraining, Part, split_figures


def payload(number: int, class_name: str) -> Payload:
    """Returns an image whose hash is its number."""
    return Payload(
        dataset="data",
        path=f"{number}.png",
        class_name=class_name,
        sha256=str(number),
        width=1,
        height=1,
        bytes=1,
        mtime_ns=1,
        ingested_at="2026-01-01T00:00:00+00:00",
    )


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        (frozenset({"cat"}), {Part.TRAINED: 0.0, Part.HELD_OUT: 2.0, Part.UNSEEN: 3.0}),
        (None, {Part.TRAINED: 0.0, Part.NEW: 2.5}),
    ],
)
def test_a_head_without_labels_has_no_unseen_classes(
    classes: frozenset[str] | None, expected: dict[Part, float]
) -> None:
    """Its images are those that it was fitted to, and new ones."""
    payloads = [payload(0, "cat"), payload(2, "cat"), payload(3, "dog")]
    values = {"precision": np.array([0.0, 2.0, 3.0])}
    training = HeadTraining(trained=frozenset({"0"}), classes=classes)
    parts = split_figures(values, values, payloads, training=training)
    assert {part.part: part.figures["precision"].value for part in parts} == expected
