"""Makes a head from collections: splits the images, fits the layer and evaluates it.

Held-out images are never seen during fitting.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lookalike_core.errors import CollectionMissingError, UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.logs import get_logger
from lookalike_core.models.model_manifest import ModelManifest
from lookalike_core.settings import Settings
from lookalike_core.stores.protocol import Collection, Store, open_together
from lookalike_core.text import format_count, nfc

from lookalike_exporter.heads.head_file import Head, check_name, head_path, read_head, write_head
from lookalike_exporter.heads.head_graph import get_headed_model
from lookalike_exporter.heads.held_out import split_images, split_without_labels
from lookalike_exporter.heads.layers import Candidate, Layer, Method
from lookalike_exporter.heads.local_aggregation import PULL, AggregatedLayer, fit_local_aggregation
from lookalike_exporter.heads.metric_learning import FEWEST_CLASSES, Score, fit_layer
from lookalike_exporter.heads.neighbour_figures import Figures, LabelledUnits, measure_neighbours
from lookalike_exporter.heads.principal import fit_principal
from lookalike_exporter.heads.training_images import (
    LeftOut,
    TrainingImages,
    collect_all,
    collect_labelled,
)
from lookalike_exporter.model_cache import lock_for_writing, require_writable
from lookalike_exporter.recorded_models import get_base_model

_logger = get_logger("exporter")

_NO_CLASS = -1
"""The number of images without a class."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitRequest:
    """What to fit a head to, and how; `classes` are those to fit to, empty for all.

    `unlabelled` and `principal` fit without labels: by Local Aggregation, or so many principal values.
    `force` replaces a different head of the same name.
    """

    collections: Sequence[str]
    name: str
    classes: Sequence[str] = ()
    dims: int | None = None
    unlabelled: bool = False
    principal: int | None = None
    seed: int = 0
    force: bool = False

    @property
    def uses_labels(self) -> bool:
        """Whether the head is fitted to classes; without, they only serve to evaluate it."""
        return not self.unlabelled and self.principal is None


@dataclass(frozen=True, slots=True, kw_only=True)
class FitReport:
    """The fitted head and its paths; `made` is False if the same head existed already."""

    head: Head
    path: Path
    model: Path
    made: bool


def fit_head(request: FitRequest, *, store: Store, settings: Settings) -> FitReport:
    """Fits a head, and writes it and its model, unless the same head exists already.

    Raises:
        UsageError: the name is invalid or taken by another head, options exclude each other, the collections
            have different vector spaces or heads, or there is too little training data.
        CollectionMissingError: a collection does not exist.
        WeightsError, ManifestError: the model of the collections cannot be obtained.
        StoreLockedError: another process has held the lock on the heads for too long.
        LookalikeError: the folder of heads is read-only.
    """
    check_name(request.name)
    _check_options(request)
    require_writable(settings.heads_dir, settings)
    base, images, left_out = _read_collections(request, store, settings)
    for reason, count in sorted(left_out.items()):
        _logger.warning("left out: %s images (%s)", count, reason)
    head = train_head(request, base, images, left_out)
    path = head_path(request.name, settings)
    with lock_for_writing(settings.heads_dir, "fit", "is writing a head", settings):
        made = not _is_fitted_already(head, path, settings, force=request.force)
        if made:
            write_head(head, settings)
        model = get_headed_model(head, settings=settings)
    return FitReport(head=head, path=path, model=model.path, made=made)


