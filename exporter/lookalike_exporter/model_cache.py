"""The models that are here: what each says of itself, and where one lies.

Beside each model of ours lies a card, a `.json` with its manifest and the size and time of its weights
file, so that the right model is found without opening all of them. A card is believed as long as the model
says the same of itself; models are a cache, and one that is something else is made again.
"""

from dataclasses import dataclass
from pathlib import Path

from lookalike_core.atomic import may_write, nearest_there, parse_json, why_read_only
from lookalike_core.errors import LookalikeError, ManifestError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.logs import logger_of
from lookalike_core.memory import comes_of_memory
from lookalike_core.models.external_data import read_metadata
from lookalike_core.models.model_manifest import ModelIdentity, ModelManifest, Precision
from lookalike_core.settings import Settings

_logger = logger_of("exporter")

GRAPH_REVISION = 1
"""Raised whenever the same identity is built into another graph, so that models are exported anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """An exported model: the `.onnx` and what it says of itself."""

    path: Path
    manifest: ModelManifest


def model_at_hand(
    identity: ModelIdentity,
    settings: Settings,
    *,
    precision: Precision = Precision.FP32,
    by_card: bool = False,
) -> ModelFile | None:
    """The model of an identity, of several that of this precision; None where there is none.

    One image is embedded in fp32: fp16 is for many of them on a GPU, and its space is the same.
    """
    current = [
        model
        for model in known_models(settings, by_card=by_card)
        if model.manifest.identity == identity and model.manifest.graph_revision == GRAPH_REVISION
    ]
    return min(current, key=lambda model: model.manifest.graph_precision is not precision, default=None)


def known_models(settings: Settings, *, by_card: bool = False) -> list[ModelFile]:
    """The models in `settings.models_dir`, by name; what cannot be read, or is another one, is not one.

    `by_card` takes a card's word for what lies beside it: to look into that, not to use it.
    """
    models = []
    for card in sorted(settings.models_dir.glob("*.json")):
        path = card.with_suffix(".onnx")
        try:
            manifest = ModelManifest.from_json(parse_json(card.read_text(encoding="utf-8"))["manifest"])
        except (OSError, ValueError, KeyError, TypeError, ManifestError):
            continue
        if path.is_file() and (by_card or not other_in(path, manifest)):
            models.append(ModelFile(path=path, manifest=manifest))
    return models


def other_in(path: Path, manifest: ModelManifest) -> str:
    """In what a file is another model than a manifest says, or that it is none; nothing where it is that."""
    try:
        return "; ".join(ModelManifest.from_metadata(read_metadata(path)).differences(manifest))
    except (OSError, ValueError, ManifestError) as error:
        if comes_of_memory(error):
            raise
        return f"no whole model of ours, {error}"


def place_for(manifest: ModelManifest, settings: Settings) -> Path:
    """Where a new model goes, which says so where something else lies there."""
    path = model_path(manifest, settings)
    if path.exists() and (other := other_in(path, manifest)):
        _logger.warning("%s is another model: %s; it is made again", path, other)
    return path


def require_writable(folder: Path, settings: Settings) -> None:
    """Refuses to begin what is to be written below a folder of the home that may only be read.

    Raises:
        LookalikeError: it is so.
    """
    there = nearest_there(folder)
    if not may_write(there):
        raise LookalikeError(
            f"{folder} may only be read ({why_read_only(there)}), and what is missing would be made there",
            path=folder,
            hint=_other_home(settings),
        )


def _other_home(settings: Settings) -> Hint:
    """What to do without this one, and how its collections are still found then."""
    if not settings.qdrant_dir.is_dir():
        return Hint(Action.SET_HOME)
    return Hint(Action.OTHER_HOME, {Argument.STORE: f"embedded:{settings.qdrant_dir}"})


def model_path(manifest: ModelManifest, settings: Settings) -> Path:
    """Keyed by the identity and the graph revision, with a readable beginning."""
    identity, precision = manifest.identity, manifest.graph_precision
    tap = f"{identity.backbone}-{identity.layer}-{identity.pooling}"
    if precision is not Precision.FP32:
        tap += f"-{precision}"
    return settings.models_dir / f"{tap}-{identity.key}-r{manifest.graph_revision}.onnx"
