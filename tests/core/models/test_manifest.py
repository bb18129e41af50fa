"""Manifests and identities: names of collections, and which vectors can be compared."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from lookalike_core.errors import ManifestError
from lookalike_core.hints import Action, Argument, Hint
from lookalike_core.images.folder_rules import FolderRules
from lookalike_core.models.backbones import Pooling
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.models.model_manifest import (
    ActivationRanges,
    ModelIdentity,
    ModelManifest,
    Precision,
    WeightsKind,
    WeightsSource,
)
from lookalike_core.stores.collection_manifest import (
    SCHEMA_VERSION,
    CollectionManifest,
    Distance,
    VectorQuantization,
    collection_name,
)

RESNET = ModelIdentity(
    backbone="resnet101v2",
    layer="post_relu",
    pooling=Pooling.AVG,
    preprocessing="squash-bicubic-224+tf",
    precision_class="float32",
    weights_fingerprint="ab12cd34" * 8,
    dimension=2048,
)
VGG = replace(RESNET, backbone="vgg16", layer="block5_pool", dimension=512)
SOURCE = WeightsSource(
    kind=WeightsKind.FILE, official=False, path="/weights/own.weights.h5", sha256="0123" * 16
)
MODEL = ModelManifest(identity=RESNET, weights=SOURCE, graph_revision=3, exporter_version="0.1.0")
COLLECTION = CollectionManifest(
    identity=RESNET,
    distance=Distance.EUCLID,
    weights=SOURCE,
    exporter_version="0.1.0",
    graph_revision=3,
    provider="CPUExecutionProvider",
    created_at="2026-01-01T00:00:00+00:00",
    datasets={"data": "/pictures/data", "übung": "/pictures/übung"},
)
OTHER_VALUES = {
    "backbone": "vgg16",
    "layer": "conv5_block3_out",
    "pooling": Pooling.MAX,
    "preprocessing": "crop-224+tf",
    "precision_class": "float16",
    "weights_fingerprint": "ef56" * 16,
    "dimension": 512,
    "head": "pets-0a1b2c3d",
}


@pytest.mark.parametrize("manifest", [MODEL, COLLECTION], ids=["model", "collection"])
def test_a_manifest_survives_json(manifest: ModelManifest | CollectionManifest) -> None:
    """It is stored as JSON in the model, beside the shard and on the server."""
    assert type(manifest).from_json(json.loads(json.dumps(manifest.to_json()))) == manifest


def test_a_manifest_without_quantization_is_read() -> None:
    """Quantization is recorded, but is not part of the identity."""
    data = replace(COLLECTION, vector_quantization=VectorQuantization.INT4).to_json()
    assert CollectionManifest.from_json(data).vector_quantization is VectorQuantization.INT4
    CollectionManifest.from_json(data).require(COLLECTION.identity, COLLECTION.distance, name="c")
    del data["vector_quantization"]
    assert CollectionManifest.from_json(data).vector_quantization is VectorQuantization.NONE


@pytest.mark.parametrize("manifest", [MODEL, COLLECTION], ids=["model", "collection"])
def test_fields_that_a_later_version_added_are_ignored(manifest: ModelManifest | CollectionManifest) -> None:
    """Recorded fields may be added without a new schema."""
    data = manifest.to_json()
    data["weights"]["licence"] = data["licence"] = "CC BY 4.0"
    assert type(manifest).from_json(data) == manifest


@pytest.mark.parametrize(
    ("changes", "distance", "official", "name"),
    [
        ({}, Distance.COSINE, True, "resnet101v2-cosine"),
        ({}, Distance.EUCLID, True, "resnet101v2-euclid"),
        ({"pooling": Pooling.MAX}, Distance.COSINE, True, "resnet101v2-max-cosine"),
        ({"layer": "conv4_block23_out"}, Distance.COSINE, True, "resnet101v2-conv4_block23_out-cosine"),
        ({}, Distance.COSINE, False, "resnet101v2-wab12cd34-cosine"),
        (
            {"layer": "conv4_block23_out", "pooling": Pooling.FLATTEN},
            Distance.EUCLID,
            False,
            "resnet101v2-conv4_block23_out-flatten-wab12cd34-euclid",
        ),
    ],
)
def test_a_collection_is_named_by_its_non_default_parts(
    changes: dict[str, Any], distance: Distance, official: bool, name: str
) -> None:
    """The form is `BACKBONE[-LAYER][-POOLING][-wXXXXXXXX]-DISTANCE`."""
    assert collection_name(replace(RESNET, **changes), distance, official=official) == name


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "vgg16-cosine"),
        ({"pooling": Pooling.FLATTEN}, "vgg16-flatten-cosine"),
        ({"layer": "fc1", "pooling": Pooling.NONE}, "vgg16-fc1-cosine"),
    ],
)
def test_a_dense_vgg_layer_is_named_without_pooling(changes: dict[str, Any], name: str) -> None:
    """The name of a dense layer stands alone."""
    assert collection_name(replace(VGG, **changes), Distance.COSINE, official=True) == name


def test_a_collection_manifest_derives_its_collections_name() -> None:
    """The name follows from identity, distance, and whether weights are the official ones."""
    assert COLLECTION.collection == "resnet101v2-wab12cd34-euclid"


def test_the_same_embedding_space_is_accepted() -> None:
    """The weights' source, the version and the provider are not compared."""
    other = replace(
        COLLECTION,
        weights=replace(SOURCE, kind=WeightsKind.IMAGENET, official=True, path=None, sha256=None),
        exporter_version="9.9",
        graph_revision=9,
        provider="CUDAExecutionProvider",
        datasets={},
    )
    other.require(RESNET, Distance.EUCLID, name="resnet101v2-euclid")


