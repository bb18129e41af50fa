"""Tests `search calibrate`: its output, what it records, when a calibration becomes stale, its refusals."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lookalike_core.errors import LookalikeError
from lookalike_core.models.calibration_curves import Calibration
from lookalike_core.progress import Bar, HiddenBar, shown_by
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_search.evaluation.calibration_run import calibrate_collection


@pytest.fixture(scope="module")
def calibrated(make_shell: Any, draw: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Returns a shell beside `images/`: 24 of two classes, one of no class, in two calibrated collections."""
    shell = make_shell(tmp_path_factory.mktemp("calibrated"))
    draw(shell.folder / "pictures", "plain.png", *(f"{c}/{n}.png" for c in ("cat", "dog") for n in range(12)))
    assert shell.ingest("pictures", "--distance", "cosine", "--distance", "euclid").code == 0
    return shell, shell("search", "calibrate", "--all", "--json")


@pytest.fixture
def copied(calibrated: Any, make_shell: Any, tmp_path: Path) -> Any:
    """Copies the calibrated shell, so that a test may write to it."""
    shell, _ = calibrated
    shutil.copytree(shell.folder / "home", tmp_path / "home")
    shutil.copytree(shell.folder / "pictures", tmp_path / "pictures")
    return make_shell(tmp_path)


def store_of(shell: Any) -> EmbeddedStore:
    """Opens the store of a shell."""
    return EmbeddedStore(shell.folder / "home/qdrant")


def calibrations(shell: Any) -> list[Calibration | None]:
    """Returns the calibration in each collection's manifest."""
    return [store_of(shell).manifest(name).calibration for name in store_of(shell).names()]


def test_a_calibration_is_printed_and_recorded(calibrated: Any) -> None:
    """Each collection is a JSON object, whose curves are those of the manifest, over Qdrant's own scores."""
    shell, done = calibrated
    assert done.code == 0, done.err
    cosine, euclid = done.json
    head = ["schema", "collection", "store", "created_at", "pictures", "unlabelled", "classes", "k", "pairs"]
    curves = ["neighbours", "verdicts", "threshold"]
    assert list(cosine) == [*head, "expected_calibration_error", *curves, "prediction_sets"]
    for found, recorded in zip((cosine, euclid), calibrations(shell), strict=True):
        assert recorded is not None
        assert (found["pictures"], found["unlabelled"], found["classes"], found["pairs"]) == (24, 1, 2, 240)
        assert (recorded.images, recorded.points) == (24, 25)
        error = found["expected_calibration_error"]
        assert error["neighbours"] == recorded.reliability.neighbours
        assert error["verdict"] == recorded.reliability.verdicts
        sign = 1 if found is cosine else -1
        scores = np.array([knot["score"] for knot in found["neighbours"]])
        chances = [knot["chance"] for knot in found["neighbours"]]
        np.testing.assert_allclose(recorded.chance(sign * scores), chances)
        assert found["threshold"]["score"] == sign * recorded.threshold.nearness
        assert recorded.conformal is not None
        sets = found["prediction_sets"]
        assert sets["pictures"] == recorded.conformal.images <= 24
        assert [(each["confidence"], each["pictures_needed"]) for each in sets["coverage"]] == [
            (0.8, 4),
            (0.9, 9),
            (0.95, 19),
            (0.99, 99),
        ]
        assert [each["coverage"] for each in sets["coverage"]] == [
            each.coverage for each in recorded.conformal.coverages
        ]
        assert found["verdicts"].keys() == {"majority", "nearer-ties", "nearest-class", "weighted"}


def test_the_text_has_errors_probabilities_and_the_threshold(copied: Any) -> None:
    """`search evaluate` prints the same calibration errors."""
    done = copied("search", "calibrate", "--distance", "euclid")
    assert done.code == 0, done.err
    for words in (
        "calibrated on 24 images of 2 classes",
        "1 image without a class",
        "expected calibration error, 10 bins, on held-out halves",
        "distance  same class, of the 10 nearest",
        "of the vote",
        "out-of-distribution: nearest image's distance over",
        "if no other of their class were indexed",
        "measured on held-out halves of them",
        "  needs 99 images",
        "  every class, as halves have fewer than 19 images",
    ):
        assert words in done.out
    errors = [line for line in done.out.splitlines() if line.startswith(("neighbours", "verdict,"))]
    evaluated = copied("search", "evaluate", "--distance", "euclid").out.splitlines()
    assert len(errors) == 6
    assert set(errors) <= set(evaluated)
    (found,) = copied("search", "evaluate", "--distance", "euclid", "--json").json
    said = found["expected_calibration_error"]["neighbours"]
    assert f"{said:.4f}" == errors[0].split()[-1]


