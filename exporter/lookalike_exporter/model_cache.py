"""The cache of exported models: their cards, their paths, and the lock for writing.

Each of our models has a card beside it, a `.json` with its manifest and the size and time of its weights
file, so that the right model is found without opening all of them. A card is valid if the manifest in the
model equals it; a model that differs is exported again, as it is only cached.
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
"""Raised whenever the same identity gives another graph, so that models are exported again."""


WRITE_TIMEOUT_S = 600.0
"""How long to wait for another process that writes a model or a head, downloads included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """An exported model: the path of the `.onnx` file and its manifest."""

    path: Path
    manifest: ModelManifest


def list_cards(settings: Settings) -> list[ModelFile]:
    """Returns the models that have a card in `settings.models_dir`, by name, whatever their files hold.

    They may be inspected, but used only if `describe_mismatch` returns "".
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
    """Returns the models in `settings.models_dir` whose files agree with their cards, by name."""
    return [model for model in list_cards(settings) if not describe_mismatch(model)]


def find_by_identity(
    models: Iterable[ModelFile], identity: ModelIdentity, *, precision: Precision = Precision.FP32
) -> ModelFile | None:
    """Returns the model of an identity, preferably of this precision; None if there is none.

    One image is embedded in fp32: fp16 is for many images on a GPU, and has the same vector space.
    """
    current = [
        model
        for model in models
        if model.manifest.identity == identity and model.manifest.graph_revision == GRAPH_REVISION
    ]
    return min(current, key=lambda model: model.manifest.graph_precision is not precision, default=None)


def describe_mismatch(model: ModelFile) -> str:
    """Returns how a file differs from its manifest, or why it is not a model; "" if it agrees."""
    try:
        found = ModelManifest.from_metadata(read_metadata(model.path))
    except (OSError, ValueError, ManifestError) as error:
        if is_caused_by_memory_error(error):
            raise
        return f"not a complete model made by lookalike, {error}"
    return "; ".join(found.differences(model.manifest))


def new_model(
    identity: ModelIdentity,
    weights: WeightsSource,
    precision: Precision,
    activation_ranges: ActivationRanges | None,
    settings: Settings,
) -> ModelFile:
    """Returns the manifest that this version gives a model, and its path; reads and writes no file."""
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
    """Logs a warning if the path of a model holds something else that will be replaced."""
    if model.path.exists() and (other := describe_mismatch(model)):
        _logger.warning("%s is another model: %s; it is exported again", model.path, other)


@contextmanager
def lock_for_writing(
    folder: Path, lock: str, purpose: str, settings: Settings, *, timeout_s: float = WRITE_TIMEOUT_S
) -> Iterator[None]:
    """Lets one process at a time write to a folder of the home; removes leftovers of killed processes.

    `purpose`, as in "is exporting a model", describes the holder of the lock to a waiting user.

    Raises:
        LookalikeError: the folder is read-only.
        StoreLockedError: another process has held the lock for `timeout_s`.
    """

    def log_wait(holder: str) -> None:
        _logger.info("waiting up to %g s for %s, which %s", timeout_s, holder, purpose)

    require_writable(folder, settings)
    with locks.hold(folder, lock, what=str(folder), timeout_s=timeout_s, on_wait=log_wait):
        sweep_partials(folder)
        yield


def require_writable(folder: Path, settings: Settings) -> None:
    """Refuses to start work whose result goes below a read-only folder of the home.

    Raises:
        LookalikeError: the folder is read-only.
    """
    there = find_nearest_existing(folder)
    if not may_write(there):
        raise LookalikeError(
            f"{folder} may only be read ({describe_read_only(there)}), and models are exported into it",
            path=folder,
            hint=_other_home(settings),
        )


def _other_home(settings: Settings) -> Hint:
    """Returns the hint to use another home, with the option that still finds this one's collections."""
    if not settings.qdrant_dir.is_dir():
        return Hint(Action.SET_HOME)
    return Hint(Action.OTHER_HOME, {Argument.STORE: f"embedded:{settings.qdrant_dir}"})


def model_path(manifest: ModelManifest, settings: Settings) -> Path:
    """Returns the path of a model, made of layer, key of the identity, and graph revision."""
    identity, precision = manifest.identity, manifest.graph_precision
    tap = f"{identity.backbone}-{identity.layer}-{identity.pooling}"
    if precision is not Precision.FP32:
        tap += f"-{precision}"
    return settings.models_dir / f"{tap}-{identity.key}-r{manifest.graph_revision}.onnx"
