"""Filters of `search query`, `search neighbours` and `search export`."""

import csv
import io
from typing import Any

import pytest

QUERY = ("search", "query", "--distance", "cosine", "circle/crimson.png", "--limit", "50", "--json")


def paths(done: Any) -> set[str]:
    """Returns the paths of an answer's hits."""
    assert done.code == 0, done.err
    (answer,) = done.json
    return {hit["path"] for hit in answer["hits"]}


@pytest.mark.parametrize(
    ("options", "folders"),
    [
        (["--class", "circle", "--class", "square"], {"circle", "square"}),
        (["--not-class", "circle", "--not-class", "square"], {"stripes"}),
        (["--path", "circle/", "--path", "stripes"], {"circle", "stripes"}),
        (["--path", "."], {"circle", "square", "stripes"}),
        (["--since", "2001-01-01", "--min-width", "1"], {"circle", "square", "stripes"}),
        (["--until", "2001-01-01T00:00:00+01:00"], set()),
        (["--min-width", "100000"], set()),
        (["--class", "circle", "--path", "square/"], set()),
    ],
)
def test_a_query_finds_only_what_its_filters_select(
    ingested: Any, options: list[str], folders: set[str]
) -> None:
    """Those of one kind are alternatives, those of several are met together."""
    found = paths(ingested(*QUERY, *options))
    assert {path.split("/")[0] for path in found} == folders
    assert found <= paths(ingested(*QUERY))


def test_neighbours_and_exports_take_the_same_filters(ingested: Any) -> None:
    """Queries and hits are filtered alike."""
    options = ("--path", "circle/", "--class", "circle", "--class", "square", "--until", "2999-12-31")
    done = ingested("search", "neighbours", "--distance", "cosine", *options)
    assert done.code == 0, done.err
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert {row["path"].split("/")[0] for row in rows} == {"circle"}
    assert {row["neighbour_path"].split("/")[0] for row in rows} == {"circle"}
    export = ("search", "export", "--distance", "cosine", "--output", "circles.csv", *options, "--json")
    assert ingested(*export).json[0]["images"] == len({row["path"] for row in rows})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--not-class", "circl"], "--not-class: there is no class circl in"),
        (["--class", "circle", "--not-class", "circle"], "--not-class: circle cannot be both wanted and not"),
        (["--path", "circl/"], "--path: no image is in the folder circl/ in"),
        (["--path", "/circle"], "--path: the folder '/circle' is absolute"),
        (["--since", "yesterday"], "--since: 'yesterday' is no date; give one as 2024-05-31"),
        (["--since", "2024-05-31", "--until", "2024-05-30"], "--until: nothing is taken from"),
        (["--min-width", "0"], "--min-width"),
    ],
)
@pytest.mark.parametrize("command", ["query", "neighbours"])
def test_filters_without_a_meaning_are_refused(
    ingested: Any, command: str, options: list[str], said: str
) -> None:
    """Exit 2 with the option's name, before anything is printed."""
    image = ["circle/crimson.png"] if command == "query" else []
    done = ingested("search", command, "--distance", "cosine", *image, *options)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
