"""Tests ImageNet in the layout of Kaggle's competition: a small tree, and the commands on it."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.points import Payload
from PIL import Image

NAMES = (
    "n01440764 tench, Tinca tinca\nn02012849 crane\nn03126707 crane\nn02105855 Shetland sheepdog, Shetland\n"
)
TRAIN = "ILSVRC/Data/CLS-LOC/train"
SAME_IMAGE = 0.999
"""Lowest cosine to the same image as a plain JPEG: other quantization tables, and colours from CMYK."""


def patches(seed: int) -> Image.Image:
    """Returns coloured patches, different for each seed."""
    patches = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(patches).resize((96, 72), Image.Resampling.BICUBIC)


@pytest.fixture
def competition(shell: Any) -> Path:
    """Writes three images of each synset, two for validation, one for testing, tables and annotations."""
    root = shell.folder / "imagenet-object-localization-challenge"
    seeds = iter(range(100))
    rows = ["ImageId,PredictionString"]

    def save(path: str) -> None:
        file = root / "ILSVRC/Data/CLS-LOC" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        patches(next(seeds)).save(file, "JPEG", quality=95)

    for line in NAMES.splitlines():
        synset = line.split()[0]
        for number in (3, 10026, 9):
            save(f"train/{synset}/{synset}_{number}.JPEG")
    for number, synset in ((1, "n02012849"), (48981, "n01440764")):
        save(f"val/ILSVRC2012_val_{number:08d}.JPEG")
        rows.append(f"ILSVRC2012_val_{number:08d},{synset} 85 1 499 272 {synset} 1 1 30 30 ")
    save("test/ILSVRC2012_test_00000001.JPEG")
    annotation = root / "ILSVRC/Annotations/CLS-LOC/train/n01440764/n01440764_3.xml"
    annotation.parent.mkdir(parents=True)
    annotation.write_text("<annotation/>")
    (root / "LOC_synset_mapping.txt").write_text(NAMES)
    (root / "LOC_val_solution.csv").write_text("\n".join([*rows, ""]))
    (root / "LOC_sample_submission.csv").write_text("ImageId,PredictionString\n")
    return Path(root)


def stored_payloads(shell: Any) -> dict[str, Payload]:
    """Returns path -> payload of the only collection."""
    store = EmbeddedStore(Path(shell.environment["LOOKALIKE_HOME"]) / "qdrant")
    (name,) = store.names()
    with store.open(name) as collection:
        return {payload.path: payload for payload in collection.scan()}


def test_training_and_validation_are_two_datasets_of_the_same_classes(shell: Any, competition: Path) -> None:
    """Both folders are ingested, queried and evaluated."""
    assert shell.ingest(competition / TRAIN).code == 0
    done = shell.ingest(competition / "ILSVRC/Data/CLS-LOC/val")
    assert f"names of synsets from {competition / 'LOC_synset_mapping.txt'}\n" in done.err
    assert f"synsets of validation images from {competition / 'LOC_val_solution.csv'}\n" in done.err
    (status,) = shell("ingest", "status", "--json").json
    assert status["collections"][0]["classes"] == {
        "Shetland sheepdog": 3,
        "crane (n02012849)": 4,
        "crane (n03126707)": 3,
        "tench": 4,
    }
    query = competition / TRAIN / "n01440764/n01440764_3.JPEG"
    (answer,) = shell("search", "query", query, "--json", "--limit", "13").json
    synsets = {hit["class"]: hit["synset"] for hit in answer["hits"]}
    assert synsets == {
        "Shetland sheepdog": "n02105855",
        "crane (n02012849)": "n02012849",
        "crane (n03126707)": "n03126707",
        "tench": "n01440764",
    }
    assert answer["verdict"]["class"] in synsets
    table = shell("search", "query", query, "--limit", "13").out
    assert "  crane (n02012849)  ILSVRC2012_val_00000001.JPEG" in table
    assert "  tench              ILSVRC2012_val_00048981.JPEG" in table


def test_the_whole_folder_is_one_dataset(shell: Any, competition: Path) -> None:
    """Its folders are no classes, annotations are no images, and test images have no class."""
    (report,) = shell.ingest(competition, "--json").json
    assert (report["found"], report["skipped"]) == (15, [])
    payloads = stored_payloads(shell)
    assert {
        (path.split("/")[3], payload.class_name, payload.synset) for path, payload in payloads.items()
    } == {
        ("train", "tench", "n01440764"),
        ("train", "crane (n02012849)", "n02012849"),
        ("train", "crane (n03126707)", "n03126707"),
        ("train", "Shetland sheepdog", "n02105855"),
        ("val", "tench", "n01440764"),
        ("val", "crane (n02012849)", "n02012849"),
        ("test", None, None),
    }
    (answer,) = shell("search", "query", next(iter(payloads)), "--json", "--class", "").json
    assert "synset" not in answer["hits"][0]


def test_labels_override_synsets_and_tables_may_be_named(shell: Any, competition: Path) -> None:
    """A label table of the user has priority over the synset tables."""
    train = shutil.move(competition / TRAIN, shell.folder / "train")
    (shell.folder / "labels.csv").write_text("path,class\nn01440764/n01440764_3.JPEG,Schleie\n")
    table = competition / "LOC_synset_mapping.txt"
    shell.ingest(train)
    assert {payload.class_name for payload in stored_payloads(shell).values()} == {
        "n01440764",
        "n02012849",
        "n03126707",
        "n02105855",
    }
    done = shell.ingest(train, "--synsets", table, "--labels", "labels.csv", "--json")
    assert done.json[0]["collections"][0]["updated"] == 12
    payloads = stored_payloads(shell)
    assert payloads["n01440764/n01440764_3.JPEG"].class_name == "Schleie"
    assert payloads["n01440764/n01440764_3.JPEG"].synset is None
    assert payloads["n01440764/n01440764_9.JPEG"].class_name == "tench"


@pytest.mark.parametrize("option", ["--synsets", "--val-solution"])
def test_an_unusable_named_table_exits_2(option: str, shell: Any, competition: Path) -> None:
    """Nothing is stored; a table that is only found beside the images gives a warning."""
    (competition / "LOC_synset_mapping.txt").write_bytes(b"\xff\xfe")
    (competition / "LOC_val_solution.csv").write_bytes(b"\xff\xfe")
    file = {"--synsets": "LOC_synset_mapping.txt", "--val-solution": "LOC_val_solution.csv"}[option]
    done = shell.ingest(competition / TRAIN, option, competition / file)
    assert done.code == 2
    assert f"{competition / file} cannot be read as UTF-8 text" in done.err
    assert shell("ingest", "status", "--json").json[0]["collections"] == []
    done = shell.ingest(competition / TRAIN)
    assert done.code == 0
    assert done.err.count("warning: going on without") == 2


def test_a_sample_is_reproducible_and_a_larger_one_contains_it(shell: Any, competition: Path) -> None:
    """Pruning removes no point whose file exists; the summary counts the images left out."""
    done = shell.ingest(competition, "--max-per-class", "1", "--seed", "3", "--dry-run")
    assert ", 10 more left out by --max-per-class, a dry run" in done.out.splitlines()[0]
    (first,) = shell.ingest(competition, "--max-per-class", "1", "--seed", "3", "--json").json
    assert (first["found"], first["not_taken"], first["collections"][0]["added"]) == (5, 10, 5)
    small = stored_payloads(shell)
    (again,) = shell.ingest(competition, "--max-per-class", "1", "--seed", "3", "--prune", "--json").json
    assert again["collections"][0]["unchanged"] == 5
    (second,) = shell.ingest(competition, "--max-per-class", "3", "--seed", "3", "--prune", "--json").json
    assert (second["collections"][0]["added"], second["collections"][0]["removed"]) == (8, 0)
    large = stored_payloads(shell)
    assert small.items() <= large.items()
    (less,) = shell.ingest(competition, "--max-per-class", "1", "--seed", "3", "--prune", "--json").json
    assert (less["collections"][0]["unchanged"], less["collections"][0]["removed"]) == (5, 0)
    assert stored_payloads(shell) == large
    classes = [payload.class_name or "" for payload in large.values()]
    assert {name: classes.count(name) for name in classes} == {
        "": 1,
        "tench": 3,
        "crane (n02012849)": 3,
        "crane (n03126707)": 3,
        "Shetland sheepdog": 3,
    }


def test_a_seed_without_a_sample_exits_2(shell: Any, competition: Path) -> None:
    """The option would have no effect."""
    done = shell.ingest(competition, "--seed", "3")
    assert done.code == 2
    assert "--seed has an effect only with --max-per-class" in done.err


def odd_images(folder: Path) -> Iterator[tuple[str, Image.Image]]:
    """Yields files of the odd kinds that ImageNet has, and the image that each shows."""
    folder.mkdir(parents=True, exist_ok=True)
    shown = patches(1000)
    shown.save(folder / "n02105855_2933.JPEG", "PNG")
    yield "n02105855_2933.JPEG", shown
    shown.convert("CMYK").save(folder / "n02105855_cmyk.JPEG", "JPEG", quality=95)
    yield "n02105855_cmyk.JPEG", shown
    shown.convert("L").save(folder / "n02105855_grey.JPEG", "JPEG", quality=95)
    yield "n02105855_grey.JPEG", shown.convert("L").convert("RGB")
    for name, exif in (
        ("short", b"Exif\0\0II*\0\x08\0\0\0\x02\0\x12\x01\x03\0"),
        ("endless", b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x12\x01\x03\0\xff\xff\xff\xff" * 4),
        ("noise", b"Exif\0\0" + bytes(range(200))),
    ):
        shown.save(folder / f"n02105855_{name}.JPEG", "JPEG", quality=95, exif=exif)
        yield f"n02105855_{name}.JPEG", shown


def test_imagenet_s_odd_files_are_embedded(shell: Any, competition: Path) -> None:
    """A PNG named .JPEG, CMYK, greyscale and broken EXIF are embedded as they look, without warnings."""
    odd = dict(odd_images(competition / TRAIN / "n02105855"))
    done = shell.ingest(competition / TRAIN, "--strict", "--json")
    assert (done.code, done.json[0]["found"], done.json[0]["skipped"]) == (0, 12 + len(odd), [])
    assert "warn" not in done.err.lower()
    for name, shown in odd.items():
        plain = shell.folder / f"{name}.png"
        shown.save(plain)
        (answer,) = shell("search", "query", plain, "--json", "--limit", "20", "--include-self").json
        scores = {hit["path"].split("/")[1]: hit["score"] for hit in answer["hits"]}
        assert scores[name] > SAME_IMAGE, name
        assert scores[name] > max(score for path, score in scores.items() if path not in odd)
