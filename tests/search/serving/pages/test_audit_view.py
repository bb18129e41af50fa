"""The views of an audit without a script."""

import csv
import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import httpx
import pytest
from lookalike_search.analysis.label_table import LABEL_COLUMNS
from served import mislabelled_album, run_job, serving

__all__ = ["mislabelled_album"]

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
OPTIONS = "fdr=0.5&files=true"


@pytest.fixture(scope="module")
def audited(mislabelled_album: Any) -> Iterator[tuple[Any, httpx.Client, dict[str, Any]]]:
    """Returns a server with an audit, and its record."""
    with serving(mislabelled_album.folder / "home") as served, served.client() as client:
        run_job(client, f"/audit?{OPTIONS}")
        [job] = client.get("/api/v1/jobs").json()["jobs"]
        [record] = client.get(f"/api/v1/jobs/{job['id']}").json()["result"]
        yield mislabelled_album, client, record


def table_of(response: httpx.Response) -> list[list[str]]:
    """Returns the rows of a table that was sent."""
    assert response.status_code == 200, response.text
    return list(csv.reader(response.text.splitlines()))


def test_the_kinds_of_findings_are_those_of_the_record(audited: tuple[Any, httpx.Client, Any]) -> None:
    """Each has its count and its page, and leads to its images; the first with findings is shown."""
    _, client, record = audited
    page = client.get(f"/audit?{OPTIONS}").text
    links = re.findall(r'<li><a href="([^"]*kind=(\w+)[^"]*)" data-stay', page)
    counts = [int(count) for count in re.findall(r'<span class="number">(\d+)</span></a></li>', page)]
    assert dict(zip((kind for _, kind in links), counts, strict=True)) == record["found"]
    assert re.search(r"style=|<style|<script>", page) is None
    for address, kind in links:
        shown = client.get(unescape(address)).text
        for found in record[kind]:
            for image in (found, found.get("first"), found.get("second"), found.get("example")):
                if image is not None and "id" in image:
                    assert f'href="/?id={image["id"]}"' in shown
        assert ("None was found." in shown) == (not record["found"][kind])
    assert "blank" in {each["fault"] for each in record["faults"]}


def test_a_suspect_stands_beside_its_class_to_be(audited: tuple[Any, httpx.Client, Any]) -> None:
    """With its chance, and marks that are set to change its class; names are escaped."""
    _, client, record = audited
    suspects = {each["path"]: (each["class"], each["suggested"]) for each in record["wrong_labels"]}
    assert suspects["bee/&ant.png"] == ("bee", "ant")
    assert suspects["ant/bee.png"] == ("ant", "bee")
    page = client.get(f"/audit?{OPTIONS}&kind=wrong_labels").text
    assert "bee/&amp;ant.png" in page
    assert "&ant" not in page
    assert re.search(r'<bdi class="class">bee</bdi> should be <bdi class="class">ant</bdi>', page)
    assert page.count('value="change" checked') == len(record["wrong_labels"])
    assert page.count("/thumbnail?edge=320") >= 2
    assert f'data-count="{len(record["wrong_labels"])}"' in page


def test_the_table_of_labels_is_that_of_the_command(audited: tuple[Any, httpx.Client, Any]) -> None:
    """By default byte for byte; a suspect that is marked to keep its class is left out."""
    shell, client, record = audited
    done = shell("search", "audit", "--apply", "labels.csv", "--fdr", "50%")
    assert done.code == 0, done.err
    sent = client.post(f"/audit/labels?{OPTIONS}", content="of=album", headers=FORM)
    assert sent.content == (shell.folder / "labels.csv").read_bytes()
    assert sent.headers["content-disposition"] == 'attachment; filename="labels.csv"'
    [first] = [each["id"] for each in record["wrong_labels"] if each["path"] == "bee/&ant.png"]
    kept = table_of(client.post(f"/audit/labels?{OPTIONS}", content=f"mark-{first}=keep", headers=FORM))
    assert kept[0] == list(LABEL_COLUMNS)
    assert kept[1:] == [row for row in table_of(sent)[1:] if row[0] != "bee/&ant.png"]
    elsewhere = client.post(f"/audit/labels?{OPTIONS}", content="of=other", headers=FORM)
    assert table_of(elsewhere) == [list(LABEL_COLUMNS)]
    for wrong in (f"mark-{first}=burn", "what=1"):
        assert client.post(f"/audit/labels?{OPTIONS}", content=wrong, headers=FORM).status_code == 400


def test_other_options_are_another_question(audited: tuple[Any, httpx.Client, Any]) -> None:
    """Their page offers to audit; wrong ones are refused on a page, and there is no table yet."""
    _, client, _ = audited
    other = client.get("/audit?near_above=0.9&fdr=").text
    assert "Nothing was changed" not in other
    assert 'value="0.9"' in other
    for wrong in ("fdr=0", "fdr=1", "near_above=7", "files=maybe", "kind=none", "page=0", "what=1"):
        assert client.get(f"/audit?{wrong}").status_code == 400
    gone = client.post("/audit/labels", content="of=album", headers=FORM)
    assert (gone.status_code, "audit again" in gone.text) == (404, True)
