"""Tests `search query`: its table, its JSON, its filters and its failures."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image


def hit_paths(answer: dict[str, Any]) -> list[str]:
    """Returns the paths of an answer's hits, in order."""
    return [hit["path"] for hit in answer["hits"]]


def test_the_table_has_ten_neighbours_best_first(ingested: Any) -> None:
    """Rows have rank, score, class and path, below query and collection; the verdict is the last line."""
    done = ingested("search", "query", "query.png")
    assert done.code == 0, done.err
    heading, columns, *rows, _verdict = done.out.splitlines()
    assert heading.startswith("query.png in vgg16-block1_conv1-w")
    assert columns.split() == ["rank", "similarity", "class", "path"]
    assert [row.split()[0] for row in rows] == [str(rank) for rank in range(1, 11)]
    scores = [float(row.split()[1]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    assert all(row.split()[3].startswith(row.split()[2] + "/") for row in rows)


def test_euclidean_distances_ascend(ingested: Any) -> None:
    """The best hit has the smallest distance, and the column is named distance."""
    done = ingested("search", "query", "query.png", "--distance", "euclid")
    assert "distance" in done.out.splitlines()[1]
    scores = [float(row.split()[1]) for row in done.out.splitlines()[2:-1]]
    assert len(scores) == 10
    assert scores == sorted(scores)


def test_json_has_every_documented_key(ingested: Any) -> None:
    """The object has the documented keys, and paths of existing files."""
    (answer,) = ingested("search", "query", "query.png", "--json").json
    expected = (
        "schema query collection backbone layer pooling distance provider store took_ms verdict "
        "unlike_anything left_out left_out_total passed_over cut_off hits"
    )
    assert list(answer) == expected.split()
    assert list(answer["verdict"]) == ["rule", "k", "voters", "class", "share", "chance"]
    assert (answer["schema"], answer["backbone"], answer["layer"]) == (1, "vgg16", "block1_conv1")
    assert (answer["distance"], answer["store"]) == ("cosine", "embedded")
    assert set(answer["took_ms"]) == {"load", "embed", "search"}
    hit = answer["hits"][0]
    assert list(hit) == ["rank", "score", "chance", "class", "dataset", "path", "file", "id"]
    assert hit["file"] == str(ingested.folder / "pictures" / hit["path"])


def test_several_queries_share_one_model(ingested: Any) -> None:
    """The load time is 0 from the second answer on."""
    answers = ingested("search", "query", "query.png", "pictures/square/crimson.png", "--json").json
    assert [answer["query"] for answer in answers] == ["query.png", "pictures/square/crimson.png"]
    assert answers[0]["took_ms"]["load"] > 0
    assert answers[1]["took_ms"]["load"] == 0


def test_the_query_itself_is_left_out_by_default(ingested: Any) -> None:
    """Files with equal bytes count as the query, whatever their name."""
    shutil.copy(ingested.folder / "pictures/circle/crimson.png", ingested.folder / "renamed.png")
    (without,) = ingested("search", "query", "renamed.png", "--json").json
    (with_it,) = ingested("search", "query", "renamed.png", "--json", "--include-self").json
    assert "circle/crimson.png" not in hit_paths(without)
    assert hit_paths(with_it)[0] == "circle/crimson.png"
    assert with_it["hits"][0]["score"] == pytest.approx(1, abs=1e-5)


def test_filters_and_limit_narrow_the_answer(ingested: Any) -> None:
    """`--class` and `--dataset` filter the hits, `--limit` truncates them."""
    (answer,) = ingested("search", "query", "query.png", "--class", "stripes", "--json").json
    assert {hit["class"] for hit in answer["hits"]} == {"stripes"}
    assert len(answer["hits"]) == 4
    (answer,) = ingested("search", "query", "query.png", "--limit", "3", "--exact", "--json").json
    assert len(answer["hits"]) == 3
    done = ingested("search", "query", "query.png", "--min-score", "1")
    assert done.code == 0
    assert "none reaches 1; the nearest has 0." in done.out


def test_an_unknown_class_exits_2_with_a_suggestion(ingested: Any) -> None:
    """A misspelt class gives neither an empty answer nor an unfiltered one."""
    for words in (["query", "query.png"], ["neighbours"]):
        done = ingested("search", *words, "--class", "strypes")
        assert done.code == 2
        assert "--class: there is no class strypes in " in done.err
        assert "nearest: stripes" in done.err


def test_left_out_files_are_named(ingested: Any) -> None:
    """The file with the query's bytes is named in table, JSON and beside paths; else nothing is."""
    copy = ingested.folder / "pictures/circle/crimson.png"
    shutil.copy(copy, ingested.folder / "download.png")
    line = f"1 image with the same bytes left out: {copy}; --include-self keeps them"
    table = ingested("search", "query", "download.png").out.splitlines()
    assert table[-2] == line
    assert line in ingested("search", "query", "download.png", "--paths").err
    (answer,) = ingested("search", "query", "download.png", "--json").json
    assert [each["file"] for each in answer["left_out"]] == [str(copy)]
    assert answer["left_out_total"] == 1
    for words in (
        ["download.png", "--include-self"],
        ["pictures/circle/crimson.png"],
        ["circle/crimson.png"],
    ):
        assert "same bytes" not in ingested("search", "query", *words).out


def test_the_next_page_continues_the_ranks(ingested: Any) -> None:
    """JSON and table agree."""
    (whole,) = ingested("search", "query", "query.png", "--limit", "9", "--json").json
    (page,) = ingested("search", "query", "query.png", "--limit", "4", "--offset", "5", "--json").json
    assert page["hits"] == whole["hits"][5:]
    assert page["verdict"] == whole["verdict"]
    table = ingested("search", "query", "query.png", "--limit", "1", "--offset", "5").out.splitlines()
    assert table[2].split()[0] == "6"


def test_paths_alone_can_be_piped(ingested: Any) -> None:
    """The paths of each query follow in turn, one a line or each terminated by NUL."""
    (answer,) = ingested("search", "query", "query.png", "--json").json
    files = [hit["file"] for hit in answer["hits"]]
    done = ingested("search", "query", "query.png", "query.png", "--paths")
    assert done.out.splitlines() == files * 2
    assert ingested("search", "query", "query.png", "--print0").out == "".join(f"{file}\0" for file in files)


def test_the_dataset_is_shown_where_paths_collide(make_shell: Any, tmp_path: Path, draw: Any) -> None:
    """Paths collide, for example, after a folder was renamed and ingested again."""
    shell = make_shell(tmp_path)
    draw(tmp_path / "old", "cat/1.png", "cat/2.png")
    shell.ingest("old")
    (tmp_path / "old").rename(tmp_path / "new")
    shell.ingest("new")
    _, heading, *rows, _verdict = shell("search", "query", "new/cat/1.png", "--include-self").out.splitlines()
    assert heading.split() == ["rank", "similarity", "class", "dataset", "path"]
    assert sorted(row.split()[3:] for row in rows) == [
        ["new", "cat/1.png"],
        ["new", "cat/2.png"],
        ["old", "cat/1.png"],
        ["old", "cat/2.png"],
    ]
    one = shell("search", "query", "new/cat/1.png", "--dataset", "new", "--include-self").out.splitlines()[1]
    assert "dataset" not in one


def test_a_query_may_come_from_standard_input(ingested: Any) -> None:
    """`-` gives the same neighbours as the file."""
    data = (ingested.folder / "query.png").read_bytes()
    (piped,) = ingested("search", "query", "-", "--json", data=data).json
    (named,) = ingested("search", "query", "query.png", "--json").json
    assert piped["query"] == "-"
    assert piped["hits"] == named["hits"]


def test_an_unreadable_query_exits_4_and_the_others_are_answered(ingested: Any) -> None:
    """One JSON object has the error, the next one an answer."""
    (ingested.folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    done = ingested("search", "query", "broken.jpg", "query.png", "--json")
    assert done.code == 4
    assert done.json[0] == {"schema": 1, "query": "broken.jpg", "error": "truncated"}
    assert len(done.json[1]["hits"]) == 10


def test_a_collection_can_be_named(ingested: Any) -> None:
    """`--collection` selects any collection without further options."""
    (first,) = ingested("search", "query", "query.png", "--distance", "euclid", "--json").json
    (second,) = ingested("search", "query", "query.png", "--collection", first["collection"], "--json").json
    assert second["hits"] == first["hits"]


def test_a_missing_collection_exits_6_and_lists_the_others(ingested: Any) -> None:
    """The message lists the collections, and the command that would make the missing one."""
    done = ingested("search", "query", "query.png", "--collection", "resnet101v2-euclid")
    assert done.code == 6
    assert "vgg16-block1_conv1-w" in done.err
    assert "ingest run DIR --backbone resnet --distance euclid" in done.err
    assert ingested("search", "query", "query.png", "--backbone", "resnet").code == 6


def test_an_empty_store_exits_6(shell: Any) -> None:
    """The message names the first command to run."""
    done = shell("search", "query", "query.png")
    assert done.code == 6
    assert "ingest run DIR" in done.err


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["query.png", "--limit", "0"],
        ["query.png", "--distance", "manhattan"],
        ["query.png", "--bogus"],
        ["-", "-"],
        ["query.png", "--offset", "-1"],
        ["query.png", "--min-score", "1.5"],
        ["query.png", "--min-score", "nan"],
        ["query.png", "--max-distance", "1"],
        ["query.png", "--paths", "--json"],
        ["query.png", "--collection", "x", "--backbone", "vgg"],
    ],
)
def test_wrong_usage_exits_2(ingested: Any, words: list[str]) -> None:
    """Stdout is empty, and stderr has a message."""
    done = ingested("search", "query", *words, data=b"")
    assert (done.code, done.out) == (2, "")
    assert done.err


def test_a_collection_of_another_preprocessing_exits_6(make_shell: Any, tmp_path: Any) -> None:
    """Its model exists, but the query's preprocessing by this version is of another space."""
    shell = make_shell(tmp_path)
    Image.new("RGB", (40, 40), "teal").save(tmp_path / "query.png")
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (50, 40), "coral").save(tmp_path / "pictures/a.png")
    assert shell.ingest("pictures").code == 0
    for path in [*tmp_path.glob("home/qdrant/*/manifest.json"), *tmp_path.glob("home/models/*.json")]:
        path.write_text(path.read_text().replace("crop-bicubic", "squash-nearest"))
    done = shell("search", "query", "query.png")
    assert (done.code, done.out) == (6, "")
    assert "squash-nearest" in done.err
    assert "crop-bicubic" in done.err