def test_a_query_answers_with_a_prediction_set(calibrated: Any) -> None:
    """The line is the last one; percentages may be written in four ways, and the page shows the set."""
    shell, _ = calibrated
    lines = []
    for text in ("80%", "80 %", "80", "0.8", " 80.0% "):
        done = shell("search", "query", "cat/1.png", "--distance", "euclid", "--confidence", text)
        assert done.code == 0, done.err
        lines.append(done.out.splitlines()[-1])
    assert len(set(lines)) == 1
    assert lines[0].startswith("80 % prediction set: ")
    done = shell("search", "query", "cat/1.png", "--confidence", "99%", "--html", "a.html")
    assert "99 % prediction set: any of the 2 classes; it needs 99 calibrated images" in done.out
    assert "99 % prediction set: any of the 2 classes" in (shell.folder / "a.html").read_text("utf-8")
    (answer,) = shell("search", "query", "cat/1.png", "--confidence", "80%", "--json").json
    assert answer["prediction_set"]["confidence"] == 0.8
    (plain,) = shell("search", "query", "cat/1.png", "--json").json
    assert answer.keys() - plain.keys() == {"prediction_set"}
    assert answer["hits"] == plain["hits"]


@pytest.mark.parametrize("region", ["0,0,64,48", "0%,0%,100%,100%"])
def test_a_region_of_the_whole_image_has_the_same_prediction_set(calibrated: Any, region: str) -> None:
    """It equals no region."""
    shell, _ = calibrated
    ask = ("search", "query", "cat/1.png", "--confidence", "80%", "--json")
    (plain,) = shell(*ask).json
    done = shell(*ask, "--region", region)
    assert done.code == 0, done.err
    assert done.json[0]["prediction_set"] == plain["prediction_set"]


@pytest.mark.parametrize(
    "text",
    ["0", "0%", "100%", "100", "1", "-5%", "nan", "nan%", "inf", "half", "", f"99.{20 * '9'}%", "1e-400"],
)
def test_a_confidence_that_is_no_percentage_is_refused(calibrated: Any, text: str) -> None:
    """1 could mean 1 % or 100 %."""
    shell, _ = calibrated
    done = shell("search", "query", "cat/1.png", "--confidence", text)
    assert (done.code, done.out) == (2, "")
    assert "above 0 and below 100, such as 95%" in " ".join(done.err.split())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--class", "cat"], "leave --class out"),
        (["--dataset", "pictures"], "leave --dataset out"),
        (["--min-score", "0.1"], "leave --min-score out"),
        (["--include-self"], "leave --include-self out"),
        (["--without-near"], "leave --without-near out"),
        (["--and", "cat/2.png"], "leave --and and --not out"),
        (["--region", "0,0,32,48"], "for a part of cat/1.png; leave --region out"),
        (["--region", "0%,0%,100%,90%"], "for a part of cat/1.png; leave --region out"),
        (["--paths"], "print no prediction set"),
        (["--print0"], "print no prediction set"),
    ],
)
def test_a_confidence_with_another_kind_of_search_is_refused(
    calibrated: Any, options: list[str], words: str
) -> None:
    """The message says what to leave out."""
    shell, _ = calibrated
    done = shell("search", "query", "cat/1.png", "--confidence", "90%", *options)
    assert (done.code, done.out) == (2, "")
    assert words in " ".join(done.err.split())


def test_a_confidence_without_a_usable_calibration_is_refused(copied: Any, draw: Any) -> None:
    """One of an earlier version lacks the scores, and an ingest drops it; the message has the command."""
    name, _ = store_of(copied).names()
    ask = ["search", "query", "cat/1.png", "--collection", name, "--confidence", "90%"]
    [recorded, _] = calibrations(copied)
    assert recorded is not None
    with store_of(copied).open(name) as collection:
        collection.record_calibration(replace(recorded, conformal=None))
    done = copied(*ask)
    assert (done.code, done.out) == (2, "")
    assert f"of {name} is of an earlier version" in done.err
    assert f"calibrate again with: search calibrate --collection {name}" in done.err
    assert copied(*ask[:-2]).code == 0
    draw(copied.folder / "pictures", "cat/new.png")
    assert copied.ingest("pictures", "--new-root", "--distance", "cosine", "--distance", "euclid").code == 0
    done = copied(*ask)
    assert (done.code, done.out) == (2, "")
    assert f"{name} is not calibrated; run: search calibrate --collection {name}" in done.err
    assert copied("search", "calibrate", "--collection", name).code == 0
    assert copied(*ask).code == 0


