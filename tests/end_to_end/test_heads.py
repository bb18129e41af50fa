"""Tests a fitted head from the collection to the answer: fit, ingest, query, evaluate."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lookalike_core.images.scan import FoundFile
from lookalike_ingest.image_reader import ReadFile, read_image
from PIL import Image


@pytest.fixture(scope="module")
def fitted(make_shell: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Returns a shell with a collection of coloured noise in three classes, and a head fitted on two."""
    shell = make_shell(tmp_path_factory.mktemp("heads"))
    for number, name in enumerate(("ant", "bee", "cow")):
        for image in range(12):
            draw_noise(shell.folder / "pictures" / name / f"{image:02}.png", number, image)
    done = shell.ingest("pictures")
    assert done.code == 0, done.err
    fit = (
        "exporter",
        "fit",
        "--collection",
        base(shell),
        "--name",
        "pets",
        "--class",
        "ant",
        "--class",
        "bee",
    )
    done = shell(*fit, "--json")
    assert done.code == 0, done.err
    assert done.json[0]["classes"] == ["ant", "bee"]
    assert done.json[0]["split"]["training"] == 20
    done = shell("ingest", "run", "pictures", "--head", "pets", "--json")
    assert done.code == 0, done.err
    assert done.json[0]["from_stored"] == 36
    return shell


def draw_noise(path: Path, number: int, image: int) -> None:
    """Draws noise around a colour of its class."""
    random = np.random.default_rng(100 * number + image)
    pixels = random.integers(0, 120, (48, 48, 3))
    pixels[..., number] += random.integers(20, 130)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path)


def base(shell: Any) -> str:
    """Returns the name of the collection of the network itself."""
    names = [each["name"] for each in read_status(shell)]
    return min((name for name in names if "-pets-" not in name), key=len)


def headed(shell: Any) -> str:
    """Returns the name of the collection of the head."""
    [name] = [each["name"] for each in read_status(shell) if "-pets-" in each["name"]]
    return str(name)


def read_status(shell: Any) -> list[dict[str, Any]]:
    """Returns the collections that `ingest status` lists."""
    return list(shell("ingest", "status", "--json").json[0]["collections"])


def copy_home(fitted: Any, make_shell: Any, folder: Path) -> Any:
    """Copies the home into another folder, so that a test may change it; the images stay in place."""
    shell = make_shell(folder)
    shutil.copytree(fitted.folder / "home", folder / "home")
    return shell


def neighbours(shell: Any, collection: str) -> dict[str, list[str]]:
    """Returns the ten nearest neighbours of every image."""
    done = shell("search", "neighbours", "--collection", collection, "--format", "jsonl", "--exact")
    assert done.code == 0, done.err
    found: dict[str, list[str]] = {}
    for line in done.json:
        hits = line.get("neighbours") or line.get("hits")
        found[line["path"]] = [hit["path"] for hit in hits]
    return found


@pytest.mark.slow  # embeds a collection again
def test_stored_vectors_and_images_give_the_same_neighbours(
    fitted: Any, make_shell: Any, tmp_path: Path
) -> None:
    """A store without the base collection embeds every image with the head's own model."""
    other = f"embedded:{tmp_path / 'other'}"
    done = fitted("ingest", "run", "pictures", "--head", "pets", "--json", "--store", other)
    assert done.code == 0, done.err
    assert done.json[0]["from_stored"] == 0
    stored = neighbours(fitted, headed(fitted))
    shell = make_shell(fitted.folder)
    shell.environment["LOOKALIKE_STORE"] = other
    embedded = neighbours(shell, headed(fitted))
    shared = [len({*stored[path]} & {*embedded[path]}) / len(stored[path]) for path in stored]
    assert len(shared) == 36
    assert np.mean(shared) >= 0.99