def train_head(
    request: FitRequest, base: ModelManifest, images: TrainingImages, left_out: Mapping[LeftOut, int]
) -> Head:
    """Returns the head fitted to some images.

    Raises:
        UsageError: there are too few images, or more values are asked for than can be fitted.
        LookalikeError: all images have the same vector.
    """
    names = sorted(set(images.classes) - {""})
    if request.uses_labels and len(names) < FEWEST_CLASSES:
        raise UsageError(_describe_too_few(names, left_out), hint=Hint(Action.LABEL))
    split = split_images if request.uses_labels else split_without_labels
    parts = split(images, seed=request.seed)
    numbers = {name: number for number, name in enumerate(["", *names], start=_NO_CLASS)}
    units = LabelledUnits(
        vectors=images.vectors.astype(np.float64),
        classes=np.array([numbers[name] for name in images.classes], dtype=np.int64),
    )
    training, held_out = (
        units.of(np.array(rows, dtype=np.int64)) for rows in (parts.training, parts.held_out)
    )
    layer, fitting = _fit_layer(request, training)
    return Head(
        name=request.name,
        base=base,
        weight=layer.weight,
        bias=layer.bias,
        classes=names if request.uses_labels else [],
        trained=frozenset(images.sha256[row] for row in parts.training),
        record={
            "collections": list(request.collections),
            "seed": request.seed,
            "split": {
                "training": len(parts.training),
                "held_out": len(parts.held_out),
                "left_out": {str(reason): count for reason, count in sorted(left_out.items())},
            },
            **_fitting_json(fitting),
            "held_out_against_training": _compare_neighbours(layer, training, held_out),
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitting:
    """The way a layer was fitted: the chosen method, the candidates that it was chosen from, and details.

    `aggregation` is None without Local Aggregation, `kept_variance`, the share of variance that principal
    values have, without these.
    """

    method: Candidate
    candidates: Sequence[Score] = ()
    aggregation: AggregatedLayer | None = None
    kept_variance: float | None = None


def _fit_layer(request: FitRequest, training: LabelledUnits) -> tuple[Layer, Fitting]:
    if request.principal is not None:
        principal = fit_principal(training.vectors, request.principal)
        chosen = Candidate(method=Method.PRINCIPAL)
        return principal, Fitting(method=chosen, kept_variance=principal.kept_variance)
    if request.unlabelled:
        learned = fit_local_aggregation(training.vectors, dims=request.dims, seed=request.seed)
        chosen = Candidate(method=Method.LOCAL_AGGREGATION, pull=PULL)
        return learned, Fitting(method=chosen, aggregation=learned)
    fitted = fit_layer(training, dims=request.dims, seed=request.seed)
    return fitted, Fitting(method=fitted.candidate, candidates=fitted.scores)


def _compare_neighbours(
    layer: Layer, training: LabelledUnits, held_out: LabelledUnits
) -> dict[str, dict[str, Any] | None]:
    """Returns the figures of held-out images without and with the layer, of images that have a class."""
    gallery, queries = (each.of(each.classes != _NO_CLASS) for each in (training, held_out))
    return {
        "before": _figures_json(measure_neighbours(queries, gallery)),
        "after": _figures_json(measure_neighbours(queries, gallery, layer=layer)),
    }


def _check_options(request: FitRequest) -> None:
    """Refuses options that exclude each other.

    Raises:
        UsageError: there are such options.
    """
    if request.principal is not None and request.unlabelled:
        raise UsageError(
            "both are ways to fit without labels; choose one",
            hint=Hint(Action.LEAVE_ONE_OUT, {Argument.UNLABELLED: None, Argument.PRINCIPAL: None}),
        )
    if request.principal is not None and request.dims is not None:
        raise UsageError(
            "the number of principal values is the dimension of the head's vectors",
            hint=Hint(Action.LEAVE_OUT, {Argument.DIMS: None}),
        )
    if request.classes and not request.uses_labels:
        raise UsageError(
            "a fit without labels takes all images, and cannot be restricted to classes",
            hint=Hint(Action.LEAVE_OUT, {Argument.CLASS: None}),
        )


def _read_collections(
    request: FitRequest, store: Store, settings: Settings
) -> tuple[ModelManifest, TrainingImages, Counter[LeftOut]]:
    """Reads the model of the collections, which must be obtainable, and their images."""
    with ExitStack() as stack:
        names = list(dict.fromkeys(request.collections))
        for name in names:
            if name not in store:
                there = ", ".join(store.names()) or "none"
                raise CollectionMissingError(
                    f"there is no collection {name!a} in the store {store.label}; available: {there}"
                )
        collections = open_together(names, lambda name: stack.enter_context(store.open(name)))
        _require_one_space(collections)
        base = get_base_model(collections[0].manifest, settings=settings).manifest
        if request.uses_labels:
            images, left_out = collect_labelled(collections, list(map(nfc, request.classes)))
        else:
            images, left_out = collect_all(collections)
    return base, images, left_out


def _require_one_space(collections: Sequence[Collection]) -> None:
    first, *others = collections
    if first.manifest.identity.head is not None:
        raise UsageError(f"{first.name} was made with a head; fit the new one to a collection without a head")
    for other in others:
        if other.manifest.identity != first.manifest.identity:
            raise UsageError(
                f"{first.name} and {other.name} hold different spaces, and a head is fitted to one space",
                hint=Hint(Action.FUSE),
            )


def _describe_too_few(names: Sequence[str], left_out: Mapping[LeftOut, int]) -> str:
    alone, unlabelled = left_out.get(LeftOut.ALONE, 0), left_out.get(LeftOut.UNLABELLED, 0)
    there = "is 1 class" if len(names) == 1 else f"are {len(names)} classes"
    more = [f"{alone} more with only one image"] if alone else []
    more += [f"{format_count(unlabelled, 'image')} without a class"] if unlabelled else []
    found = ", and ".join([f"{there} of two images or more", *more])
    return (
        f"there {found}; a head needs {FEWEST_CLASSES} classes of two images. Put "
        "images into folders named after their classes"
    )


def _is_fitted_already(head: Head, path: Path, settings: Settings, *, force: bool) -> bool:
    """Returns whether the same head exists; refuses a different one of its name unless forced."""
    if not path.exists() or force:
        return False
    if read_head(head.name, settings).key == head.key:
        return True
    raise UsageError(
        f"{path} holds another head {head.name}", path=path, hint=Hint(Action.RENAME_OR_REPLACE_HEAD)
    )


def _fitting_json(fitting: Fitting) -> dict[str, Any]:
    return {
        "method": asdict(fitting.method),
        "candidates": [
            {**asdict(score.candidate), "seen": score.seen, "unseen": score.unseen}
            for score in fitting.candidates
        ],
        "aggregation": _aggregation_json(fitting.aggregation) if fitting.aggregation else None,
        "kept_variance": fitting.kept_variance,
    }


def _aggregation_json(layer: AggregatedLayer) -> dict[str, Any]:
    chosen = layer.aggregation
    return {
        "images": layer.images,
        "clusters": chosen.clusters,
        "clusterings": chosen.clusterings,
        "neighbours": chosen.neighbours,
        "values": chosen.values,
        "epochs": chosen.epochs,
        "first_loss": layer.first_loss,
        "last_loss": layer.last_loss,
    }


def _figures_json(found: Figures | None) -> dict[str, Any] | None:
    return asdict(found) if found else None