def test_an_ingest_that_changes_images_reports_the_stale_calibration(copied: Any, draw: Any) -> None:
    """One line for each collection names the command that calibrates again; an unchanged run keeps it."""
    options = ["pictures", "--new-root", "--distance", "cosine", "--distance", "euclid"]
    assert "calibration" not in copied.ingest(*options).err
    assert None not in calibrations(copied)
    draw(copied.folder / "pictures", "cat/new.png")
    done = copied.ingest(*options)
    for name in store_of(copied).names():
        assert f"calibrate it again with: search calibrate --collection {name}" in done.err
    assert calibrations(copied) == [None, None]
    assert "calibration" not in copied.ingest(*options).err


def test_removals_and_rebuilds_report_the_stale_calibration(copied: Any) -> None:
    """Every command that takes points out reports it."""
    name, other = store_of(copied).names()
    done = copied("ingest", "rebuild", name)
    assert done.code == 0, done.err
    assert f"search calibrate --collection {name}" in done.err
    done = copied("ingest", "remove", "--dataset", "pictures", "--yes")
    assert f"search calibrate --collection {other}" in done.err
    assert f"search calibrate --collection {name}" not in done.err
    assert calibrations(copied) == [None, None]


def test_too_little_data_for_a_calibration_is_refused(shell: Any, draw: Any, tmp_path: Path) -> None:
    """With few images, one class, or no class, the message says what is missing; nothing is recorded."""
    assert shell("search", "calibrate").code == 6
    draw(tmp_path / "pictures", *(f"cat/{number}.png" for number in range(25)))
    shell.ingest("pictures")
    done = shell("search", "calibrate")
    assert (done.code, done.out) == (2, "")
    assert "needs 20 different images of 2 classes, and there are 25 of 1" in done.err
    draw(tmp_path / "few", "cat/1.png", "dog/1.png", "dog/2.png")
    shell.ingest("few")
    shell("ingest", "remove", "--dataset", "pictures", "--yes")
    done = shell("search", "calibrate", "--json")
    assert (done.code, done.out) == (2, "")
    assert "needs 20 different images of 2 classes, and there are 3 of 2" in done.err
    assert shell("search", "calibrate", "--all", "--collection", "x").code == 2
    assert calibrations(shell) == [None]


def test_a_calibration_of_points_that_changed_is_not_recorded(copied: Any) -> None:
    """The collection is not locked while the calibration is computed; a concurrent write makes it stale."""
    opened = store_of(copied)
    name, _ = opened.names()

    @contextmanager
    def meanwhile(_title: str, *, unit: str, total: int | None) -> Iterator[Bar]:
        """Gives an image another class while the calibration is computed."""
        yield HiddenBar()
        with opened.open(name) as collection:
            payload = next(payload for payload in collection.scan() if payload.class_name == "cat")
            collection.replace_payloads([replace(payload, class_name="dog")])

    with (
        shown_by(meanwhile),
        pytest.raises(LookalikeError, match="changed while it was being calibrated"),
    ):
        calibrate_collection(opened, name)
    assert opened.manifest(name).calibration is None


def test_both_networks_are_calibrated_as_they_are_fused(calibrated: Any) -> None:
    """`--backbone both` selects the collections of a fused search, and reports a missing one."""
    shell, _ = calibrated
    done = shell("search", "calibrate", "--backbone", "both")
    assert (done.code, done.out) == (6, "")
    assert "ingest run DIR --backbone resnet" in done.err


def test_only_likely_neighbours_are_shown_by_a_calibration(calibrated: Any) -> None:
    """A percentage or a number; the JSON counts what was left out, of a query and of all neighbours."""
    shell, _ = calibrated
    asked = ("search", "query", "cat/1.png", "--distance", "cosine", "--json")
    chances = [hit["chance"] for hit in shell(*asked).json[0]["hits"]]
    known = sorted(chance for chance in chances if chance is not None)
    floor = known[len(known) // 2]
    (answer,) = shell(*asked, "--min-chance", str(floor)).json
    assert [hit["chance"] for hit in answer["hits"]] == [c for c in chances if c is not None and c >= floor]
    assert answer["cut_off"] == 10 - len(answer["hits"])
    (same,) = shell(*asked, "--min-chance", f"{100 * Decimal(repr(floor))}%").json
    assert len(same["hits"]) == len(answer["hits"])
    every = shell("search", "neighbours", "--distance", "cosine", "--min-chance", str(floor), "--json")
    [own] = [each for each in every.json if each["path"] == "cat/1.png"]
    assert [hit["path"] for hit in own["hits"]] == [hit["path"] for hit in answer["hits"]]
    assert own["cut_off"] == answer["cut_off"]
    assert "left out, since their chance is below" in every.err
