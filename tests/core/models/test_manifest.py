"""Identity: what a collection is called, and which vectors may be compared with its own."""

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
    """It lies as text in the model, beside the shard and on the server."""
    assert type(manifest).from_json(json.loads(json.dumps(manifest.to_json()))) == manifest


def test_a_collection_from_before_vectors_had_short_forms_has_none() -> None:
    """How vectors are searched is recorded, and makes no other space."""
    data = replace(COLLECTION, vector_quantization=VectorQuantization.INT4).to_json()
    assert CollectionManifest.from_json(data).vector_quantization is VectorQuantization.INT4
    CollectionManifest.from_json(data).require(COLLECTION.identity, COLLECTION.distance, name="c")
    del data["vector_quantization"]
    assert CollectionManifest.from_json(data).vector_quantization is VectorQuantization.NONE


@pytest.mark.parametrize("manifest", [MODEL, COLLECTION], ids=["model", "collection"])
def test_fields_that_a_later_version_added_are_ignored(manifest: ModelManifest | CollectionManifest) -> None:
    """What is recorded may grow without a new schema."""
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
def test_a_collection_is_named_by_what_is_not_default(
    changes: dict[str, Any], distance: Distance, official: bool, name: str
) -> None:
    """`BACKBONE[-LAYER][-POOLING][-wXXXXXXXX]-DISTANCE`."""
    assert collection_name(replace(RESNET, **changes), distance, official=official) == name


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({}, "vgg16-cosine"),
        ({"pooling": Pooling.FLATTEN}, "vgg16-flatten-cosine"),
        ({"layer": "fc1", "pooling": Pooling.NONE}, "vgg16-fc1-cosine"),
    ],
)
def test_vgg_has_its_own_default_layer_and_needs_no_word_for_no_pooling(
    changes: dict[str, Any], name: str
) -> None:
    """The dense layers are named alone."""
    assert collection_name(replace(VGG, **changes), Distance.COSINE, official=True) == name


def test_a_collection_manifest_knows_its_collections_name() -> None:
    """From the identity, the distance and whether the weights are the official ones."""
    assert COLLECTION.collection == "resnet101v2-wab12cd34-euclid"


def test_the_same_space_is_let_through() -> None:
    """Where the weights came from, which version wrote it and on what it ran is not compared."""
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
def test_another_space_is_refused_with_both_sides_named(field: str) -> None:
    """Two models with 2048 values are not the same space; the one field that differs is shown."""
    asked = replace(RESNET, **{field: OTHER_VALUES[field]})
    with pytest.raises(ManifestError) as refused:
        COLLECTION.require(asked, Distance.EUCLID, name="mine")
    message = str(refused.value)
    sides = f"{field} is {getattr(RESNET, field)} there and {OTHER_VALUES[field]} here"
    assert message == f"collection mine holds another space: {sides}"
    assert refused.value.hint == Hint(Action.REBUILD_OR_CHANGE_STORE, {Argument.COLLECTION: "mine"})


def test_the_cases_of_another_space_cover_the_whole_identity() -> None:
    """A field that is added to the identity has to be compared, too."""
    assert OTHER_VALUES.keys() == set(ModelIdentity.__dataclass_fields__)


def test_another_distance_is_refused() -> None:
    """A cosine collection has lost the lengths that Euclid needs."""
    with pytest.raises(ManifestError, match="distance is euclid there and cosine here"):
        COLLECTION.require(RESNET, Distance.COSINE, name="mine")


def test_an_older_schema_is_refused() -> None:
    """Its payloads may mean something else."""
    with pytest.raises(ManifestError, match=f"schema is 0 there and {SCHEMA_VERSION} here"):
        replace(COLLECTION, schema=0).require(RESNET, Distance.EUCLID, name="mine")


def test_all_differences_are_named_at_once() -> None:
    """One attempt tells everything."""
    with pytest.raises(ManifestError, match=r"pooling is avg there and max here; dimension is 2048 there"):
        COLLECTION.require(replace(RESNET, pooling=Pooling.MAX, dimension=64), Distance.EUCLID, name="mine")


def test_a_newer_schema_is_refused_with_the_way_out() -> None:
    """Reading on would guess."""
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
def test_a_malformed_manifest_is_not_ours(field: str, value: object) -> None:
    """Whatever is wrong with it, one error says so."""
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
def test_a_collection_manifest_without_one_of_its_fields_is_not_ours(field: str) -> None:
    """A half written one must not be filled in with guesses."""
    data = {name: value for name, value in COLLECTION.to_json().items() if name != field}
    with pytest.raises(ManifestError, match=field):
        CollectionManifest.from_json(data)