@pytest.mark.parametrize("field", OTHER_VALUES)
def test_another_embedding_space_is_refused_with_both_named(field: str) -> None:
    """Two models with 2048 values can differ in one field; that field is shown."""
    asked = replace(RESNET, **{field: OTHER_VALUES[field]})
    with pytest.raises(ManifestError) as refused:
        COLLECTION.require(asked, Distance.EUCLID, name="mine")
    message = str(refused.value)
    sides = f"{field} is {getattr(RESNET, field)} there and {OTHER_VALUES[field]} here"
    assert message == f"collection mine is of another embedding space: {sides}"
    assert refused.value.hint == Hint(Action.REBUILD_OR_CHANGE_STORE, {Argument.COLLECTION: "mine"})


def test_the_cases_of_another_space_cover_the_whole_identity() -> None:
    """A field added to the identity needs a test case."""
    assert OTHER_VALUES.keys() == set(ModelIdentity.__dataclass_fields__)


def test_another_distance_is_refused() -> None:
    """A cosine collection has lost the lengths that Euclidean distances need."""
    with pytest.raises(ManifestError, match="distance is euclid there and cosine here"):
        COLLECTION.require(RESNET, Distance.COSINE, name="mine")


def test_an_older_schema_is_refused() -> None:
    """Its payloads may have another meaning."""
    with pytest.raises(ManifestError, match=f"schema is 0 there and {SCHEMA_VERSION} here"):
        replace(COLLECTION, schema=0).require(RESNET, Distance.EUCLID, name="mine")


def test_all_differences_are_named_at_once() -> None:
    """One message lists all."""
    with pytest.raises(ManifestError, match=r"pooling is avg there and max here; dimension is 2048 there"):
        COLLECTION.require(replace(RESNET, pooling=Pooling.MAX, dimension=64), Distance.EUCLID, name="mine")


def test_a_newer_schema_is_refused_with_a_remedy() -> None:
    """The message says to upgrade; guessing would be wrong."""
    data = COLLECTION.to_json() | {"schema": SCHEMA_VERSION + 1}
    with pytest.raises(ManifestError, match="upgrade lookalike"):
        CollectionManifest.from_json(data)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schema", "new"),
        ("identity", None),
        ("identity", {**COLLECTION.to_json()["identity"], "dimension": "many"}),
        ("identity", {**COLLECTION.to_json()["identity"], "backbone": "alexnet"}),
        ("identity", {**COLLECTION.to_json()["identity"], "pooling": "median"}),
        ("distance", "manhattan"),
        ("weights", {"official": True}),
        ("datasets", ["data"]),
        ("graph_revision", None),
    ],
)
def test_a_malformed_manifest_is_refused(field: str, value: object) -> None:
    """Every malformed field gives the same kind of error."""
    with pytest.raises(ManifestError, match="not a collection manifest that lookalike wrote"):
        CollectionManifest.from_json({**COLLECTION.to_json(), field: value})


