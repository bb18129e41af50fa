"""Which collections a selector resolves to, and the errors where none fits."""

import functools
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from lookalike_core.atomic import write_json
from lookalike_core.cli.hint_words import full_message
from lookalike_core.errors import CollectionMissingError, UsageError
from lookalike_core.models.backbones import Pooling
from lookalike_core.models.model_manifest import ModelIdentity, WeightsKind, WeightsSource
from lookalike_core.settings import Settings
from lookalike_core.stores.bulk_reads import readable_manifests
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.open_store import find_other_store
from lookalike_core.stores.overlapping_roots import file_of
from lookalike_search import collection_choice as choice
from lookalike_search.collection_choice import CollectionSelector
from refusals import refuses

RESNET, VGG = ("resnet101v2", "post_relu", 2048), ("vgg16", "block5_pool", 512)
COSINE, EUCLID = Distance.COSINE, Distance.EUCLID

Shelve = Callable[..., EmbeddedStore]
Choose = Callable[..., str]


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    """Returns a home whose embedded store is not the one under test."""
    return Settings(home=tmp_path / "home", provider="cpu")


@pytest.fixture
def shelve(tmp_path: Path) -> Shelve:
    """Writes manifests where collections have them; a selector reads nothing else."""

    def put(*manifests: CollectionManifest, directory: Path | None = None) -> EmbeddedStore:
        folder = directory or tmp_path / "store"
        for manifest in manifests:
            write_json(folder / manifest.collection / "manifest.json", manifest.to_json())
        return EmbeddedStore(folder, label="embedded:somewhere")

    return put