def test_an_unreadable_collection_does_not_hide_the_others(make_shell: Any, tmp_path: Any) -> None:
    """A warning names it; selecting it by name is refused."""
    shell = make_shell(tmp_path)
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (50, 40), "coral").save(tmp_path / "pictures/a.png")
    Image.new("RGB", (40, 40), "teal").save(tmp_path / "query.png")
    shell.ingest("pictures", "--distance", "cosine", "--distance", "euclid")
    (broken,) = tmp_path.glob("home/qdrant/*-cosine/manifest.json")
    broken.write_text(broken.read_text().replace('"schema": 1', '"schema": 2'))
    done = shell("search", "query", "query.png")
    assert done.code == 0
    assert "-cosine is skipped" in done.err
    assert shell("search", "query", "query.png", "--collection", broken.parent.name).code == 6
    assert len(shell("ingest", "status", "--json").json[0]["collections"]) == 1


def test_a_missing_store_is_reported_with_similar_names(shell: Any) -> None:
    """A misspelt path is not reported as an empty store."""
    (shell.folder / "photos.index").mkdir()
    Image.new("RGB", (40, 40), "teal").save(shell.folder / "query.png")
    done = shell("search", "query", "query.png", "--store", "embedded:fotos.index")
    assert (done.code, done.out) == (6, "")
    said = f"none, for {shell.folder}/fotos.index does not exist, but {shell.folder}/photos.index does"
    assert said in done.err
    done = shell("search", "query", "query.png", "--store", "embedded:photos.index")
    assert "available: none. Create it with" in done.err


