"""The records that `exporter ... --json` prints; the reference documents them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, TypedDict

from lookalike_core.models.model_manifest import ModelIdentity, ModelManifest

from lookalike_exporter.heads.layers import Method
from lookalike_exporter.heads.training_images import LeftOut
from lookalike_exporter.verify import Check


class Model(TypedDict):
    """An exported model; the keys of its manifest are in the same object."""

    schema: Literal[1]
    path: Path
    """Absolute path of the `.onnx` file."""


class Verification(TypedDict):
    """All checks of one model, in the order in which they were made."""

    schema: Literal[1]
    path: Path
    """Absolute path of the `.onnx` file."""
    failed: bool
    """Whether any check failed; then the exit code is 1."""
    checks: Sequence[Check]
    """All checks, in order."""


class Split(TypedDict):
    """How many images of the collections a head was fitted to and evaluated on."""

    training: int
    """Images that the head was fitted to."""
    held_out: int
    """Images that it was measured on."""
    left_out: dict[LeftOut, int]
    """Images that were not used, by reason."""


class Candidate(TypedDict):
    """A way to fit a layer."""

    method: Method
    """How the layer is fitted."""
    strength: float | None
    """Strength of the regularization; null if the method has none."""
    pull: float
    """Weight of the fitted directions; 1 is as much as the whole vector."""


class CandidateScore(Candidate):
    """A candidate and its R-precision among at most ten nearest training images, by cross-validation.

    With R other images of a query's class: the share of images of that class among its R nearest neighbours,
    or its ten nearest if R is larger.
    """

    seen: float
    """On held-out images of classes in the training folds."""
    unseen: float | None
    """On classes that were held out completely; null if there are too few classes."""


class Aggregation(TypedDict):
    """The settings and the course of Local Aggregation."""

    images: int
    """Images that it was trained on: all training images, or a random sample of very many."""
    clusters: int
    """Clusters of each clustering, which follow from the number of images."""
    clusterings: int
    """Clusterings; the close neighbours of an image share a cluster with it in any of them."""
    neighbours: int
    """Background neighbours: the nearest ones among which the close ones are to be."""
    values: int
    """Values of the trained map, which stand beside the whole vector."""
    epochs: int
    """Rounds through all images."""
    first_loss: float
    """Mean loss in the first epoch."""
    last_loss: float
    """Mean loss in the last epoch."""


class BestFitFigures(TypedDict):
    """The figures of a perfect ranking; below 1 if classes are small."""

    precision_at_10: float
    precision_at_1: float
    mean_average_precision: float


class HeadFigures(TypedDict):
    """The quality of neighbours: means over the queries of the figures of `search evaluate`."""

    precision_at_10: float
    precision_at_1: float
    mean_average_precision: float
    queries: int
    """Number of queries."""
    best_possible: BestFitFigures
    """The figures of a perfect ranking."""


class BeforeAndAfter(TypedDict):
    """The neighbours of held-out images among the training images; null if none was held out."""

    before: HeadFigures | None
    """With the vectors of the network alone."""
    after: HeadFigures | None
    """With the vectors of network and head."""


class FittedHead(TypedDict):
    """A head, and how it was chosen."""

    schema: Literal[1]
    head: str
    """Name of the head and 8 hex digits of a hash of its values."""
    path: Path
    """Absolute path of the head's `.npz` file."""
    model: str
    """Absolute path of the `.onnx` file that holds network and head."""
    made: bool
    """False if the same head existed already."""
    base: ModelIdentity
    """The network that the head belongs to."""
    dimension: int
    """Number of values of a vector that the head returns."""
    classes: list[str]
    """The classes that it was fitted to; none if it was fitted without labels."""
    collections: list[str]
    """The collections whose vectors it was fitted to."""
    seed: int
    """The seed of the split."""
    split: Split
    """How the images were divided."""
    method: Candidate
    """The candidate that was chosen."""
    candidates: list[CandidateScore]
    """All candidates that were tried; none if it was fitted without labels."""
    aggregation: Aggregation | None
    """How Local Aggregation went; null for other methods."""
    kept_variance: float | None
    """Share of the vectors' variance that its principal values have; null for other methods."""
    held_out_against_training: BeforeAndAfter
    """How good neighbours are without and with the head."""


LINES = {
    "run": [(Model, ModelManifest)],
    "list": [(Model, ModelManifest)],
    "verify": [(Verification,)],
    "fit": [(FittedHead,)],
}
"""Subcommand -> the possible records of a line; all keys of one record are listed together."""