def test_manifests_from_before_there_were_precisions_are_of_fp32() -> None:
    """The only one there was; what they identify is what it was."""
    for manifest in (MODEL, COLLECTION):
        data = {name: value for name, value in manifest.to_json().items() if name != "graph_precision"}
        assert type(manifest).from_json(data) == manifest
        assert manifest.graph_precision is Precision.FP32
    assert RESNET.key == "6d2079db8eb04270"


def test_activation_ranges_survive_and_name_their_space() -> None:
    """Through JSON and back, digit by digit; one other range is another name."""
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
def test_malformed_activation_ranges_are_not_ours(ranges: object, name: str) -> None:
    """Vectors could not be made again without it."""
    for manifest in (MODEL, COLLECTION):
        with pytest.raises(ManifestError, match="that lookalike wrote"):
            type(manifest).from_json(manifest.to_json() | {name: ranges})


@pytest.mark.parametrize("data", [{}, [], "text", {"identity": {}}])
def test_a_malformed_model_manifest_is_not_ours(data: Any) -> None:
    """Another program may use the same key in its models."""
    with pytest.raises(ManifestError, match="not a model manifest that lookalike wrote"):
        ModelManifest.from_json(data)


def test_a_dataset_is_added_without_touching_the_others() -> None:
    """The manifest that was there stays as it is."""
    grown = COLLECTION.with_dataset("new", "/pictures/new").with_dataset("data", "/moved/data")
    assert grown.datasets == {"data": "/moved/data", "übung": "/pictures/übung", "new": "/pictures/new"}
    assert COLLECTION.datasets["data"] == "/pictures/data"


def test_rules_are_kept_with_the_dataset_whose_folder_is_walked_by_them() -> None:
    """They stay when only the root changes, and go with the dataset; default ones are not written."""
    rules = FolderRules(exclude=("#x", "!é"), default_excludes=False, follow_links=True, class_level=-2)
    ruled = COLLECTION.with_dataset("data", "/old", rules).with_dataset("data", "/new")
    assert (ruled.rules_of("data"), ruled.rules_of("übung")) == (rules, FolderRules())
    assert CollectionManifest.from_json(json.loads(json.dumps(ruled.to_json()))) == ruled
    assert ruled.without_dataset("data").folder_rules == {}
    assert ruled.with_dataset("data", "/new", FolderRules()).to_json()["folder_rules"] == {}


@pytest.mark.parametrize("rules", [[], {"data": {}}, {"data": {"class_level": 0}}, {"data": None}])
def test_malformed_rules_make_a_manifest_malformed(rules: object) -> None:
    """An ingest by other rules would remove points."""
    with pytest.raises(ManifestError):
        CollectionManifest.from_json(COLLECTION.to_json() | {"folder_rules": rules})


def test_an_identity_has_one_key_and_another_identity_another_one() -> None:
    """Models are kept by it; it depends on every field and on nothing else."""
    keys = {replace(RESNET, **{field: value}).key for field, value in OTHER_VALUES.items()}
    assert len(keys | {RESNET.key}) == len(OTHER_VALUES) + 1
    assert ModelManifest.from_json(MODEL.to_json()).identity.key == RESNET.key


@pytest.mark.parametrize(("distance", "higher"), [(Distance.COSINE, True), (Distance.EUCLID, False)])
def test_a_cosine_score_grows_with_nearness_and_a_euclidean_one_falls(
    distance: Distance, higher: bool
) -> None:
    """The table's column is titled by it."""
    assert distance.higher_is_nearer is higher


def test_a_manifest_carries_a_calibration(calibration: Calibration) -> None:
    """Where there is none there is no word of it, so that older versions and manifests fit."""
    calibrated = COLLECTION.with_calibration(calibration)
    assert CollectionManifest.from_json(json.loads(json.dumps(calibrated.to_json()))) == calibrated
    assert "calibration" not in COLLECTION.to_json()
    assert calibrated.with_revision(None) == COLLECTION


@pytest.mark.parametrize("damaged", ["soon", [], {}, {"points": 3}, 0.5])
def test_a_manifest_with_a_malformed_calibration_is_read_without_it(damaged: object) -> None:
    """The manifest is read as if there were none."""
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
def test_former_names_are_read_and_those_of_today_are_written(
    file: str, key: str, fields: tuple[Precision, str | None]
) -> None:
    """The same spaces under the same keys, by which models and heads are called; no word gets lost."""
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
    """A server may keep what an older version wrote beside what this one writes."""
    both = COLLECTION.to_json() | {"precision": "fp16", "quantize": "int8", "quantization": {"method": 1}}
    both |= {"activation_ranges": None, "identity": both["identity"] | {"precision": "int8-00000000"}}
    assert CollectionManifest.from_json(both) == COLLECTION
