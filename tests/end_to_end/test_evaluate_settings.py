"""Tests `search evaluate` of both networks, of the index, and with a plot."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lookalike_core.models.backbones import Pooling
from lookalike_core.models.model_manifest import ModelIdentity, WeightsKind, WeightsSource
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.points import ImagePoint, Payload
from PIL import Image

CLASSES = ("ant", "bee", "cat")
RESNET, VGG, EUCLID = "resnet101v2-cosine", "vgg16-cosine", "vgg16-euclid"
FUSED = f"{RESNET} + {VGG}"


def fill(shell: Any, backbone: str, distance: Distance, numbers: range, *, layer: str | None = None) -> None:
    """Writes random clouds into a collection without a model, which an evaluation does not need."""
    layers = {"resnet101v2": ("post_relu", 8, 1), "vgg16": ("block5_pool", 5, 2)}
    default, dimension, seed = layers[backbone]
    manifest = CollectionManifest(
        identity=ModelIdentity(
            backbone=backbone,
            layer=layer or default,
            pooling=Pooling.AVG,
            preprocessing="none",
            precision_class="float32",
            weights_fingerprint="0" * 64,
            dimension=dimension,
        ),
        distance=distance,
        weights=WeightsSource(kind=WeightsKind.IMAGENET, official=True),
        exporter_version="0",
        graph_revision=1,
        provider="",
        created_at="2026-01-01T00:00:00+00:00",
        datasets={"data": "/data"},
    )
    random = np.random.default_rng(seed)
    centres = random.random((3, dimension))
    points = []
    for number in range(max(numbers) + 1):
        vector = centres[number % 3] + 0.6 * random.random(dimension)
        payload = Payload(
            dataset="data",
            path=f"{CLASSES[number % 3]}/{number}.jpg",
            class_name=CLASSES[number % 3],
            sha256=f"{number:064x}",
            width=1,
            height=1,
            bytes=1,
            mtime_ns=1,
            ingested_at="2026-01-01T00:00:00+00:00",
        )
        points.append(ImagePoint(payload=payload, vector=vector.astype(np.float32)))
    store = EmbeddedStore(shell.folder / "home/qdrant")
    store.create(manifest)
    with store.open(manifest.collection) as collection:
        collection.upsert([points[number] for number in numbers])


@pytest.fixture(scope="module")
def both(make_shell: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Makes a cosine collection of each network (VGG16's lacks four images) and a Euclidean one."""
    shell = make_shell(tmp_path_factory.mktemp("both"))
    fill(shell, "resnet101v2", Distance.COSINE, range(60))
    fill(shell, "vgg16", Distance.COSINE, range(4, 60))
    fill(shell, "vgg16", Distance.EUCLID, range(60))
    return shell


def test_both_networks_are_measured_alone_and_fused(both: Any) -> None:
    """The last of three lines compares the fusion with each network over the same images."""
    done = both("search", "evaluate", "--backbone", "both", "--json")
    assert done.code == 0, done.err
    one, other, fused = done.json
    assert [found["collection"] for found in (one, other, fused)] == [RESNET, VGG, f"{FUSED} (rrf)"]
    assert [found["pictures"] for found in (one, other, fused)] == [60, 56, 56]
    assert one["fusion"] is other["fusion"] is None
    assert fused["fusion"] == {"rule": "rrf", "collections": [RESNET, VGG], "only_in_some": 4}
    assert fused.keys() == one.keys()
    assert fused["expected_calibration_error"] is None
    assert {gain["to"] for gain in fused["differences"]} == {RESNET, VGG}
    for gain in fused["differences"]:
        assert gain["certain"] == (gain["low"] > 0 or gain["high"] < 0)
        if gain["to"] == VGG:
            expected = fused[gain["figure"]]["value"] - other[gain["figure"]]["value"]
            assert gain["value"] == pytest.approx(expected, abs=1e-9)


def test_all_evaluates_every_rule_and_every_distance_of_both_networks(both: Any) -> None:
    """A collection whose distance only one network has is evaluated alone, without a warning."""
    done = both("search", "evaluate", "--all", "--json")
    assert done.code == 0, done.err
    rules = [f"{FUSED} ({rule})" for rule in ("rrf", "zscore", "calibrated")]
    assert [found["collection"] for found in done.json] == [RESNET, VGG, EUCLID, *rules]
    assert "fused" not in done.err
    alone = both("search", "evaluate", "--all", "--backbone", "vgg", "--json").json
    assert [found["collection"] for found in alone] == [VGG, EUCLID]


def test_rules_and_collections_can_be_named(both: Any) -> None:
    """Each is evaluated once, in the order of the options; any two collections can be fused."""
    words = ["--fusion", "zscore", "--fusion", "rrf", "--fusion", "zscore"]
    found = both("search", "evaluate", "--collection", VGG, "--collection", EUCLID, *words, "--json").json
    fused = f"{VGG} + {EUCLID}"
    assert [each["collection"] for each in found] == [VGG, EUCLID, f"{fused} (zscore)", f"{fused} (rrf)"]


def test_the_text_counts_unshared_images_and_shows_index_recall(both: Any) -> None:
    """It omits what a fusion does not have: index and calibration."""
    done = both("search", "evaluate", "--backbone", "both", "--indexed", "--fusion", "calibrated")
    assert done.code == 0, done.err
    alone, fused = done.out.split(f"{FUSED} (calibrated): ")
    assert "and 4 images that only one of the collections holds" in fused
    assert f"precision@10 against {RESNET} over 56 shared images:" in fused
    assert "index" not in fused
    assert "calibration error" not in fused
    for words in ("by the store, without index", "searches exactly", "recall@10"):
        assert alone.count(words) == 2


