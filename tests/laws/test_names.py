"""Names and records: written values are read back unchanged, and no two things share a name."""

import json
import re
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from lookalike_core.arrays import FloatVector
from lookalike_core.cli.hint_words import full_message
from lookalike_core.errors import ManifestError, UsageError
from lookalike_core.hints import Action, Hint, Notice
from lookalike_core.models.backbones import BACKBONES, Pooling
from lookalike_core.models.model_manifest import ModelIdentity, ModelManifest, WeightsKind, WeightsSource
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance, collection_name
from lookalike_core.stores.collection_names import is_collection_name
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.points import Payload, as_vector, point_id
from lookalike_exporter.spec import NETWORKS, ModelSpec
from lookalike_search.collection_choice import _values

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
"""Any text that UTF-8 can encode."""

AMBIGUOUS = st.text("ab/:-\0 \u00e4", max_size=4)
"""Short texts of separators, of which different pairs may concatenate to the same text."""

COUNT = st.integers(0, 2**63 - 1)
HEX = st.text("0123456789abcdef", min_size=64, max_size=64)

PAYLOADS = st.builds(
    Payload,
    dataset=TEXT,
    path=TEXT,
    class_name=st.none() | TEXT.filter(bool),
    sha256=HEX,
    width=COUNT,
    height=COUNT,
    bytes=COUNT,
    mtime_ns=st.integers(-(2**63), 2**63 - 1),
    ingested_at=TEXT,
    moved_from=st.none() | TEXT,
    synset=st.none() | TEXT,
)
IDENTITIES = st.builds(
    ModelIdentity,
    backbone=st.sampled_from([backbone.name for backbone in BACKBONES]),
    layer=TEXT,
    pooling=st.sampled_from(Pooling),
    preprocessing=TEXT,
    precision_class=TEXT,
    weights_fingerprint=HEX,
    dimension=COUNT,
)
SOURCES = st.builds(
    WeightsSource,
    kind=st.sampled_from(WeightsKind),
    official=st.booleans(),
    path=st.none() | TEXT,
    sha256=st.none() | HEX,
)
MODELS = st.builds(
    ModelManifest, identity=IDENTITIES, weights=SOURCES, graph_revision=COUNT, exporter_version=TEXT
)
COLLECTIONS = st.builds(
    CollectionManifest,
    identity=IDENTITIES,
    distance=st.sampled_from(Distance),
    weights=SOURCES,
    exporter_version=TEXT,
    graph_revision=COUNT,
    provider=TEXT,
    created_at=TEXT,
    datasets=st.dictionaries(TEXT, TEXT, max_size=3),
    schema=st.integers(0, 1),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


@st.composite
def taps(draw: st.DrawFn) -> ModelSpec:
    """Draws a spec: any layer of a network with any pooling that it supports."""
    backbone = draw(st.sampled_from(BACKBONES))
    layer = draw(st.sampled_from(list(NETWORKS[backbone.name]().layers)))
    pooling = draw(st.sampled_from(["avg", "max", "flatten", None]))
    try:
        return ModelSpec.of(backbone.name, layer=layer, pooling=pooling)
    except UsageError:
        assume(False)
        raise


def through_json(data: Any) -> Any:
    """Returns the value after a round trip through JSON."""
    return json.loads(json.dumps(data))


@given(PAYLOADS)
def test_a_payload_survives_a_round_trip(payload: Payload) -> None:
    """Its path, class and dataset may have any characters."""
    assert Payload.from_json(through_json(payload.to_json())) == payload


@given(MODELS, COLLECTIONS)
def test_manifests_survive_a_round_trip(model: ModelManifest, collection: CollectionManifest) -> None:
    """This holds for manifests of models and of collections, with all optional fields."""
    assert ModelManifest.from_json(through_json(model.to_json())) == model
    assert CollectionManifest.from_json(through_json(collection.to_json())) == collection


@given(COLLECTIONS, st.data())
def test_a_manifest_with_arbitrary_values_is_read_or_refused(manifest: CollectionManifest, data: Any) -> None:
    """No other error is raised, and no field of a manifest that is read has a wrong type."""
    document = through_json(manifest.to_json())
    holder = data.draw(st.sampled_from([document, document["identity"], document["weights"]]))
    holder[data.draw(st.sampled_from(sorted(holder)))] = data.draw(JSON)
    try:
        read = CollectionManifest.from_json(document)
    except ManifestError:
        return
    for value in (read.weights.path, read.weights.sha256):
        assert value is None or isinstance(value, str)
    assert CollectionManifest.from_json(through_json(read.to_json())) == read


@given(JSON)
def test_any_document_is_a_manifest_or_refused(document: Any) -> None:
    """The document need not even be an object."""
    for kind in (ModelManifest, CollectionManifest):
        with pytest.raises(ManifestError):
            kind.from_json(document)


@given(st.tuples(AMBIGUOUS, AMBIGUOUS), st.tuples(AMBIGUOUS, AMBIGUOUS))
@example(("a", "b/c"), ("a/b", "c"))
@example(("", "a"), ("a", ""))
def test_two_images_never_share_an_id(one: tuple[str, str], other: tuple[str, str]) -> None:
    """This holds even if dataset and path concatenate to the same text; one image always has the same id."""
    assert (point_id(*one) == point_id(*other)) == (one == other)


@given(AMBIGUOUS, AMBIGUOUS)
def test_an_id_is_the_uuid_of_dataset_and_path(dataset: str, path: str) -> None:
    """It is UUIDv5 by RFC 4122, as `uuid` makes it: points of former versions have such ids."""
    namespace = uuid.uuid5(uuid.UUID("9d0a4f5c-6f0e-5b6e-9c7e-3f2f6a0d8a11"), dataset)
    assert point_id(dataset, path) == str(uuid.uuid5(namespace, path))


@given(arrays(np.float32, st.integers(0, 20), elements=st.floats(width=32)))
def test_a_vector_of_the_engine_keeps_its_values(vector: FloatVector) -> None:
    """They are Python's floats on the way, and the same float32 again, infinities and NaN too."""
    np.testing.assert_array_equal(as_vector(vector.tolist()), vector)


@given(IDENTITIES, IDENTITIES)
def test_two_identities_never_share_a_key(one: ModelIdentity, other: ModelIdentity) -> None:
    """A model's file is named by the key, so one different field means another file."""
    assert (one.key == other.key) == (one == other)
    assert replace(one, layer=one.layer + "x").key != one.key


@given(taps(), st.sampled_from(Distance), st.booleans(), HEX)
def test_backbone_layer_pooling_and_distance_follow_from_a_collections_name(
    spec: ModelSpec, distance: Distance, official: bool, fingerprint: str
) -> None:
    """For other weights the name shows only that they are not the official ones."""
    identity = ModelIdentity(
        backbone=spec.backbone.name,
        layer=spec.layer,
        pooling=spec.pooling,
        preprocessing="x",
        precision_class="float32",
        weights_fingerprint=fingerprint,
        dimension=spec.dimension,
    )
    name = collection_name(identity, distance, official=official)
    assert is_collection_name(name)
    advice = full_message(Notice("", hint=Hint(Action.INGEST, _values(name, None, None))))
    options = dict(re.findall(r"--(\S+) (\S+)", advice))
    assert options.pop("distance") == distance
    assert ("weights" in options) == (not official)
    options.pop("weights", None)
    assert ModelSpec.of(options.pop("backbone"), **options) == spec


@given(st.text(max_size=300))
@example("\u00e4" * 255)
@example("a" * 255)
@example("\ud800")
@example("..")
def test_any_text_may_be_looked_up_as_a_collection_name(name: str) -> None:
    """The collection exists or not; any valid name is one folder directly in the store's."""
    store = EmbeddedStore(Path("/nowhere"))
    assert name not in store
    if is_collection_name(name):
        assert (store.directory / name).parent == store.directory
        assert len(name.encode()) <= 255
