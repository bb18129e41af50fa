"""The views of an evaluation without a script."""

import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import httpx
import pytest
from lookalike_search.serving.pages.evaluation import MOST_WRONG
from served import run_job, serving


@pytest.fixture(scope="module")
def evaluated(album: Any) -> Iterator[tuple[httpx.Client, dict[str, Any]]]:
    """Returns the client of a server that has evaluated, and the record of the evaluation."""
    with serving(album.folder / "home") as served, served.client() as client:
        run_job(client, "/evaluation")
        [job] = client.get("/api/v1/jobs").json()["jobs"]
        [record] = client.get(f"/api/v1/jobs/{job['id']}").json()["result"]
        yield client, record


def test_the_figures_are_those_of_the_record(evaluated: tuple[httpx.Client, dict[str, Any]]) -> None:
    """With their intervals, classes, table and wrong verdicts, and without inline styles."""
    client, record = evaluated
    page = client.get("/evaluation").text
    for name in ("precision_at_1", "precision_at_10", "mean_average_precision"):
        found = record[name]
        assert f"{100 * found['value']:.1f}\N{NO-BREAK SPACE}%" in page
        assert f"{100 * found['low']:.1f} to {100 * found['high']:.1f}" in page
    assert f"{record['wrong']['total']} wrong verdicts" in page
    assert re.search(r"style=|<style|<script>", page) is None
    assert '<a href="/browse?class=cat"><bdi>cat</bdi></a>' in page


def test_the_cells_lead_to_images_that_ask(evaluated: tuple[httpx.Client, dict[str, Any]]) -> None:
    """A confusion to the images of its two classes; other classes have no such page."""
    client, record = evaluated
    page = client.get("/evaluation").text
    links = [unescape(each) for each in re.findall(r'<td class="h\d+"><a href="([^"]+)"', page)]
    assert len(links) == len(record["confused"]) > 0
    confused = client.get(links[0]).text
    [first, *_] = record["confused"]
    assert f"{first['class']} finds {first['neighbour_class']}" in confused
    for pair in first["pairs"]:
        assert f'href="/?id={pair["query"]["id"]}"' in confused
        assert f"/api/v1/images/{pair['neighbour']['id']}/thumbnail" in confused
        assert client.get(f"/?id={pair['query']['id']}").status_code == 200
    assert client.get("/evaluation/confused?class=cat&as=none").status_code == 404
    assert client.get("/evaluation/confused?k=3&class=cat&as=dog").status_code == 404  # not evaluated


def test_other_options_are_another_question(evaluated: tuple[httpx.Client, dict[str, Any]]) -> None:
    """Empty fields of a form are as if not there; wrong ones are refused on a page."""
    client, _ = evaluated
    assert "precision@10" in client.get("/evaluation?k=10&near_above=&dataset=").text
    other = client.get("/evaluation?k=3&without_near=true").text
    assert "precision@10" not in other
    assert 'id="option-k" min="1" max="1000" value="3"' in other
    assert 'id="option-without" value="true" checked' in other
    for wrong in ("k=0", "near_above=7", "what=1", "without_near=maybe"):
        assert client.get(f"/evaluation?{wrong}").status_code == 400


def test_the_record_is_as_the_command_prints_it(
    album: Any, evaluated: tuple[httpx.Client, dict[str, Any]]
) -> None:
    """The pairs are of images, wrong verdicts of queries; the diagram counts each neighbour once."""
    _, record = evaluated
    [printed] = album("search", "evaluate", "--json").json
    assert printed | {"store": ""} == record | {"store": ""}
    names = record["confusion"]["classes"]
    cells = record["confusion"]["countable_cells"]
    counted = {(names[row], names[column]): count for row, column, count in cells}
    for each in record["confused"]:
        assert counted[each["class"], each["neighbour_class"]] == each["neighbours"]
    assert len(record["wrong"]["queries"]) == record["wrong"]["total"] <= MOST_WRONG
    assert all(each["class"] != each["verdict"] for each in record["wrong"]["queries"])