def test_a_collection_without_a_manifest_is_not_an_empty_store(make_shell: Any, tmp_path: Any) -> None:
    """Every command reports its vectors and a remedy, and leaves them unchanged."""
    shell = make_shell(tmp_path)
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (50, 40), "coral").save(tmp_path / "pictures/a.png")
    Image.new("RGB", (40, 40), "teal").save(tmp_path / "query.png")
    assert shell.ingest("pictures").code == 0
    (manifest,) = tmp_path.glob("home/qdrant/*/manifest.json")
    content, folder, name = manifest.read_text(), manifest.parent, manifest.parent.name
    manifest.unlink()
    advice = (
        f"{folder} has no manifest of lookalike's; it was not changed: put manifest.json back from a backup, "
        "or remove"
    )
    for words in (
        ["search", "query", "query.png"],
        ["search", "query", "query.png", "--collection", name],
        ["ingest", "run", "pictures", *shell.model],
        ["ingest", "rebuild", name],
        ["exporter", "fit", "--collection", name, "--name", "pets"],
    ):
        done = shell(*words)
        assert (done.code, done.out) == (6, ""), words
        assert advice in done.err, words
        assert "none. Make it" not in done.err
    status = shell("ingest", "status")
    assert (status.code, advice in status.err) == (0, True)
    manifest.write_text(content)
    assert shell("search", "query", "query.png").code == 0


