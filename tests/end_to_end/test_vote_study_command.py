"""Tests `search evaluate` with several `--k`, and with `--noise`: its tables, JSON, CSV and refusals."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

RULES = ["majority", "nearer-ties", "nearest-class", "nearest-of-all", "weighted"]
STUDY = ("--distance", "cosine", "--k", "1,3,10", "--noise", "20", "--sample", "6")


@pytest.fixture(scope="module")
def noisy(ingested: Any) -> Any:
    """Returns the evaluation of the drawn images with a study of noise, and its CSV file."""
    file = ingested.folder / "votes.csv"
    done = ingested("search", "evaluate", *STUDY, "--json", "--csv", file)
    assert done.code == 0, done.err
    with file.open(encoding="utf-8", newline="") as table:
        return done.json[0], list(csv.DictReader(table))


def test_a_single_k_is_no_study(ingested: Any) -> None:
    """The JSON and the table are as they are without the option."""
    plain = ingested("search", "evaluate", "--distance", "cosine", "--json")
    assert ingested("search", "evaluate", "--distance", "cosine", "--k", "10", "--json").out == plain.out
    assert "vote_study" not in plain.json[0]
    assert "right votes over k" not in ingested("search", "evaluate", "--distance", "cosine").out


def test_several_k_have_the_figures_of_single_ones(ingested: Any) -> None:
    """They are sorted, each once; 10 neighbours vote for the other figures."""
    for distance in ("cosine", "euclid"):
        words = ("search", "evaluate", "--distance", distance, "--json")
        [found] = ingested(*words, "--k", "7, 2,10,2").json
        assert found["k"] == 10
        study = found.pop("vote_study")
        assert found == ingested(*words).json[0]
        assert (study["provider"], study["left_out"], study["levels"]) == (None, 0, [])
        [part] = study["parts"]
        assert (part["noise"], part["pictures"]) == (None, 12)
        assert [each["k"] for each in part["votes"]] == [2, 7, 10]
        for each in part["votes"]:
            assert list(each["accuracy"]) == RULES
            [alone] = ingested(*words, "--k", str(each["k"])).json
            assert {rule: each["accuracy"][rule] for rule in alone["accuracy"]} == alone["accuracy"]
        assert {(each["rule"], each["k"]) for each in study["rules"]} == {
            (rule, k) for rule in RULES[1:] for k in (2, 7, 10)
        }


def test_noise_is_studied_on_a_sample(noisy: Any) -> None:
    """The images are embedded again, without noise too; each level is compared with none."""
    study = noisy[0]["vote_study"]
    assert study["provider"] == "CPUExecutionProvider"
    assert [(part["noise"], part["pictures"]) for part in study["parts"]] == [(None, 12), (0, 6), (20, 6)]
    assert {each["noise"] for each in study["rules"]} == {None, 0, 20}
    assert {(each["noise"], each["against_noise"]) for each in study["levels"]} == {(20, 0)}
    for each in study["levels"]:
        calm, loud = (
            next(votes for votes in part["votes"] if votes["k"] == each["k"])["accuracy"][each["rule"]]
            for part in study["parts"][1:]
        )
        assert each["value"] == pytest.approx(loud["value"] - calm["value"])


def test_verdicts_without_noise_are_those_of_the_stored_vectors(noisy: Any) -> None:
    """The CSV has a column for each vote, empty for images outside of the sample."""
    _, rows = noisy
    sampled = [row for row in rows if row["verdict_majority_of_3_noise_0"]]
    assert (len(rows), len(sampled)) == (12, 6)
    for rule in (rule.replace("-", "_") for rule in RULES):
        for k in (1, 3, 10):
            assert all(row[f"verdict_{rule}_of_{k}"] for row in rows)
            for row in sampled:
                assert row[f"verdict_{rule}_of_{k}_noise_0"] == row[f"verdict_{rule}_of_{k}"]
            assert sum(bool(row[f"verdict_{rule}_of_{k}_noise_20"]) for row in rows) == 6


def test_a_study_depends_on_its_seed_alone(ingested: Any, noisy: Any) -> None:
    """The same words give the same bytes; another seed draws another sample."""
    file = ingested.folder / "again.csv"
    [again] = ingested("search", "evaluate", *STUDY, "--json", "--csv", file).json
    assert again == noisy[0]
    assert file.read_bytes() == (ingested.folder / "votes.csv").read_bytes()
    other = ingested("search", "evaluate", *STUDY, "--seed", "1", "--json", "--csv", file)
    assert other.code == 0
    assert file.read_bytes() != (ingested.folder / "votes.csv").read_bytes()


def test_the_tables_fit_a_hundred_columns(ingested: Any) -> None:
    """Each level has its table, and says what it measured."""
    out = ingested("search", "evaluate", *STUDY).out
    study = out[out.index("right votes over k") :].splitlines()
    assert max(map(len, study)) <= 100
    titles = [line for line in study if line.startswith("right votes")]
    assert [title.rpartition(" of ")[2] for title in titles] == [
        "12 images by their stored vectors",
        "6 images embedded again with noise 0",
        "6 images embedded again with noise 20",
    ]
    for rule in RULES:
        assert sum(rule in line for line in study if line.startswith("    k")) == 3
    assert "corrected (Holm) for 24 comparisons of rules with the majority" in "\n".join(study)


def test_the_plot_and_the_page_show_the_study(ingested: Any) -> None:
    """The plot shows the votes instead of the confusion; the page has both."""
    plot, page = ingested.folder / "votes.svg", ingested.folder / "votes.html"
    done = ingested("search", "evaluate", *STUDY, "--plot", plot, "--html", page)
    assert done.code == 0, done.err
    drawn, text = plot.read_text(encoding="utf-8"), page.read_text(encoding="utf-8")
    assert "nearest-of-all" in drawn
    assert "noise 20, 6 images" in drawn
    assert "Classes of the ten neighbours" not in drawn
    assert "Votes over k and noise" in text
    assert "Confusion table" in text


def test_a_fusion_is_studied_over_k_and_not_with_noise(ingested: Any) -> None:
    """Noise is refused at once where a fusion is asked for."""
    both = ("--collection", "A", "--collection", "B", "--fusion", "rrf")
    names = [each["name"] for each in ingested("ingest", "status", "--json").json[0]["collections"]]
    words = ["search", "evaluate", *(names["AB".index(word)] if word in "AB" else word for word in both)]
    *_, fused = ingested(*words, "--k", "1,3", "--json").json
    assert [each["k"] for each in fused["vote_study"]["parts"][0]["votes"]] == [1, 3]
    done = ingested(*words, "--noise", "10")
    assert (done.code, done.out) == (2, "")
    assert "--noise: noise is studied in single collections, not in fusions of them" in done.err
    done = ingested("search", "evaluate", "--all", "--noise", "10", "--sample", "3", "--json")
    assert [len(each["vote_study"]["parts"]) for each in done.json] == [3, 3]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--k", "0"], "--k: '0' is not one of the whole numbers from 1 to 1,000"),
        (["--k", "-1"], "--k: '-1' is not one"),
        (["--k", "1,x"], "--k: 'x' is not one"),
        (["--k", "1,,5"], "--k: '' is not one"),
        (["--k", "1.5"], "--k: '1.5' is not one"),
        (["--k", "1001"], "--k: '1001' is not one"),
        (["--noise", "-1"], "--noise: '-1' is not one of the numbers from 0 to 255"),
        (["--noise", "nan"], "--noise: 'nan' is not one"),
        (["--noise", "10,300"], "--noise: '300' is not one"),
        (["--noise", ""], "--noise: '' is not one"),
        (["--sample", "9"], "--sample is for images with noise; add --noise, or leave it out"),
        (["--k", "1,5", "--provider", "cpu"], "--provider is for images with noise"),
        (["--threads", "1"], "--threads is for images with noise"),
        (["--require-gpu"], "--require-gpu is for images with noise"),
        (["--noise", "10", "--sample", "0"], "--sample"),
    ],
)
def test_invalid_studies_are_refused(ingested: Any, words: list[str], message: str) -> None:
    """The message says what is wrong, and how several numbers are given."""
    done = ingested("search", "evaluate", *words)
    assert (done.code, done.out) == (2, "")
    assert message in done.err.replace("\n", " ")


def test_missing_files_are_left_out_of_the_sample(make_shell: Callable[[Path], Any], tmp_path: Path) -> None:
    """A warning counts them; without any file the command ends as for an unreadable query."""
    shell = make_shell(tmp_path)
    for number in range(6):
        for name, colour in (("dark", 20 * number), ("light", 255 - 20 * number)):
            (tmp_path / "photos" / name).mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (32, 32), (colour, 30, 30)).save(tmp_path / "photos" / name / f"{number}.png")
    assert shell.ingest("photos").code == 0
    (tmp_path / "photos/dark/3.png").unlink()
    done = shell("search", "evaluate", "--noise", "10", "--json")
    assert done.code == 0, done.err
    assert done.json[0]["vote_study"]["left_out"] == 1
    assert [part["pictures"] for part in done.json[0]["vote_study"]["parts"]] == [12, 11, 11]
    assert "cannot be embedded again: 1 image (1 vanished)" in done.err
    shutil.move(tmp_path / "photos", tmp_path / "gone")
    done = shell("search", "evaluate", "--noise", "10")
    assert done.code == 4
    assert "none of the 12 images" in done.err


def test_distances_and_tiny_collections_are_studied(
    make_shell: Callable[[Path], Any], tmp_path: Path
) -> None:
    """Two images of one class vote for it, by a Euclidean distance too; too few have no interval."""
    shell = make_shell(tmp_path)
    for number in range(2):
        (tmp_path / "photos" / "one").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (32, 32), (90 * number, 30, 30)).save(tmp_path / "photos" / "one" / f"{number}.png")
    assert shell.ingest("photos", "--distance", "euclid", "--distance", "cosine").code == 0
    words = ("search", "evaluate", "--all", "--k", "1,5", "--noise", "20")
    done = shell(*words, "--json")
    assert done.code == 0, done.err
    for found in done.json:
        assert [part["pictures"] for part in found["vote_study"]["parts"]] == [2, 2, 2]
        for votes in (votes for part in found["vote_study"]["parts"] for votes in part["votes"]):
            assert votes["tied"] == {"value": 0, "low": None, "high": None}
            assert {figure["value"] for figure in votes["accuracy"].values()} == {1}
    assert "nan" not in shell(*words).out


def test_a_dataset_alone_is_studied(ingested: Any) -> None:
    """The sample and the neighbours are of the dataset; near-duplicates can be left out."""
    done = ingested("search", "evaluate", *STUDY, "--without-near", "--near-above", "0")
    assert done.code == 2, "nothing is left to be found"
    assert "no image with another of its class to find" in done.err
    words = ["--dataset", "pictures", "--without-near", "--near-above", "0.9999"]
    [found] = ingested("search", "evaluate", *STUDY, *words, "--json").json
    assert [part["pictures"] for part in found["vote_study"]["parts"]] == [12, 6, 6]
    assert ingested("search", "evaluate", "--dataset", "other", "--k", "1,5").code == 2
