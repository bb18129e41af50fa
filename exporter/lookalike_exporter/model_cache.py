"""The cache of exported models: their cards, where each lies, and who may write there.

Beside each model of ours lies a card, a `.json` with its manifest and the size and time of its weights
file, so that the right model is found without opening all of them. A card is believed as long as the model
says the same of itself; models are a cache, and one that is something else is made again.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from lookalike_core import __version__, locks
from lookalike_core.atomic import (
    describe_read_only,
    find_nearest_existing,
    may_write,
    parse_json,
    sweep_partials,
)
from lookalike_core.errors import LookalikeError, ManifestError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.logs import get_logger
from lookalike_core.memory import is_caused_by_memory_error
from lookalike_core.models.external_data import read_metadata
from lookalike_core.models.model_manifest import (
    ActivationRanges,
    ModelIdentity,
    ModelManifest,
    Precision,
    WeightsSource,
)
from lookalike_core.settings import Settings

_logger = get_logger("exporter")

GRAPH_REVISION = 1
"""Raised whenever the same identity is built into another graph, so that models are exported anew."""


WRITE_TIMEOUT_S = 600.0
"""How long to wait for another process that makes a model or a head, downloads included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """An exported model: the `.onnx` and what it says of itself."""

    path: Path
    manifest: ModelManifest


def list_cards(settings: Settings) -> list[ModelFile]:
    """Returns the models that cards in `settings.models_dir` speak of, by name, whatever their files hold.

    They may be looked into, and are only used where `describe_mismatch` finds nothing.
    """
    models = []
    for card in sorted(settings.models_dir.glob("*.json")):
        path = card.with_suffix(".onnx")
        try:
            manifest = ModelManifest.from_json(parse_json(card.read_text(encoding="utf-8"))["manifest"])
        except (OSError, ValueError, KeyError, TypeError, ManifestError):
            continue
        if path.is_file():
            models.append(ModelFile(path=path, manifest=manifest))
    return models


def list_models(settings: Settings) -> list[ModelFile]:
    """Returns the models in `settings.models_dir`, by name: those whose files hold what their cards say."""
    return [model for model in list_cards(settings) if not describe_mismatch(model)]


def find_by_identity(
    models: Iterable[ModelFile], identity: ModelIdentity, *, precision: Precision = Precision.FP32
) -> ModelFile | None:
    """Returns the model of an identity, of several the one of this precision; None where there is none.

    One image is embedded in fp32: fp16 is for many of them on a GPU, and its space is the same.
    """
    current = [
        model
        for model in models
        if model.manifest.identity == identity and model.manifest.graph_revision == GRAPH_REVISION
    ]
    return min(current, key=lambda model: model.manifest.graph_precision is not precision, default=None)


def describe_mismatch(model: ModelFile) -> str:
    """Returns in what a file differs from its manifest, or why it is no model; empty where it is that one."""
    try:
        found = ModelManifest.from_metadata(read_metadata(model.path))
    except (OSError, ValueError, ManifestError) as error:
        if is_caused_by_memory_error(error):
            raise
        return f"no whole model of ours, {error}"
    return "; ".join(found.differences(model.manifest))


def new_model(
    identity: ModelIdentity,
    weights: WeightsSource,
    precision: Precision,
    activation_ranges: ActivationRanges | None,
    settings: Settings,
) -> ModelFile:
    """Returns what this version says of a model, and where that goes; nothing is looked at or written."""
    manifest = ModelManifest(
        identity=identity,
        weights=weights,
        graph_revision=GRAPH_REVISION,
        exporter_version=__version__,
        graph_precision=precision,
        activation_ranges=activation_ranges,
    )
    return ModelFile(path=model_path(manifest, settings), manifest=manifest)


def warn_of_replaced(model: ModelFile) -> None:
    """Logs what is replaced where something else lies in the place of a model."""
    if model.path.exists() and (other := describe_mismatch(model)):
        _logger.warning("%s is another model: %s; it is made again", model.path, other)


@contextmanager
def writing_alone(
    folder: Path, lock: str, purpose: str, settings: Settings, *, timeout_s: float = WRITE_TIMEOUT_S
) -> Iterator[None]:
    """Lets one process at a time write to a folder of the home, and removes what killed ones left there.

    `purpose`, as in "is exporting a model", is what is said of the process that is waited for.

    Raises:
        LookalikeError: the folder may only be read.
        StoreLockedError: another process has held it for `timeout_s`.
    """

    def log_wait(holder: str) -> None:
        _logger.info("waiting up to %g s for %s, which %s", timeout_s, holder, purpose)

    require_writable(folder, settings)
    with locks.hold(folder, lock, what=str(folder), timeout_s=timeout_s, on_wait=log_wait):
        sweep_partials(folder)
        yield


def require_writable(folder: Path, settings: Settings) -> None:
    """Refuses to begin what is to be written below a folder of the home that may only be read.

    Raises:
        LookalikeError: it is so.
    """
    there = find_nearest_existing(folder)
    if not may_write(there):
        raise LookalikeError(
            f"{folder} may only be read ({describe_read_only(there)}), and models are exported into it",
            path=folder,
            hint=_other_home(settings),
        )


def _other_home(settings: Settings) -> Hint:
    """Returns the hint to use another home, from which the collections of this one are still found."""
    if not settings.qdrant_dir.is_dir():
        return Hint(Action.SET_HOME)
    return Hint(Action.OTHER_HOME, {Argument.STORE: f"embedded:{settings.qdrant_dir}"})


def model_path(manifest: ModelManifest, settings: Settings) -> Path:
    """Returns where a model goes: named by layer, key of the identity, and graph revision."""
    identity, precision = manifest.identity, manifest.graph_precision
    tap = f"{identity.backbone}-{identity.layer}-{identity.pooling}"
    if precision is not Precision.FP32:
        tap += f"-{precision}"
    return settings.models_dir / f"{tap}-{identity.key}-r{manifest.graph_revision}.onnx"