def test_characters_that_a_terminal_cannot_encode_are_escaped(make_shell: Any, tmp_path: Any) -> None:
    """The table is complete in any encoding."""
    shell = make_shell(tmp_path)
    (tmp_path / "pictures").mkdir()
    Image.new("RGB", (50, 40), "coral").save(tmp_path / "pictures/\u732b.png")
    Image.new("RGB", (40, 40), "teal").save(tmp_path / "query.png")
    shell.ingest("pictures")
    done = shell("search", "query", "query.png", PYTHONIOENCODING="latin-1")
    assert done.code == 0, done.err
    assert "\\u732b.png" in done.out


def test_json_of_undecodable_names_is_valid(
    make_shell: Callable[[Path], Any], draw: Any, tmp_path: Path
) -> None:
    """Queries and folder listings, readable or not, write such a name in the same way."""
    shell = make_shell(tmp_path)
    draw(tmp_path / "pictures", "cat/a.png", "cat/b.png")
    odd = tmp_path / "pictures" / os.fsdecode(b"q\xff.png")
    empty = tmp_path / "pictures" / os.fsdecode(b"empty\xff.png")
    try:
        shutil.copy(tmp_path / "pictures/cat/a.png", odd)
    except OSError:
        pytest.skip("this file system refuses such a name")
    empty.write_bytes(b"")
    taken = shell.ingest("pictures", "--json")
    asked = shell("search", "query", str(odd), str(empty), "pictures", "--and", str(odd), "--json")
    explained = shell("search", "explain", str(odd), "pictures/cat/b.png", "--json")
    for done in (taken, asked, explained):
        assert done.json, done.err
        json.dumps(done.json, ensure_ascii=False).encode()
    assert [entry["path"] for entry in taken.json[0]["skipped"]] == ["empty\ufffd.png", "q\ufffd.png"]
    shown = [answer["query"] for answer in asked.json]
    assert shown[:2] == [f"{tmp_path}/pictures/{name}\ufffd.png" for name in ("q", "empty")]
    assert {"pictures/q\ufffd.png", "pictures/empty\ufffd.png"} <= set(shown[2:])