@pytest.mark.parametrize(
    "field",
    [
        name
        for name in COLLECTION.to_json()
        if name not in ("schema", "graph_precision", "vector_quantization", "folder_rules")
    ],
)
def test_a_collection_manifest_with_a_missing_field_is_refused(field: str) -> None:
    """A missing field is not completed by a default."""
    data = {name: value for name, value in COLLECTION.to_json().items() if name != field}
    with pytest.raises(ManifestError, match=field):
        CollectionManifest.from_json(data)


def test_manifests_without_a_precision_are_of_fp32() -> None:
    """Precisions did not exist then; the identity's key is unchanged."""
    for manifest in (MODEL, COLLECTION):
        data = {name: value for name, value in manifest.to_json().items() if name != "graph_precision"}
        assert type(manifest).from_json(data) == manifest
        assert manifest.graph_precision is Precision.FP32
    assert RESNET.key == "6d2079db8eb04270"


def test_activation_ranges_survive_json_and_identify_their_space() -> None:
    """JSON keeps every digit; one other range gives another precision class."""
    ranges = {"conv/relu": (0.0, 0.1 + 0.2), "conv": (-1e-7, 3.0)}
    found = ActivationRanges(method="minmax", images=3, ranges=ranges)
    other = replace(found, ranges={**ranges, "conv": (-1e-7, 3.1)})
    classes = {found.precision_class, other.precision_class}
    assert len(classes) == 2
    assert replace(found, ranges=dict(reversed(ranges.items()))).precision_class in classes
    for manifest in (MODEL, COLLECTION):
        made = replace(manifest, graph_precision=Precision.INT8, activation_ranges=found)
        assert type(manifest).from_json(json.loads(json.dumps(made.to_json()))) == made
    int8 = replace(VGG, precision_class=found.precision_class)
    assert collection_name(int8, Distance.COSINE, official=True) == "vgg16-int8-cosine"
    assert collection_name(int8, Distance.COSINE, official=False) == "vgg16-int8-wab12cd34-cosine"


@pytest.mark.parametrize("name", ["activation_ranges", "quantization"])
@pytest.mark.parametrize(
    "ranges", ["int8", {"method": "minmax"}, {"method": "minmax", "pictures": 1, "ranges": {"x": [1]}}]
)
def test_malformed_activation_ranges_are_refused(ranges: object, name: str) -> None:
    """Without valid ranges the vectors could not be reproduced."""
    for manifest in (MODEL, COLLECTION):
        with pytest.raises(ManifestError, match="that lookalike wrote"):
            type(manifest).from_json(manifest.to_json() | {name: ranges})


@pytest.mark.parametrize("data", [{}, [], "text", {"identity": {}}])
def test_a_malformed_model_manifest_is_refused(data: Any) -> None:
    """Another program may use the same metadata key."""
    with pytest.raises(ManifestError, match="not a model manifest that lookalike wrote"):
        ModelManifest.from_json(data)


def test_a_dataset_is_added_without_touching_the_others() -> None:
    """The original manifest is not changed."""
    grown = COLLECTION.with_dataset("new", "/pictures/new").with_dataset("data", "/moved/data")
    assert grown.datasets == {"data": "/moved/data", "übung": "/pictures/übung", "new": "/pictures/new"}
    assert COLLECTION.datasets["data"] == "/pictures/data"


def test_rules_are_stored_with_their_dataset() -> None:
    """Rules stay when only the root changes; default rules are not written."""
    rules = FolderRules(exclude=("#x", "!é"), default_excludes=False, follow_links=True, class_level=-2)
    ruled = COLLECTION.with_dataset("data", "/old", rules).with_dataset("data", "/new")
    assert (ruled.rules_of("data"), ruled.rules_of("übung")) == (rules, FolderRules())
    assert CollectionManifest.from_json(json.loads(json.dumps(ruled.to_json()))) == ruled
    assert ruled.without_dataset("data").folder_rules == {}
    assert ruled.with_dataset("data", "/new", FolderRules()).to_json()["folder_rules"] == {}


@pytest.mark.parametrize("rules", [[], {"data": {}}, {"data": {"class_level": 0}}, {"data": None}])
def test_malformed_rules_make_a_manifest_malformed(rules: object) -> None:
    """An ingest by other rules would delete points."""
    with pytest.raises(ManifestError):
        CollectionManifest.from_json(COLLECTION.to_json() | {"folder_rules": rules})


