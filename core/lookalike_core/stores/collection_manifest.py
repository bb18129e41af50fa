"""What a collection says of itself: its space, where its images lie, and how it is searched.

The manifest lies as JSON beside the shard of an embedded collection, and in the `metadata`
of one on a server.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from secrets import token_hex
from typing import Any, Self

from lookalike_core.errors import LookalikeError, ManifestError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.images.folder_rules import DEFAULT_RULES, FolderRules
from lookalike_core.models.backbones import Pooling, get_backbone
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.models.model_manifest import (
    FORMER_NAMES,
    ActivationRanges,
    ModelIdentity,
    Precision,
    WeightsSource,
    rename_former_fields,
    text_or_none,
    translate_errors,
    with_json_keys,
    without_none,
)

SCHEMA_VERSION = 1
"""Of the manifests and payloads written by this version."""


class Distance(StrEnum):
    """How near two vectors are; Qdrant's own names in lower case."""

    COSINE = "cosine"
    EUCLID = "euclid"

    @property
    def higher_is_nearer(self) -> bool:
        """Cosine scores are similarities, Euclidean ones are distances."""
        return self is Distance.COSINE

    @property
    def score_name(self) -> str:
        """What people call a score: `similarity` or `distance`."""
        return "similarity" if self.higher_is_nearer else "distance"