def test_a_closed_standard_input_is_an_empty_query(ingested: Any) -> None:
    """The other queries are answered."""
    done = ingested("search", "query", "-", "query.png", "--json", data=b"")
    assert done.code == 4
    assert (done.json[0]["query"], done.json[0]["error"]) == ("-", "empty")
    assert "error: standard input is empty" in done.err
    assert len(done.json[1]["hits"]) == 10


@pytest.mark.parametrize("rule", ["majority", "nearer-ties", "nearest-class", "weighted"])
def test_neighbours_vote_for_a_class(ingested: Any, rule: str) -> None:
    """A circle is classified as one by every rule; its share is that of the votes cast."""
    done = ingested("search", "query", "query.png", "--vote", rule, "--k", "3", "--json", "--limit", "1")
    (answer,) = done.json
    assert len(answer["hits"]) == 1
    assert (answer["verdict"]["rule"], answer["verdict"]["k"]) == (rule, 3)
    assert answer["verdict"]["class"] == "circle"
    assert 1 / 3 <= answer["verdict"]["share"] <= 1
    said = ingested("search", "query", "query.png", "--vote", rule, "--k", "3").out.splitlines()[-1]
    assert said.startswith("verdict: circle, ")
    assert said.endswith(f" of 3 neighbours' votes ({rule})")


def test_a_filter_by_one_class_gives_no_verdict(ingested: Any) -> None:
    """With `--class circle`, every neighbour has that class."""
    (answer,) = ingested("search", "query", "query.png", "--class", "stripes", "--json").json
    assert answer["verdict"] is None


def test_an_indexed_image_is_a_query_by_path_and_by_id(ingested: Any) -> None:
    """The neighbours are those of its file, and no model is loaded."""
    (by_file,) = ingested("search", "query", "pictures/circle/crimson.png", "--json").json
    done = ingested("search", "query", "circle/crimson.png", "pictures/circle/crimson.png", "--json")
    assert hit_paths(done.json[0]) == hit_paths(by_file)
    assert done.json[0]["provider"] is None
    assert done.json[1]["provider"] == by_file["provider"] == "CPUExecutionProvider"
    (hit,) = ingested("search", "query", "circle/seagreen.png", "--limit", "1", "--json").json[0]["hits"]
    done = ingested("search", "query", hit["id"], "--json")
    assert done.json[0]["query"] == hit["id"]
    assert done.json[0]["provider"] is None
    assert "runs on" not in done.err
    assert hit["path"] not in hit_paths(done.json[0])


def test_a_folder_queries_each_of_its_images(ingested: Any) -> None:
    """Answers are in the order of paths; an unreadable file is reported in its place."""
    folder = ingested.folder / "asked"
    (folder / "more").mkdir(parents=True)
    shutil.copy(ingested.folder / "query.png", folder / "a.png")
    shutil.copy(ingested.folder / "query.png", folder / "more/c.png")
    (folder / "b.png").write_text("hello", encoding="utf-8")
    done = ingested("search", "query", "asked", "--limit", "1", "--json")
    assert done.code == 4
    assert [answer["query"] for answer in done.json] == ["asked/a.png", "asked/b.png", "asked/more/c.png"]
    assert done.json[1]["error"] == "not-an-image"
    (ingested.folder / "empty").mkdir()
    done = ingested("search", "query", "query.png", "empty")
    assert (done.code, done.out) == (2, "")
    assert "empty holds no image" in done.err