@pytest.fixture
def choose(home: Settings, monkeypatch: pytest.MonkeyPatch) -> Choose:
    """Resolves a selector of one collection, where no server runs."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        free_port = listener.getsockname()[1]
    monkeypatch.setattr(choice, "find_other_store", functools.partial(find_other_store, local_port=free_port))

    def choose_with(
        store: EmbeddedStore,
        *,
        name: str | None = None,
        backbone: str | None = None,
        distance: Distance | None = None,
    ) -> str:
        selector = CollectionSelector(
            names=[name] if name is not None else (), backbone=backbone, distance=distance
        )
        return selector.resolve_one(store, settings=home)

    return choose_with


def manifest(
    network: tuple[str, str, int] = RESNET,
    distance: Distance = COSINE,
    *,
    layer: str | None = None,
    pooling: Pooling = Pooling.AVG,
    own_weights: str | None = None,
) -> CollectionManifest:
    """Returns a manifest, by default of default weights, layer and pooling."""
    backbone, default_layer, dimension = network
    identity = ModelIdentity(
        backbone=backbone,
        layer=layer or default_layer,
        pooling=pooling,
        preprocessing="squash-bicubic-224",
        precision_class="float32",
        weights_fingerprint=own_weights or "0" * 64,
        dimension=dimension,
    )
    return CollectionManifest(
        identity=identity,
        distance=distance,
        weights=WeightsSource(kind=WeightsKind.IMAGENET, official=own_weights is None),
        exporter_version="0.1.0",
        graph_revision=1,
        provider="CPUExecutionProvider",
        created_at="2026-01-01T00:00:00+00:00",
        datasets={"data": "/pictures/data"},
    )


ALL_DEFAULT = [manifest(network, distance) for network in (VGG, RESNET) for distance in (EUCLID, COSINE)]
SPECIAL = [
    manifest(RESNET, layer="conv4_block23_out"),
    manifest(RESNET, pooling=Pooling.MAX),
    manifest(RESNET, own_weights="ab12cd34" * 8),
]


@pytest.mark.parametrize(
    ("options", "chosen"),
    [
        ({}, "resnet101v2-cosine"),
        ({"distance": EUCLID}, "resnet101v2-euclid"),
        ({"backbone": "vgg"}, "vgg16-cosine"),
        ({"backbone": "VGG16", "distance": EUCLID}, "vgg16-euclid"),
    ],
    ids=["none", "distance", "backbone", "both"],
)
def test_resnet_is_preferred_to_vgg_and_cosine_to_euclid(
    shelve: Shelve, choose: Choose, options: dict[str, object], chosen: str
) -> None:
    """The preference is among the collections that fit the options."""
    assert choose(shelve(*ALL_DEFAULT), **options) == chosen


def test_the_preferred_backbone_outranks_the_preferred_distance(shelve: Shelve, choose: Choose) -> None:
    """ResNet101V2 with Euclid is preferred to VGG16 with cosine."""
    assert choose(shelve(manifest(VGG, COSINE), manifest(RESNET, EUCLID))) == "resnet101v2-euclid"


def test_default_layer_and_weights_outrank_backbone_and_distance(shelve: Shelve, choose: Choose) -> None:
    """A collection with another layer or weights is selected only by name, where a default one fits."""
    assert choose(shelve(*SPECIAL, manifest(VGG, EUCLID))) == "vgg16-euclid"


@pytest.mark.parametrize("special", SPECIAL, ids=lambda special: special.collection)
def test_the_only_collection_that_fits_is_selected(
    shelve: Shelve, choose: Choose, special: CollectionManifest
) -> None:
    """This holds without options, and for another layer, pooling or weights."""
    assert choose(shelve(special)) == special.collection
    assert choose(shelve(special, *ALL_DEFAULT[:2]), backbone="resnet") == special.collection


def test_a_tie_is_refused(shelve: Shelve, choose: Choose) -> None:
    """The exit code is 2; the message names all that fit and the option that selects one."""
    with refuses(UsageError, match="--collection") as refused:
        choose(shelve(*SPECIAL))
    assert [special.collection for special in SPECIAL if special.collection not in str(refused.value)] == []


@pytest.mark.parametrize("wanted", [*SPECIAL, ALL_DEFAULT[0]], ids=lambda wanted: wanted.collection)
def test_a_name_selects_any_collection(shelve: Shelve, choose: Choose, wanted: CollectionManifest) -> None:
    """It selects one that the defaults would not."""
    assert choose(shelve(*SPECIAL, *ALL_DEFAULT), name=wanted.collection) == wanted.collection


@pytest.mark.parametrize("options", [{"backbone": "vgg"}, {"distance": COSINE}])
def test_a_name_excludes_other_options(shelve: Shelve, choose: Choose, options: dict[str, object]) -> None:
    """The exit code is 2."""
    with refuses(UsageError, match="^--collection: .*; leave --backbone, --distance and --head out$"):
        choose(shelve(*ALL_DEFAULT), name="vgg16-cosine", **options)


def test_an_unknown_backbone_is_wrong_usage(shelve: Shelve, choose: Choose) -> None:
    """The exit code is 2, not 6."""
    with pytest.raises(UsageError, match="there is no backbone 'alexnet'"):
        choose(shelve(*ALL_DEFAULT), backbone="alexnet")


@pytest.mark.parametrize(
    ("options", "asked", "command"),
    [
        ({}, "to search", "ingest run DIR"),
        ({"backbone": "vgg"}, "vgg16", "ingest run DIR --backbone vgg"),
        ({"distance": EUCLID}, "euclid", "ingest run DIR --distance euclid"),
        (
            {"backbone": "resnet", "distance": EUCLID},
            "resnet101v2 euclid",
            "ingest run DIR --backbone resnet --distance euclid",
        ),
        ({"name": "vgg16-cosine"}, "vgg16-cosine", "ingest run DIR --backbone vgg --distance cosine"),
        (
            {"name": "vgg16-fc1-euclid"},
            "vgg16-fc1-euclid",
            "ingest run DIR --backbone vgg --distance euclid --layer fc1",
        ),
        (
            {"name": "resnet101v2-conv4_block23_out-max-wab12cd34-cosine"},
            "resnet101v2-conv4_block23_out-max-wab12cd34-cosine",
            (
                "ingest run DIR --backbone resnet --distance cosine"
                " --layer conv4_block23_out --pooling max --weights FILE"
            ),
        ),
        (
            {"name": "vgg16-wab12cd34-cosine"},
            "vgg16-wab12cd34-cosine",
            "ingest run DIR --backbone vgg --distance cosine --weights FILE|imagenet-wheel",
        ),
        ({"name": "holiday"}, "holiday", "ingest run DIR"),
    ],
)
def test_the_error_of_a_missing_collection_ends_with_the_command_that_makes_it(
    shelve: Shelve, choose: Choose, options: dict[str, object], asked: str, command: str
) -> None:
    """The exit code is 6; layer, pooling and weights in its name become options."""
    with pytest.raises(CollectionMissingError) as missing:
        choose(shelve(), **options)
    said = (
        f"there is no collection {asked} in the store embedded:somewhere; available: none. Create it with: "
    )
    assert full_message(missing.value) == said + command


@pytest.mark.parametrize("options", [{"backbone": "vgg"}, {"name": "vgg16-cosine"}])
def test_the_error_of_a_missing_collection_lists_those_that_are_there(
    shelve: Shelve, choose: Choose, options: dict[str, object]
) -> None:
    """The name may be mistyped."""
    store = shelve(manifest(RESNET, COSINE), manifest(RESNET, EUCLID))
    with pytest.raises(CollectionMissingError, match="available: resnet101v2-cosine, resnet101v2-euclid"):
        choose(store, **options)


@pytest.mark.parametrize(
    "options", [{}, {"backbone": "vgg"}, {"name": "vgg16-euclid"}], ids=["none", "backbone", "name"]
)
def test_the_error_of_a_missing_collection_names_the_other_store_that_has_it(
    shelve: Shelve, choose: Choose, home: Settings, options: dict[str, object]
) -> None:
    """A variable or a started server may have changed the default store."""
    shelve(manifest(VGG, EUCLID), directory=home.qdrant_dir)
    with pytest.raises(CollectionMissingError) as missing:
        choose(shelve(), **options)
    said = "vgg16-euclid is in another store; search it with: --store embedded"
    assert full_message(missing.value).endswith(f"available: none. {said}")


def test_unreadable_collections_are_not_called_missing(
    shelve: Shelve, choose: Choose, said: list[str]
) -> None:
    """The log has the remedy for each."""
    whole = manifest(RESNET)
    store = shelve(whole)
    (store.directory / whole.collection / "manifest.json").write_text('{"schema":')
    with pytest.raises(
        CollectionMissingError, match=rf"no collection .* can be read: {whole.collection}; the messages"
    ):
        choose(store)
    said.clear()
    assert not list(readable_manifests(store))
    assert "put manifest.json back from a backup, or remove" in said[0]


def test_the_file_of_an_image_lies_below_the_root_of_its_dataset() -> None:
    """A dataset that is not in the manifest has no file path."""
    assert file_of(manifest(), "data", "cat/1.jpg") == Path("/pictures/data/cat/1.jpg")
    assert file_of(manifest(), "unknown", "cat/1.jpg") is None


Both = Callable[..., list[str]]


@pytest.fixture
def choose_of_both(choose: Choose, home: Settings) -> Both:
    """Resolves `both`; `choose` lets no server be found."""

    def choose_with(store: EmbeddedStore, *, distance: Distance | None) -> list[str]:
        selector = CollectionSelector(backbone="Both", distance=distance)
        return selector.resolve(store, settings=home)

    return choose_with


def test_both_networks_are_taken_with_the_same_distance(shelve: Shelve, choose_of_both: Both) -> None:
    """The default is cosine where both networks have it."""
    store = shelve(*ALL_DEFAULT, *SPECIAL)
    assert choose_of_both(store, distance=None) == ["resnet101v2-cosine", "vgg16-cosine"]
    assert choose_of_both(store, distance=EUCLID) == ["resnet101v2-euclid", "vgg16-euclid"]


def test_both_networks_are_taken_with_a_distance_that_both_have(shelve: Shelve, choose_of_both: Both) -> None:
    """It is Euclid if one lacks cosine; other layers or weights are selected if there is no default one."""
    store = shelve(
        manifest(VGG, COSINE), manifest(VGG, EUCLID), manifest(RESNET, EUCLID, pooling=Pooling.MAX)
    )
    assert choose_of_both(store, distance=None) == ["resnet101v2-max-euclid", "vgg16-euclid"]


@pytest.mark.parametrize(
    ("there", "distance", "command"),
    [
        ([manifest(VGG, COSINE)], None, "ingest run DIR --backbone resnet --distance cosine"),
        ([manifest(RESNET, EUCLID)], None, "ingest run DIR --backbone vgg --distance euclid"),
        ([manifest(RESNET, EUCLID)], COSINE, "ingest run DIR --backbone resnet --distance cosine"),
        (
            [manifest(VGG, EUCLID), manifest(RESNET)],
            COSINE,
            "ingest run DIR --backbone vgg --distance cosine",
        ),
        ([], None, "ingest run DIR --backbone resnet --distance cosine"),
    ],
)
def test_the_error_of_a_missing_network_ends_with_the_command_that_makes_it(
    shelve: Shelve,
    choose_of_both: Both,
    there: list[CollectionManifest],
    distance: Distance | None,
    command: str,
) -> None:
    """The exit code is 6."""
    with refuses(CollectionMissingError, match=f"each network.*{command}"):
        choose_of_both(shelve(*there), distance=distance)


@pytest.mark.parametrize(
    "selector",
    [
        CollectionSelector(names=["vgg16-cosine"], backbone="both"),
        CollectionSelector(names=["vgg16-cosine"], head="mine"),
        CollectionSelector(names=["vgg16-cosine"], all=True),
        CollectionSelector(head="mine", all=True),
        CollectionSelector(head="mine", backbone="both"),
    ],
    ids=["name-both", "name-head", "name-all", "head-all", "head-both"],
)
def test_contradicting_fields_are_refused(
    shelve: Shelve, home: Settings, selector: CollectionSelector
) -> None:
    """They are refused before the store is read."""
    with refuses(UsageError, match="leave"):
        selector.resolve(shelve(*ALL_DEFAULT), settings=home)


def test_all_selects_every_collection_that_fits(shelve: Shelve, home: Settings) -> None:
    """The names are sorted; for both networks, all collections are selected."""
    store = shelve(*ALL_DEFAULT, *SPECIAL)

    def chosen(**fields: Any) -> list[str]:
        return CollectionSelector(all=True, **fields).resolve(store, settings=home)

    assert chosen(backbone="vgg") == ["vgg16-cosine", "vgg16-euclid"]
    assert chosen(distance=EUCLID) == ["resnet101v2-euclid", "vgg16-euclid"]
    assert chosen(backbone="both") == chosen() == sorted(store.names())


def test_names_keep_their_order_without_repetitions(shelve: Shelve, home: Settings) -> None:
    """A name that is not in the store is an error."""
    store = shelve(*ALL_DEFAULT)
    names = ["vgg16-euclid", "resnet101v2-cosine"]
    selector = CollectionSelector(names=[*names, names[0]])
    assert selector.resolve(store, settings=home) == names
    with pytest.raises(CollectionMissingError, match="there is no collection holiday"):
        CollectionSelector(names=[*names, "holiday"]).resolve(store, settings=home)


@pytest.mark.parametrize(
    "selector",
    [
        CollectionSelector(backbone="both"),
        CollectionSelector(all=True),
        CollectionSelector(names=["vgg16-cosine", "vgg16-euclid"]),
    ],
    ids=["both", "all", "names"],
)
def test_resolving_one_collection_refuses_several(
    shelve: Shelve, home: Settings, selector: CollectionSelector
) -> None:
    """It does not select the first of them."""
    with pytest.raises(UsageError, match="only one collection can be used here"):
        selector.resolve_one(shelve(*ALL_DEFAULT), settings=home)


@pytest.mark.skipif(os.name == "nt", reason="there a lock cannot be looked at without taking it")
def test_the_error_of_a_missing_collection_names_an_ingest_under_way(shelve: Shelve, choose: Choose) -> None:
    """It advises to wait for that ingest; `holder` is its process."""
    store = shelve()
    with store.local.ingesting(), pytest.raises(CollectionMissingError) as caught:
        choose(store)
    said = full_message(caught.value)
    assert f"An ingest into this store is under way, by process {os.getpid()} (" in said
    assert said.endswith("and may be making it; try again when it is done")
    assert caught.value.holder == f"process {os.getpid()} ({Path(sys.argv[0]).name})"
    assert caught.value.exit_code == 6
