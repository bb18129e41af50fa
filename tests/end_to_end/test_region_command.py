"""Tests `--region` and `--locate` of `search query`, and `--region` of `search explain`."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

SUM_TOLERANCE = 1e-6
"""Tolerance between the sum of all shares and the collection's score, which Qdrant sums in float32."""

QUERY = "images/cat/0.png"
PART = "12,8,40,30"


@pytest.fixture(scope="module")
def library(make_shell: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory, draw: Any) -> Any:
    """Returns a shell beside `images/`, 12 of them in three classes, which two collections hold."""
    shell = make_shell(tmp_path_factory.mktemp("regions"))
    names = [f"{kind}/{number}.png" for kind in ("cat", "dog", "eel") for number in range(4)]
    draw(shell.folder / "images", *names)
    shutil.copyfile(shell.folder / QUERY, shell.folder / "images/cat/copy.png")
    done = shell.ingest("images", "--distance", "cosine", "--distance", "euclid")
    assert done.code == 0, done.err
    return shell


def query(library: Any, *words: str, data: bytes | None = None) -> list[dict[str, Any]]:
    """Returns the answers as JSON, without their times."""
    done = library("search", "query", "--distance", "cosine", *words, "--json", data=data)
    assert done.code == 0, done.err
    answers: list[dict[str, Any]] = done.json
    for answer in answers:
        answer.pop("took_ms")
    return answers


@pytest.mark.parametrize("region", ["0,0,64,48", "0%,0%,100%,100%"])
@pytest.mark.parametrize("word", [QUERY, "cat/0.png", "-"], ids=["file", "indexed", "stdin"])
def test_a_region_of_the_whole_image_is_no_region(library: Any, word: str, region: str) -> None:
    """The answer is the same, bit by bit, but for the region that it names."""
    data = (library.folder / QUERY).read_bytes() if word == "-" else None
    [whole] = query(library, word, data=data)
    [found] = query(library, word, "--region", region, data=data)
    assert found.pop("region") == {"x": 0, "y": 0, "width": 64, "height": 48}
    assert found == whole


@pytest.mark.parametrize("word", [QUERY, "cat/0.png", "-"], ids=["file", "indexed", "stdin"])
def test_a_region_is_one_of_any_image(library: Any, word: str) -> None:
    """Of a file, of an indexed image, whose file is read, and of standard input."""
    data = (library.folder / QUERY).read_bytes() if word == "-" else None
    [whole] = query(library, QUERY, "--include-self")
    [of_file] = query(library, QUERY, "--region", PART, "--include-self")
    [found] = query(library, word, "--region", PART, "--include-self", data=data)
    assert found["hits"] == of_file["hits"] != whole["hits"]
    assert found["region"] == {"x": 12, "y": 8, "width": 40, "height": 30}
    assert found["provider"] == "CPUExecutionProvider"


def test_percent_and_an_exif_orientation_mean_the_same_region(library: Any) -> None:
    """The region is one of the image as it is shown."""
    with Image.open(library.folder / QUERY) as image:
        exif = Image.Exif()
        exif[0x0112] = 6
        image.transpose(Image.Transpose.ROTATE_90).save(library.folder / "turned.png", exif=exif)
    [upright] = query(library, QUERY, "--region", PART, "--include-self")
    [turned] = query(library, "turned.png", "--region", PART, "--include-self")
    [percent] = query(library, QUERY, "--region", "18.75%,16.667%,62.5%,62.5%", "--include-self")
    assert upright["hits"] == turned["hits"] == percent["hits"]
    assert upright["region"] == percent["region"]


def test_the_same_bytes_are_left_out_as_without_a_region(library: Any) -> None:
    """The whole image would be the best hit; `--include-self` keeps it."""
    [found] = query(library, QUERY, "--region", PART)
    assert {"cat/0.png", "cat/copy.png"}.isdisjoint(hit["path"] for hit in found["hits"])
    assert [each["path"] for each in found["left_out"]] == ["cat/copy.png"]
    [kept] = query(library, QUERY, "--region", PART, "--include-self")
    assert {"cat/0.png", "cat/copy.png"} <= {hit["path"] for hit in kept["hits"]}


def test_examples_have_no_region(library: Any) -> None:
    """It is the query's alone; one that is smaller is no error."""
    Image.new("RGB", (5, 5), (200, 0, 0)).save(library.folder / "small.png")
    [found] = query(library, QUERY, "--region", PART, "--and", "small.png", "--not", "images/dog/1.png")
    assert found["hits"]


