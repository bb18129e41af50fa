"""The manifest of a collection: its embedding space, the folders of its images, its search settings.

It is stored as JSON beside the shard of an embedded collection, and in the `metadata` of one on a server.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from secrets import token_hex
from typing import Any, Self

from lookalike_core.errors import LookalikeError, ManifestError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.images.folder_rules import DEFAULT_RULES, FolderRules
from lookalike_core.json_records import read_record
from lookalike_core.models.backbones import Pooling, get_backbone
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.models.model_manifest import (
    FORMER_NAMES,
    ActivationRanges,
    ModelIdentity,
    Precision,
    WeightsSource,
    translate_errors,
    with_json_keys,
    without_none,
)

SCHEMA_VERSION = 1
"""The version of the manifests and payloads that are written."""

_FORMER_NAMES = FORMER_NAMES | {"quantize": "vector_quantization"}


class Distance(StrEnum):
    """The distance between vectors; Qdrant's names in lower case."""

    COSINE = "cosine"
    EUCLID = "euclid"

    @property
    def higher_is_nearer(self) -> bool:
        """Whether a higher score is nearer: cosine scores are similarities, Euclidean ones distances."""
        return self is Distance.COSINE

    @property
    def score_name(self) -> str:
        """What a score is called in messages: `similarity` or `distance`."""
        return "similarity" if self.higher_is_nearer else "distance"


class VectorQuantization(StrEnum):
    """How a store compresses vectors in memory for the search; whole vectors stay on the disk."""

    NONE = "none"
    INT8 = "int8"
    INT4 = "int4"


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectionManifest:
    """What is stored about a collection besides its points.

    `datasets` maps the name of each dataset to the absolute folder that its paths are relative to, and
    `folder_rules` the names of those with other rules than the default ones to these rules. `provider` is the
    execution provider that the first vectors were computed on. `calibration` was learned from its present
    points; None before the first, or after points were written. `graph_precision` and `activation_ranges` are
    those of the model that embedded its first images. `vector_quantization` is how the store searches;
    vectors stay comparable, so it is not part of the identity. `name` is that of the collection that it
    belongs to, None in older manifests. `revision` is that of the points, None after they were written to.
    Two manifests that differ in name and revision alone are equal.
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
        """The collection's name."""
        return collection_name(self.identity, self.distance, official=self.weights.official)

    def named(self, name: str) -> Self:
        """Returns the manifest for a collection of this name."""
        return replace(self, name=name)

    def rules_of(self, dataset: str) -> FolderRules:
        """Returns the rules by which a dataset's folder is walked."""
        return self.folder_rules.get(dataset, DEFAULT_RULES)

    def with_dataset(self, name: str, root: str, rules: FolderRules | None = None) -> Self:
        """Returns the manifest with a dataset added, or with a new root and, if given, new rules for one."""
        others = {dataset: kept for dataset, kept in self.folder_rules.items() if dataset != name}
        own = self.rules_of(name) if rules is None else rules
        return replace(
            self,
            datasets={**self.datasets, name: root},
            folder_rules=others if own == DEFAULT_RULES else {**others, name: own},
        )

    def without_dataset(self, name: str) -> Self:
        """Returns the manifest without a dataset."""
        return replace(
            self,
            datasets={k: v for k, v in self.datasets.items() if k != name},
            folder_rules={k: v for k, v in self.folder_rules.items() if k != name},
        )

    def with_calibration(self, calibration: Calibration) -> Self:
        """Returns the manifest with this calibration, and the revision that it was learned from."""
        return replace(self, calibration=calibration, revision=calibration.revision)

    def with_revision(self, revision: str | None) -> Self:
        """Returns the manifest with another revision of its points, and without a calibration."""
        return replace(self, calibration=None, revision=revision)

    @property
    def is_unmarked(self) -> bool:
        """Whether the points have no revision, so that nothing learned from them is current."""
        return self.revision is None and self.calibration is None

    def require_revision(self, revision: str | None, *, name: str) -> None:
        """Refuses results that were learned from another revision of the points.

        Raises:
            LookalikeError: the points have another revision.
        """
        if revision != self.revision:
            raise LookalikeError(f"{name} changed while it was being calibrated", hint=Hint(Action.REPEAT))

    def require(self, identity: ModelIdentity, distance: Distance, *, name: str) -> None:
        """Refuses a collection of another embedding space.

        Raises:
            ManifestError: the identities differ; the message names both.
        """
        here = {**asdict(self.identity), "distance": self.distance, "schema": self.schema}
        asked = {**asdict(identity), "distance": distance, "schema": SCHEMA_VERSION}
        differing = [key for key in here if here[key] != asked[key]]
        if differing:
            sides = "; ".join(f"{key} is {here[key]} there and {asked[key]} here" for key in differing)
            raise ManifestError(
                f"collection {name} is of another embedding space: {sides}",
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
        """Returns the manifest that `to_json` wrote, with present or former field names.

        A calibration that is malformed, or was learned from another revision of the points, is dropped.

        Raises:
            ManifestError: a field is missing or malformed, or a newer version wrote it.
        """
        with translate_errors("collection manifest"):
            schema = read_record(_Schema, data).schema
            if schema > SCHEMA_VERSION:
                raise ManifestError(
                    f"the manifest has schema {schema} and this version reads up to {SCHEMA_VERSION}; "
                    "upgrade lookalike"
                )
            manifest = read_record(cls, {**data, "calibration": None}, former_names=_FORMER_NAMES)
        revision = manifest.revision or None
        calibration = _current_calibration(data.get("calibration"), revision=revision)
        return replace(manifest, revision=revision, calibration=calibration)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Schema:
    """The one field that manifests of every version have."""

    schema: int


def new_revision() -> str:
    """Returns a new, unique revision."""
    return token_hex(8)


def collection_name(identity: ModelIdentity, distance: Distance, *, official: bool) -> str:
    """Returns `BACKBONE[-LAYER][-POOLING][-int8][-HEAD][-wXXXXXXXX]-DISTANCE`, default parts omitted.

    The head is given by name without its hash, so that `ingest rebuild` uses a head that was fitted again.
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
    """Returns the calibration in the JSON.

    None if it is missing, malformed, or not of the points' revision.
    """
    if not isinstance(data, Mapping):
        return None
    try:
        calibration = Calibration.from_json(data)
    except ManifestError:
        return None
    return calibration if calibration.revision == revision else None