def test_examples_are_named_in_table_and_json_and_left_out(ingested: Any) -> None:
    """Examples are a file, an indexed path, and a folder with one unreadable image, which is skipped."""
    folder = ingested.folder / "unwanted"
    folder.mkdir()
    shutil.copy(ingested.folder / "pictures/stripes/crimson.png", folder / "a.png")
    (folder / "b.png").write_text("hello", encoding="utf-8")
    words = ["search", "query", "query.png", "--and", "circle/crimson.png", "--not", "unwanted"]
    done = ingested(*words, "--json")
    assert done.code == 4, "an image could not be read"
    assert "b.png is not an image" in done.err
    (answer,) = done.json
    assert (answer["positives"], answer["negatives"]) == (["circle/crimson.png"], ["unwanted"])
    assert not {"circle/crimson.png", "stripes/crimson.png"} & set(hit_paths(answer))
    (plain,) = ingested("search", "query", "query.png", "--json").json
    assert "positives" not in plain
    assert "negatives" not in plain
    heading = ingested(*words).out.splitlines()[0]
    assert heading.startswith("query.png and circle/crimson.png and not unwanted in vgg16-")


@pytest.mark.parametrize(
    "words", [["--and", "broken.png"], ["--not", "nowhere.png"], ["--and", "unreadable"]]
)
def test_an_unreadable_example_gives_no_answer(ingested: Any, words: list[str]) -> None:
    """Without it, the answer would be to another query."""
    (ingested.folder / "unreadable").mkdir(exist_ok=True)
    for file in ("broken.png", "unreadable/1.png"):
        (ingested.folder / file).write_text("hello", encoding="utf-8")
    done = ingested("search", "query", "query.png", *words, "--json")
    assert (done.code, done.out) == (4, "")
    assert done.err.splitlines()[-1].startswith("error: ")


def test_several_collections_are_fused(ingested: Any) -> None:
    """Each hit has its rank in each collection; lists name the collections."""
    collections = [
        ingested("search", "query", "query.png", "--distance", distance, "--json").json[0]["collection"]
        for distance in ("cosine", "euclid")
    ]
    words = [
        "search",
        "query",
        "query.png",
        *(word for name in collections for word in ("--collection", name)),
    ]
    done = ingested(*words, "--json")
    assert done.code == 0, done.err
    (answer,) = done.json
    expected = (
        "schema query collection backbone layer pooling distance fusion provider store took_ms verdict "
        "unlike_anything left_out left_out_total passed_over cut_off hits"
    )
    assert list(answer) == expected.split()
    assert answer["collection"] == collections
    assert (answer["distance"], answer["backbone"]) == (["cosine", "euclid"], ["vgg16", "vgg16"])
    assert answer["fusion"] == "rrf"
    for hit in answer["hits"]:
        assert list(hit["networks"]) == collections
        assert hit["score"] == pytest.approx(
            sum(1 / (60 + place["rank"]) for place in hit["networks"].values()), abs=1e-8
        )
    table = ingested(*words, "--fusion", "zscore", "--k", "3")
    _, columns, *rows, verdict = table.out.splitlines()
    first, second = collections
    assert columns.split() == [
        *("rank", "zscore", first, "rank", "similarity", second, "rank", "distance", "class", "path")
    ]
    assert len(rows) == 10
    assert verdict.startswith("verdict: circle, ")


def test_both_networks_need_a_collection_of_each(ingested: Any) -> None:
    """It exits 6 with the command that would make the missing one."""
    done = ingested("search", "query", "query.png", "--backbone", "both")
    assert (done.code, done.out) == (6, "")
    assert "ingest run DIR --backbone resnet --distance cosine" in done.err


@pytest.mark.parametrize(
    "words",
    [
        ["query.png", "--fusion", "rrf"],
        ["query.png", "--backbone", "both", "--collection", "x"],
        ["query.png", "--backbone", "both", "--fusion", "sum"],
        ["-", "--and", "-"],
        ["query.png", "--not", ""],
    ],
)
def test_contradicting_options_exit_2(ingested: Any, words: list[str]) -> None:
    """No query is answered."""
    done = ingested("search", "query", *words, data=b"")
    assert (done.code, done.out) == (2, "")
    assert done.err