def test_a_region_has_no_estimates(library: Any) -> None:
    """Calibrations are learned from whole images; a region that is one keeps them."""
    folder = library.folder / "calibrated"
    for kind, colour in (("cat", 40), ("dog", 200)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        for number in range(30):
            level = np.random.default_rng(number).integers(0, 40, (32, 32, 3)) + colour
            Image.fromarray(level.astype(np.uint8)).save(folder / kind / f"{number}.png")
    store = ["--store", f"embedded:{library.folder / 'calibrated-store'}"]
    assert library.ingest("calibrated", *store).code == 0
    assert library("search", "calibrate", *store).code == 0
    file = "calibrated/cat/3.png"
    done = [
        library("search", "query", file, *store, "--json", *region).json[0]
        for region in ([], ["--region", "0,0,32,32"], ["--region", "0,0,16,16"])
    ]
    whole, all_of_it, part = ((each["unlike_anything"], each["hits"][0]["chance"]) for each in done)
    assert whole == all_of_it
    assert whole[0] is not None
    assert part == (None, None)


def test_one_region_applies_to_each_image_of_a_folder(library: Any, draw: Any) -> None:
    """Images that it reaches beyond are refused with their size, the others are answered."""
    draw(library.folder / "sizes", "a.png", size=(100, 80))
    draw(library.folder / "sizes", "b.png", size=(30, 30))
    done = library("search", "query", "sizes", "--region", "50,10,40,40", "--distance", "cosine", "--json")
    assert done.code == 4
    answered, refused = done.json
    assert answered["hits"]
    assert (refused["query"], refused["error"]) == ("sizes/b.png", "outside")
    assert "has 30 x 30 pixels, and the region 50,10,40,40 reaches beyond them" in done.err
    percent = query(library, "sizes", "--region", "50%,10%,40%,40%")
    assert [answer["region"]["width"] for answer in percent] == [40, 12]


@pytest.mark.parametrize(
    "region", ["1,2,3", "0,0,0,5", "10%,10,5,5", "-1,0,5,5", "nan,0,1,1", "0%,0%,101%,5%"]
)
@pytest.mark.parametrize("command", [["query", QUERY], ["explain", QUERY, "images/dog/0.png"]])
def test_a_malformed_region_is_wrong_usage(library: Any, command: list[str], region: str) -> None:
    """The message has an example."""
    done = library("search", *command, f"--region={region}")
    assert done.code == 2
    assert "--region: " in done.err
    assert "as 40,30,200,150 in pixels, or 10%,20%,50%,50%" in done.err.replace("\n", " ")


def test_an_indexed_image_with_a_region_needs_its_file(library: Any, draw: Any) -> None:
    """Its stored vector is that of the whole image; a changed or missing file is said to be so."""
    draw(library.folder / "gone", "cat/1.png", "cat/2.png")
    store = ["--store", f"embedded:{library.folder / 'gone-store'}"]
    assert library.ingest("gone", *store).code == 0
    draw(library.folder / "gone", "cat/1.png", seed=7)
    (library.folder / "gone/cat/2.png").unlink()
    changed = library("search", "query", "cat/1.png", "--region", PART, *store)
    assert (changed.code, "has changed since it was ingested" in changed.err) == (4, True)
    missing = library("search", "query", "cat/2.png", "--region", PART, *store)
    assert missing.code == 4
    assert "cat/2.png has a region, and its file cannot be read: " in missing.err
    assert library("search", "query", "cat/2.png", "--region", "0%,0%,100%,100%", *store).code == 0


@pytest.mark.parametrize("region", [[], ["--region", PART]], ids=["whole", "part"])
def test_shares_of_located_neighbours_sum_to_their_scores(library: Any, region: list[str]) -> None:
    """Each neighbour has its cells, the largest of them as a box, and the ninth with the largest part."""
    [found] = query(library, QUERY, "--locate", *region)
    for hit in found["hits"]:
        located = hit["located"]
        shares = np.array(located["shares"])
        assert shares.shape == (14, 14)
        assert shares.sum() == pytest.approx(hit["score"], abs=SUM_TOLERANCE)
        assert located["cell_part"] == pytest.approx(shares.max() / shares.sum())
        row, column = divmod(int(shares.argmax()), 14)
        cell = located["cell"]
        assert cell["y"] == pytest.approx(100 * row / 14)
        assert cell["x"] == pytest.approx(12.5 + 75 * column / 14)  # the centre square of 64 x 48
        assert 1 / 9 <= located["part"] <= 1
    [plain] = query(library, QUERY, *region)
    for hit in found["hits"]:
        del hit["located"]
    assert found == plain


def test_a_search_and_its_explanation_agree(library: Any) -> None:
    """`search explain --region` has the same score and the same shares."""
    [found] = query(library, QUERY, "--region", PART, "--locate")
    hit = found["hits"][0]
    words = [QUERY, hit["path"], "--region", PART, "--distance", "cosine"]
    [explained] = library("search", "explain", *words, "--json").json
    assert explained["region"] == found["region"]
    assert explained["query_vector"] == "computed"
    assert explained["score"] == pytest.approx(hit["score"], abs=SUM_TOLERANCE)
    for side in ("query_shares", "neighbour_shares"):
        assert np.sum(explained[side]) == pytest.approx(hit["score"], abs=SUM_TOLERANCE)
    assert np.allclose(explained["neighbour_shares"], hit["located"]["shares"], atol=SUM_TOLERANCE)
    text = library("search", "explain", *words, "--html", "why.html")
    assert text.out.startswith(f"{QUERY} (region {PART}) and {hit['path']}")
    assert f"{QUERY} (region {PART})" in (library.folder / "why.html").read_text(encoding="utf-8")
    indexed = library("search", "explain", "cat/0.png", *words[1:], "--json").json[0]
    assert indexed["query_vector"] == "computed"


def test_tables_and_pages_name_the_region_and_the_place(library: Any) -> None:
    """A column says where in each neighbour it is."""
    words = [QUERY, "--region", PART, "--locate", "--distance", "cosine", "--html", "found.html"]
    done = library("search", "query", *words)
    title, heading, first, *_ = done.out.splitlines()
    assert title.startswith(f"{QUERY} (region {PART}) in ")
    assert heading.split() == ["rank", "similarity", "where", "class", "path"]
    assert "%" in first
    page = (library.folder / "found.html").read_text(encoding="utf-8")
    assert f"Region: {PART} of 64 x 48 pixels" in page
    assert "the ninth of the image that the largest part of the similarity comes from" in page


@pytest.mark.parametrize("form", ["--paths", "--print0"])
def test_paths_alone_have_no_place(library: Any, form: str) -> None:
    """Nothing is embedded for an output that does not show it; a page shows it."""
    words = ["search", "query", QUERY, "--distance", "cosine", "--limit", "1", form, "--locate"]
    refused = library(*words)
    assert refused.code == 2
    assert "leave --locate out, or add --html" in refused.err.replace("\n", " ")
    assert library(*words, "--html", "paths.html").code == 0


def test_neighbours_without_a_usable_file_are_not_located(library: Any, draw: Any) -> None:
    """The reason is in the place; the others are located."""
    draw(library.folder / "lost", "cat/1.png", "cat/2.png", "cat/3.png")
    store = ["--store", f"embedded:{library.folder / 'lost-store'}"]
    assert library.ingest("lost", *store).code == 0
    draw(library.folder / "lost", "cat/1.png", seed=7)
    (library.folder / "lost/cat/2.png").unlink()
    done = library("search", "query", QUERY, "--locate", *store, "--json")
    located = {hit["path"]: hit["located"] for hit in done.json[0]["hits"]}
    assert located["cat/1.png"] == {"error": "unreadable"}
    assert located["cat/2.png"] == {"error": "vanished"}
    assert "shares" in located["cat/3.png"]


def test_a_fusion_has_regions_and_no_places(library: Any) -> None:
    """A fused score is no sum over cells; shares of a Euclidean collection sum to the cosine."""
    [status] = library("ingest", "status", "--json").json
    both = [word for each in status["collections"] for word in ("--collection", each["name"])]
    done = library("search", "query", QUERY, "--region", PART, *both, "--json")
    assert done.code == 0, done.err
    assert done.json[0]["region"]["width"] == 40
    refused = library("search", "query", QUERY, *both, "--locate")
    assert refused.code == 2
    assert "--locate: a fused score is no sum over cells; search one collection" in refused.err
    euclid = library("search", "query", QUERY, "--locate", "--distance", "euclid", "--json")
    located = euclid.json[0]["hits"][0]["located"]
    assert 0.5 < np.sum(located["shares"]) <= 1 + SUM_TOLERANCE


def test_vectors_that_are_no_averages_are_not_located(library: Any) -> None:
    """Maxima say nothing of other cells, so that a region is compared by its crop alone."""
    store = ["--store", f"embedded:{library.folder / 'max-store'}"]
    assert library.ingest("images", "--pooling", "max", *store).code == 0
    done = library("search", "query", QUERY, "--locate", *store)
    assert done.code == 2
    assert "cannot be explained cell by cell" in done.err
    with Image.open(library.folder / QUERY) as image:
        image.crop((12, 8, 52, 38)).save(library.folder / "cropped.png")
    words = [*store, "--include-self", "--json"]
    [cropped] = library("search", "query", "cropped.png", *words).json
    [found] = library("search", "query", QUERY, "--region", PART, *words).json
    assert found["hits"] == cropped["hits"]