def test_an_identity_has_one_key_and_another_identity_another_one() -> None:
    """Models are cached by it; it depends on every field and on nothing else."""
    keys = {replace(RESNET, **{field: value}).key for field, value in OTHER_VALUES.items()}
    assert len(keys | {RESNET.key}) == len(OTHER_VALUES) + 1
    assert ModelManifest.from_json(MODEL.to_json()).identity.key == RESNET.key


@pytest.mark.parametrize(("distance", "higher"), [(Distance.COSINE, True), (Distance.EUCLID, False)])
def test_a_cosine_score_grows_with_nearness_and_a_euclidean_one_falls(
    distance: Distance, higher: bool
) -> None:
    """The column of scores is titled by it."""
    assert distance.higher_is_nearer is higher


def test_a_manifest_carries_a_calibration(calibration: Calibration) -> None:
    """Without one the field is absent, for older versions."""
    calibrated = COLLECTION.with_calibration(calibration)
    assert CollectionManifest.from_json(json.loads(json.dumps(calibrated.to_json()))) == calibrated
    assert "calibration" not in COLLECTION.to_json()
    assert calibrated.with_revision(None) == COLLECTION


@pytest.mark.parametrize("damaged", ["soon", [], {}, {"points": 3}, 0.5])
def test_a_manifest_with_a_malformed_calibration_is_read_without_it(damaged: object) -> None:
    """The manifest is read as if it had no calibration."""
    assert CollectionManifest.from_json(COLLECTION.to_json() | {"calibration": damaged}) == COLLECTION


FORMER_NAMES = {"precision", "quantization", "quantize"}


@pytest.mark.parametrize(
    ("file", "key", "fields"),
    [
        ("model_fp16.json", "39b897d433ae9f9b", (Precision.FP16, None)),
        ("model_int8.json", "be912bea4fb14f5d", (Precision.INT8, "int8-67e6a05c")),
        ("collection_fp32.json", "39b897d433ae9f9b", (Precision.FP32, None)),
        ("collection_int8.json", "be912bea4fb14f5d", (Precision.INT8, "int8-67e6a05c")),
    ],
)
def test_former_field_names_are_read_and_present_ones_written(
    file: str, key: str, fields: tuple[Precision, str | None]
) -> None:
    """Keys of identities, which name models and heads, stay the same, and no field is lost."""
    written = json.loads((Path(__file__).parent / "former_manifests" / file).read_text(encoding="utf-8"))
    kind = ModelManifest if file.startswith("model") else CollectionManifest
    read = kind.from_json(written)
    ranges = read.activation_ranges
    assert read.identity.key == key
    assert (read.graph_precision, ranges and ranges.precision_class) == fields
    assert read.identity.precision_class == (fields[1] or "float32")
    if isinstance(read, CollectionManifest):
        assert read.vector_quantization == written["quantize"]
    anew = read.to_json()
    assert kind.from_json(json.loads(json.dumps(anew))) == read
    assert not FORMER_NAMES & {*anew, *anew["identity"]}
    assert len(anew.keys() - {"folder_rules"}) == len(written)


def test_counts_of_images_keep_their_key_in_json(calibration: Calibration) -> None:
    """Scripts read `pictures`, and so do older versions, which share collections with this one."""
    ranges = ActivationRanges(method="minmax", images=3, ranges={"x": (0.0, 1.0)})
    manifest = replace(COLLECTION, activation_ranges=ranges, calibration=calibration)
    written = manifest.to_json()
    for part, count in (("activation_ranges", 3), ("calibration", calibration.images)):
        assert written[part]["pictures"] == count
        assert "images" not in written[part]
    assert calibration.to_json() == written["calibration"]
    assert Calibration.from_json(written["calibration"]) == calibration
    assert ActivationRanges.from_json(written["activation_ranges"]) == ranges


def test_a_fields_current_name_wins_over_its_former_one() -> None:
    """A server may merge fields of an older and of this version."""
    both = COLLECTION.to_json() | {"precision": "fp16", "quantize": "int8", "quantization": {"method": 1}}
    both |= {"activation_ranges": None, "identity": both["identity"] | {"precision": "int8-00000000"}}
    assert CollectionManifest.from_json(both) == COLLECTION