class VectorQuantization(StrEnum):
    """What a store keeps in memory of each vector to search by; whole vectors lie on the disk as ever."""

    NONE = "none"
    INT8 = "int8"
    INT4 = "int4"


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionManifest:
    """What a collection says of itself.

    `datasets` maps the name of each dataset to the absolute folder that its paths are relative to, and
    `folder_rules` the names of those that are not walked by the default rules to the rules that they are.
    `provider` is the execution provider that the first vectors were computed on. `calibration` is what its
    present points taught, None where nobody has asked them or points were written since. `graph_precision`
    and `activation_ranges` are those of the model that embedded its first images. `vector_quantization` is
    how the store searches; the vectors are the same, so it is no part of what they are compared by. `name` is
    that of the collection which the manifest was put beside, None in older ones. `revision` is that of the
    points, None since they were written to. Two manifests that differ in name and revision alone are equal.
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
    graph_precision: Precision = Precision.FP32
    activation_ranges: ActivationRanges | None = None
    vector_quantization: VectorQuantization = VectorQuantization.NONE
    folder_rules: Mapping[str, FolderRules] = field(default_factory=dict)
    name: str | None = field(default=None, compare=False)
    revision: str | None = field(default=None, compare=False)

    @property
    def collection(self) -> str:
        """The collection's own name."""
        return collection_name(self.identity, self.distance, official=self.weights.official)

    def named(self, name: str) -> Self:
        """Returns the same manifest, put beside the collection of this name."""
        return replace(self, name=name)

    def rules_of(self, dataset: str) -> FolderRules:
        """Returns the rules that a dataset's folder is walked by."""
        return self.folder_rules.get(dataset, DEFAULT_RULES)

    def with_dataset(self, name: str, root: str, rules: FolderRules | None = None) -> Self:
        """Returns the same manifest with one more dataset, or another root and, if given, rules of one."""
        others = {dataset: kept for dataset, kept in self.folder_rules.items() if dataset != name}
        own = self.rules_of(name) if rules is None else rules
        return replace(
            self,
            datasets={**self.datasets, name: root},
            folder_rules=others if own == DEFAULT_RULES else {**others, name: own},
        )

    def without_dataset(self, name: str) -> Self:
        """Returns the same manifest without a dataset."""
        return replace(
            self,
            datasets={k: v for k, v in self.datasets.items() if k != name},
            folder_rules={k: v for k, v in self.folder_rules.items() if k != name},
        )

    def with_calibration(self, calibration: Calibration) -> Self:
        """Returns the same manifest with this calibration, and the revision that it was learned from."""
        return replace(self, calibration=calibration, revision=calibration.revision)

    def with_revision(self, revision: str | None) -> Self:
        """Returns the same manifest of points of another revision, which nothing was learned from yet."""
        return replace(self, calibration=None, revision=revision)

    @property
    def is_unmarked(self) -> bool:
        """Whether the points have no revision, and nothing that was learned from them is current."""
        return self.revision is None and self.calibration is None

    def require_revision(self, revision: str | None, *, name: str) -> None:
        """Refuses what was learned from points that have changed since.

        Raises:
            LookalikeError: the points have another revision.
        """
        if revision != self.revision:
            raise LookalikeError(f"{name} has changed while it was calibrated", hint=Hint(Action.REPEAT))

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
        """Returns a JSON object; `from_json` reads it back."""
        data = with_json_keys(self) | {"identity": self.identity.to_json(), "datasets": dict(self.datasets)}
        data["folder_rules"] = {dataset: rules.to_json() for dataset, rules in self.folder_rules.items()}
        return without_none(data, "calibration", "activation_ranges", "name", "revision")

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Reads what `to_json` wrote, now or under former names.

        A calibration that is malformed, or was learned from points of another revision, is left out.

        Raises:
            ManifestError: a field is missing or malformed, or a newer version wrote it.
        """
        with translate_errors("collection manifest"):
            data = rename_former_fields(data, FORMER_NAMES | {"quantize": "vector_quantization"})
            revision = text_or_none(data.get("revision")) or None
            if int(data["schema"]) > SCHEMA_VERSION:
                raise ManifestError(
                    f"the manifest has schema {data['schema']} and this version reads up to "
                    f"{SCHEMA_VERSION}; upgrade lookalike"
                )
            return cls(
                identity=ModelIdentity.from_json(data["identity"]),
                distance=Distance(data["distance"]),
                weights=WeightsSource.from_json(data["weights"]),
                exporter_version=str(data["exporter_version"]),
                graph_revision=int(data["graph_revision"]),
                provider=str(data["provider"]),
                created_at=str(data["created_at"]),
                datasets={str(k): str(v) for k, v in data["datasets"].items()},
                schema=int(data["schema"]),
                calibration=_current_calibration(data.get("calibration"), revision=revision),
                graph_precision=Precision(data.get("graph_precision", Precision.FP32)),
                activation_ranges=ActivationRanges.from_json(data.get("activation_ranges")),
                vector_quantization=VectorQuantization(
                    data.get("vector_quantization", VectorQuantization.NONE)
                ),
                folder_rules={
                    str(k): FolderRules.from_json(v) for k, v in data.get("folder_rules", {}).items()
                },
                name=text_or_none(data.get("name")),
                revision=revision,
            )


def new_revision() -> str:
    """Returns a name that no other points have."""
    return token_hex(8)


def collection_name(identity: ModelIdentity, distance: Distance, *, official: bool) -> str:
    """Returns `BACKBONE[-LAYER][-POOLING][-int8][-HEAD][-wXXXXXXXX]-DISTANCE`, default parts left out.

    The head goes by its name alone, so that `ingest rebuild` takes a head that was fitted again.
    """
    backbone = get_backbone(identity.backbone)
    parts = [backbone.name]
    if identity.layer != backbone.default_layer:
        parts.append(identity.layer)
    if identity.pooling not in (Pooling.AVG, Pooling.NONE):
        parts.append(identity.pooling)
    if identity.precision_class.startswith(Precision.INT8):
        parts.append(Precision.INT8)
    if identity.head is not None:
        parts.append(identity.head.rpartition("-")[0])
    if not official:
        parts.append(f"w{identity.weights_fingerprint[:8]}")
    return "-".join([*parts, distance])


def _current_calibration(data: object, *, revision: str | None) -> Calibration | None:
    """Reads a calibration; None where there is none to read, or it is not of the points' revision."""
    if not isinstance(data, Mapping):
        return None
    try:
        calibration = Calibration.from_json(data)
    except ManifestError:
        return None
    return calibration if calibration.revision == revision else None