def test_the_index_is_compared_with_exact_search(both: Any) -> None:
    """A collection without an index is reported as such, and has a recall of 1."""
    (found,) = both("search", "evaluate", "--collection", VGG, "--indexed", "--json").json
    index = found["indexed"]
    assert (index["has_index"], index["indexed_vectors"], index["points"]) == (False, 0, 56)
    assert index["overlap"] == index["all_the_same"] == {"value": 1.0, "low": 1.0, "high": 1.0}
    for key in ("precision_at_1", "precision_at_5", "precision_at_10"):
        assert index[key] == found[key]
    (without,) = both("search", "evaluate", "--collection", VGG, "--json").json
    assert without["indexed"] is None


def test_a_plot_and_a_table_hold_all_settings(both: Any) -> None:
    """The plot is an image file; the CSV has a row for each query of each setting."""
    plot, table = both.folder / "new" / "plot.png", both.folder / "table.csv"
    done = both("search", "evaluate", "--backbone", "both", "--plot", plot, "--csv", table)
    assert done.code == 0, done.err
    with Image.open(plot) as image:
        image.load()
        assert image.width > 1_000
    with table.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    counts = {
        name: sum(row["collection"] == name for row in rows) for name in (RESNET, VGG, f"{FUSED} (rrf)")
    }
    assert counts == {RESNET: 60, VGG: 56, f"{FUSED} (rrf)": 56}
    assert {row["verdict_nearest_class"] for row in rows} <= set(CLASSES)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--fusion", "rrf"], 2, "--fusion: fusion needs several collections"),
        (
            ["--fusion", "rrf", "--collection", VGG, "--collection", VGG],
            2,
            "--fusion: fusion needs several collections",
        ),
        (["--fusion", "rrf", "--all", "--backbone", "vgg"], 2, "--fusion: fusion needs several collections"),
        (["--fusion", "mean", "--all"], 2, "mean"),
        (["--backbone", "both", "--collection", VGG], 2, "leave --backbone, --distance and --head out"),
        (
            ["--backbone", "both", "--distance", "euclid"],
            6,
            "ingest run DIR --backbone resnet --distance euclid",
        ),
        (["--all", "--backbone", "both", "--distance", "euclid"], 6, "--backbone resnet --distance euclid"),
        (["--all", "--fusion", "rrf", "--distance", "euclid"], 6, "--backbone resnet --distance euclid"),
        (["--collection", VGG, "--plot", "plot.jpg"], 2, "has to end in .png, .svg, .pdf"),
        (["--collection", VGG, "--plot", "."], 2, "--plot"),
        (["--collection", VGG, "--plot", "taken/plot.png"], 1, "plot.png: Not a directory"),
        (["--collection", VGG, "--csv", "taken/table.csv"], 1, "table.csv: Not a directory"),
    ],
)
def test_invalid_combinations_are_refused_before_the_work(
    both: Any, words: list[str], code: int, message: str
) -> None:
    """One line names the fault, with the exit code of its kind; nothing is printed or written."""
    (both.folder / "taken").touch()
    before = sorted(both.folder.iterdir())
    done = both("search", "evaluate", *words)
    assert done.code == code, done.err
    assert message in done.err
    assert done.out == ""
    assert "Traceback" not in done.err
    assert sorted(both.folder.iterdir()) == before


def test_ambiguous_collections_are_reported_and_not_fused(shell: Any) -> None:
    """`--all` evaluates everything else; a fusion alone fails and names both candidates."""
    fill(shell, "resnet101v2", Distance.COSINE, range(12))
    fill(shell, "vgg16", Distance.COSINE, range(12), layer="block4_pool")
    fill(shell, "vgg16", Distance.COSINE, range(12), layer="block3_pool")
    done = shell("search", "evaluate", "--all", "--json")
    assert done.code == 0, done.err
    assert len(done.json) == 3
    assert "cosine is not fused: several collections fit" in done.err
    done = shell("search", "evaluate", "--backbone", "both")
    assert done.code == 2
    assert "vgg16-block3_pool-cosine, vgg16-block4_pool-cosine" in done.err


def test_both_networks_are_calibrated_separately(shell: Any) -> None:
    """Only the two collections of a fused search are calibrated."""
    for backbone, distance in (
        ("resnet101v2", Distance.COSINE),
        ("vgg16", Distance.COSINE),
        ("vgg16", Distance.EUCLID),
    ):
        fill(shell, backbone, distance, range(60))
    done = shell("search", "calibrate", "--backbone", "both", "--json")
    assert done.code == 0, done.err
    assert [found["collection"] for found in done.json] == [RESNET, VGG]
    store = EmbeddedStore(shell.folder / "home/qdrant")
    recorded = {name: store.manifest(name).calibration for name in store.names()}
    assert {name for name, calibration in recorded.items() if calibration is not None} == {RESNET, VGG}
    assert recorded[RESNET] != recorded[VGG]


def test_networks_without_common_images_are_reported_and_not_fused(shell: Any) -> None:
    """`--all` prints the figures of each; asking for their fusion is an error."""
    fill(shell, "resnet101v2", Distance.COSINE, range(12))
    fill(shell, "vgg16", Distance.COSINE, range(12, 24))
    done = shell("search", "evaluate", "--all", "--json")
    assert done.code == 0, done.err
    assert [found["collection"] for found in done.json] == [RESNET, VGG]
    assert f"{FUSED}: not fused: the collections share 0 images" in done.err
    done = shell("search", "evaluate", "--backbone", "both", "--json")
    assert done.code == 2
    assert "share 0 images" in done.err