def test_only_new_images_are_read(
    fitted: Any, make_shell: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images of the base collection take their vectors from it."""
    shell = copy_home(fitted, make_shell, tmp_path)
    images = tmp_path / "pictures"
    shutil.copytree(fitted.folder / "pictures", images)
    assert shell("ingest", "run", images, "--new-root", *shell.model).code == 0
    again = f"embedded:{tmp_path / 'home' / 'qdrant'}"
    shutil.rmtree(tmp_path / "home" / "qdrant" / headed(fitted))
    read: list[str] = []

    def read_and_note(found: FoundFile, *arguments: Any, **named: Any) -> ReadFile:
        read.append(found.path)
        return read_image(found, *arguments, **named)

    monkeypatch.setattr("lookalike_ingest.reading.read_image", read_and_note)
    draw_noise(images / "cow" / "new.png", 2, 99)
    done = shell("ingest", "run", images, "--head", "pets", "--json", "--store", again)
    assert done.code == 0, done.err
    assert read == ["cow/new.png"]
    assert done.json[0]["from_stored"] == 36
    assert done.json[0]["collections"][0]["added"] == 37
    assert done.json[0]["skipped"] == []
    payload = shell(
        "search", "query", "ant/00.png", "--head", "pets", "--json", "--limit", "40", "--store", again
    )
    assert len(payload.json[0]["hits"]) == 36


def test_a_query_selects_the_head_by_name(fitted: Any) -> None:
    """Without `--head`, the network's own collection is searched."""
    own = fitted("search", "query", "ant/00.png", "--json")
    assert own.json[0]["collection"] == base(fitted)
    done = fitted(
        "search", "query", fitted.folder / "pictures" / "ant" / "00.png", "--head", "pets", "--json"
    )
    assert done.code == 0, done.err
    assert done.json[0]["collection"] == headed(fitted)
    assert done.json[0]["hits"][0]["class"] == "ant"
    missing = fitted("search", "query", "ant/00.png", "--head", "nix")
    assert missing.code == 6
    assert fitted("search", "query", "ant/00.png", "--head", "pets", "--collection", "x").code == 2


def test_evaluate_separates_train_and_held_out_images(fitted: Any) -> None:
    """Figures are of trained, held-out and unseen classes; null where there is no head."""
    done = fitted("search", "evaluate", "--head", "pets", "--json")
    assert done.code == 0, done.err
    parts = {part["part"]: (part["pictures"], part["classes"]) for part in done.json[0]["head"]}
    assert parts == {"trained": (20, 2), "held-out": (4, 2), "unseen": (12, 1)}
    assert fitted("search", "evaluate", "--json").json[0]["head"] is None
    assert "not fitted to" in fitted("search", "evaluate", "--head", "pets").out


@pytest.fixture(scope="module")
def unlabelled(fitted: Any, make_shell: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Returns a shell with the same images, a head fitted without labels and its collection."""
    shell = copy_home(fitted, make_shell, tmp_path_factory.mktemp("unlabelled"))
    fit = ("exporter", "fit", "--collection", base(shell), "--name", "plain", "--unlabelled")
    done = shell(*fit)
    assert done.code == 0, done.err
    assert "without labels, 29 images" in done.out
    assert "method: Local Aggregation, pull 1, 10 clusterings of 29 images into 2 clusters" in done.out
    again = shell(*fit, "--json")
    assert again.code == 0, again.err
    assert (again.json[0]["made"], again.json[0]["classes"]) == (False, [])
    assert again.json[0]["held_out_against_training"]["after"]["queries"] == 7
    done = shell("ingest", "run", fitted.folder / "pictures", "--head", "plain", "--json")
    assert done.code == 0, done.err
    assert done.json[0]["from_stored"] == 36
    return shell


def test_a_head_without_labels_is_an_ordinary_head(fitted: Any, unlabelled: Any) -> None:
    """Queries, `evaluate`, `verify` and a rebuild from stored vectors take it; new images are a part."""
    image = fitted.folder / "pictures" / "ant" / "00.png"
    done = unlabelled("search", "query", image, "--head", "plain", "--json")
    assert done.code == 0, done.err
    assert "-plain-" in done.json[0]["collection"]
    assert len(done.json[0]["hits"]) == 10
    done = unlabelled("search", "evaluate", "--head", "plain", "--json")
    assert done.code == 0, done.err
    parts = {part["part"]: part["pictures"] for part in done.json[0]["head"]}
    assert parts == {"trained": 29, "new": 7}
    said = unlabelled("search", "evaluate", "--head", "plain").out
    assert "7 images" in said
    assert "images that the head without labels was not fitted to" in said
    done = unlabelled("exporter", "verify", "--head", "plain", "--json")
    assert done.code == 0, done.err
    assert {check["outcome"] for check in done.json[0]["checks"]} == {"ok"}
    done = unlabelled("ingest", "rebuild", plain(unlabelled), "--json")
    assert done.code == 0, done.err
    assert (done.json[0]["points"], done.json[0]["embedded"]) == (36, 0)


def plain(shell: Any) -> str:
    """Returns the name of the collection of the head without labels."""
    [name] = [each["name"] for each in read_status(shell) if "-plain-" in each["name"]]
    return str(name)


def test_options_that_a_fit_without_labels_excludes_exit_2(fitted: Any) -> None:
    """Classes, two methods, dimensions of principal values, and more values than images less one."""
    fit = ("exporter", "fit", "--collection", base(fitted), "--name", "x")
    for words, said in (
        (("--unlabelled", "--class", "ant"), "leave --class out"),
        (("--principal", "4", "--class", "ant"), "leave --class out"),
        (("--principal", "4", "--unlabelled"), "leave one of --unlabelled or --principal out"),
        (("--principal", "4", "--dims", "4"), "leave --dims out"),
        (("--principal", "29"), "choose 1 to 28"),
        (("--unlabelled", "--dims", "1000"), "choose 1 to "),
    ):
        done = fitted(*fit, *words)
        assert done.code == 2, (words, done.err)
        assert said in done.err


def test_explain_refuses_a_head(fitted: Any) -> None:
    """The head's mean belongs to no cell, so no shares can be computed."""
    done = fitted("search", "explain", "ant/00.png", "ant/01.png", "--collection", headed(fitted))
    assert done.code == 2
    assert f"--collection {base(fitted)}" in done.err


def test_a_missing_head_is_reported_with_a_remedy(fitted: Any, make_shell: Any, tmp_path: Path) -> None:
    """The exported model suffices; without it, queries exit 6, and evaluate still works."""
    shell = copy_home(fitted, make_shell, tmp_path)
    (tmp_path / "home" / "heads" / "pets.npz").unlink()
    image = fitted.folder / "pictures" / "ant" / "00.png"
    assert shell("search", "query", image, "--head", "pets").code == 0
    done = shell("search", "evaluate", "--head", "pets", "--json")
    assert (done.code, done.json[0]["head"]) == (0, None)
    assert "exporter fit" in done.err
    shutil.rmtree(tmp_path / "home" / "models")
    done = shell("search", "query", image, "--head", "pets")
    assert done.code == 6
    assert "pets.npz" in done.err
    assert "exporter fit" in done.err


def test_rebuild_applies_a_refitted_head(fitted: Any, make_shell: Any, tmp_path: Path) -> None:
    """Before the rebuild its collection is refused; the rebuild opens no image."""
    shell = copy_home(fitted, make_shell, tmp_path)
    fit = ("exporter", "fit", "--collection", base(fitted), "--name", "pets", "--dims", "8")
    refused = shell(*fit)
    assert refused.code == 2
    assert "--force" in refused.err
    assert shell(*fit, "--force").code == 0
    images = fitted.folder / "pictures"
    assert shell("ingest", "run", images, "--head", "pets").code == 6
    done = shell("ingest", "rebuild", headed(fitted), "--json")
    assert done.code == 0, done.err
    assert (done.json[0]["points"], done.json[0]["embedded"]) == (36, 0)
    [now] = [each for each in read_status(shell) if "-pets-" in each["name"]]
    assert now["manifest"]["identity"]["dimension"] == 8


def test_verify_compares_a_head_with_its_base(fitted: Any) -> None:
    """Every check of its model is run; network and options follow from the head."""
    done = fitted("exporter", "verify", "--head", "pets", "--json")
    assert done.code == 0, done.err
    assert {check["outcome"] for check in done.json[0]["checks"]} == {"ok"}
    for words in ([], ["--head", "pets", "--backbone", "vgg"], ["--head", "pets", "--pooling", "max"]):
        assert fitted("exporter", "verify", *words).code == 2


def test_label_tables_apply_to_a_head_s_collection(fitted: Any, make_shell: Any, tmp_path: Path) -> None:
    """The table sets the classes, while vectors still come from the base collection."""
    shell = copy_home(fitted, make_shell, tmp_path)
    table = tmp_path / "labels.csv"
    table.write_text("path,class\nant/00.png,cow\nbee/00.png,\n")
    words = ("ingest", "run", fitted.folder / "pictures", "--head", "pets", "--json")
    done = shell(*words, "--distance", "cosine", "--distance", "euclid", "--labels", table)
    assert done.code == 0, done.err
    assert [(each["added"], each["updated"]) for each in done.json[0]["collections"]] == [(0, 2), (36, 0)]
    assert done.json[0]["from_stored"] == 36
    classes = {each["name"]: each["classes"] for each in read_status(shell) if "-pets-" in each["name"]}
    assert list(classes.values()) == [{"ant": 11, "bee": 11, "cow": 13, "": 1}] * 2
    assert [each["updated"] for each in shell(*words).json[0]["collections"]] == [2]


def test_every_kind_of_query_accepts_a_head(fitted: Any) -> None:
    """A file, a folder, an indexed image by path and by id, more examples, and two fused collections."""
    images = fitted.folder / "pictures"
    asked = ("search", "query", "--head", "pets", "--json", "--limit", "3")
    by_file = fitted(*asked, images / "ant" / "00.png")
    [own] = fitted(*asked, "--include-self", "--limit", "1", images / "ant" / "00.png").json[0]["hits"]
    by_id = fitted(*asked, own["id"])
    by_path = fitted(*asked, "ant/00.png")
    found = [[hit["path"] for hit in done.json[0]["hits"]] for done in (by_file, by_id, by_path)]
    assert len(found[0]) == 3
    assert found[0] == found[1] == found[2]
    assert {each["collection"] for done in (by_file, by_id) for each in done.json} == {headed(fitted)}
    folder = fitted(*asked, images / "cow")
    assert folder.code == 0
    assert len(folder.json) == 12
    several = fitted(*asked, own["id"], "--and", images / "ant" / "01.png", "--not", "bee/00.png")
    assert several.code == 0, several.err
    fused = fitted(
        "search",
        "query",
        "ant/00.png",
        "--collection",
        base(fitted),
        "--collection",
        headed(fitted),
        "--json",
    )
    assert fused.code == 0, fused.err
    assert fused.json[0]["hits"][0]["class"] == "ant"
    assert fitted(*asked, "ant/00.png", "--backbone", "both").code == 2


def test_wrong_usage_exits_2(fitted: Any) -> None:
    """Names are invalid, network options stand beside a head, or the head is missing."""
    collection = base(fitted)
    for words in (
        ("exporter", "fit", "--collection", collection, "--name", "A B"),
        ("exporter", "fit", "--collection", headed(fitted), "--name", "more"),
        ("exporter", "fit", "--collection", collection, "--name", "x", "--class", "yak"),
        ("ingest", "run", "pictures", "--head", "nix"),
        ("ingest", "run", "pictures", "--head", "../pets"),
        ("ingest", "run", "pictures", "--head", "pets", "--backbone", "vgg"),
        ("search", "evaluate", "--head", "pets", "--all"),
    ):
        done = fitted(*words)
        assert done.code == 2, (words, done.err)
        assert "Traceback" not in done.err
    assert fitted("exporter", "fit", "--collection", "nix", "--name", "x").code == 6


def test_list_shows_models_with_heads(fitted: Any) -> None:
    """The identity of such a model names the head."""
    listed = [json.loads(line) for line in fitted("exporter", "list", "--json").out.splitlines()]
    assert sorted(each["identity"].get("head", "-")[:5] for each in listed) == ["-", "pets-"]
