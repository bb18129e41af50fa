"""The views of duplicates without a script."""

import asyncio
import json
import re
from collections.abc import Iterator
from html import unescape
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from lookalike_search.serving.access import Access
from lookalike_search.serving.jobs import Job, JobKind, Jobs, JobState
from lookalike_search.serving.limits import ServingLimits
from lookalike_search.serving.pages.duplicates import routes
from lookalike_search.serving.pages.site import Site
from lookalike_search.serving.places import Places
from served import LOCAL, doubled_album, run_job, serving
from starlette.applications import Starlette

__all__ = ["doubled_album"]

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def doubled(doubled_album: Any) -> Iterator[tuple[Any, httpx.Client]]:
    """Returns a server whose duplicates are found, and its client."""
    with serving(doubled_album.folder / "home") as served, served.client() as client:
        run_job(client, "/duplicates")
        yield served, client


def ids_of(page: str) -> dict[str, str]:
    """Returns the ids of the images on a page by their paths."""
    found = re.findall(r'data-mark="([^"]+)".*?<legend class="hidden">[^,]+, (.+?)</legend>', page, re.DOTALL)
    return {unescape(path): id_ for id_, path in found}


def test_the_groups_are_shown_with_their_defaults(doubled: tuple[Any, httpx.Client]) -> None:
    """Copies are marked to drop; thumbnails are loaded when they are scrolled to."""
    _, client = doubled
    page = client.get("/duplicates").text
    assert "2 groups of 5 images. 3 files could go" in page
    assert page.index("Group 1: 3 images") < page.index("Group 2: 2 images")
    assert set(ids_of(page)) == {
        "cat/0.png",
        "dog/0.png",
        "copies/cat 0.png",
        "copies/cat 1.png",
        "copies/dog 0.png",
    }
    assert len(re.findall(r'value="drop" checked', page)) == 3
    assert page.count('loading="lazy"') == 5
    assert "style=" not in page
    [thumbnail, *_] = re.findall(r'src="(/api/[^"]+)"', page)
    assert client.get(unescape(thumbnail)).headers["content-type"] in ("image/webp", "image/jpeg")


def test_other_options_are_another_question(doubled: tuple[Any, httpx.Client]) -> None:
    """Their page offers to look; a wrong one is a page that says so."""
    _, client = doubled
    page = client.get("/duplicates?above=0.97").text
    assert "Find duplicates" in page
    assert 'value="0.97"' in page
    assert "Group 1" not in page
    wrong = client.get("/duplicates?above=7")
    assert (wrong.status_code, "Above is out of range" in wrong.text) == (400, True)
    assert client.get("/duplicates?dataset=&above=").status_code == 200
    gone = client.post("/duplicates/files?above=0.97", content="as=lines", headers=FORM)
    assert (gone.status_code, "look for them again" in gone.text) == (404, True)


def test_the_list_of_files_follows_the_marks(doubled: tuple[Any, httpx.Client]) -> None:
    """One path a line, or each ended by NUL; nothing is deleted."""
    served, client = doubled
    ids = ids_of(client.get("/duplicates").text)
    copies = [served.images / "copies" / name for name in ("cat 0.png", "cat 1.png", "dog 0.png")]
    sent = client.post("/duplicates/files", content="as=lines", headers=FORM)
    assert sent.headers["content-disposition"] == 'attachment; filename="delete.txt"'
    assert sorted(sent.text.splitlines()) == sorted(map(str, copies))
    marks = f"as=nul&mark-{ids['copies/cat 0.png']}=keep&mark-{ids['dog/0.png']}=drop"
    sent = client.post("/duplicates/files", content=marks, headers=FORM)
    expected = [copies[1], copies[2], served.images / "dog" / "0.png"]
    assert sorted(sent.text.rstrip("\0").split("\0")) == sorted(map(str, expected))
    assert all(each.exists() for each in copies)
    for wrong in ("as=rm", f"mark-{ids['dog/0.png']}=burn", "what=1"):
        assert client.post("/duplicates/files", content=wrong, headers=FORM).status_code == 400


def test_a_pair_is_shown_as_large_as_thumbnails_are(doubled: tuple[Any, httpx.Client]) -> None:
    """With links to the pairs beside it and back to its group."""
    _, client = doubled
    ids = ids_of(client.get("/duplicates").text)
    first = client.get(f"/duplicates/pair?id={ids['copies/cat 0.png']}").text
    last = client.get(f"/duplicates/pair?id={ids['copies/dog 0.png']}").text
    assert "Group 1, pair 1 of 3" in first
    assert "edge=1024" in first
    assert ("Previous pair" in first, "Next pair" in first) == (False, True)
    assert ("Previous pair" in last, "Next pair" in last) == (True, False)
    assert "/duplicates?page=1#g2" in last
    for id_ in (ids["cat/0.png"], "none", ""):
        assert client.get(f"/duplicates/pair?id={id_}").status_code == 404


def many_groups(count: int) -> list[bytes]:
    """Returns the lines of a job that has found so many groups of two."""

    def member(name: str, **more: Any) -> dict[str, Any]:
        same = {"dataset": "a", "class": None, "state": "present", "sha256": "", "width": 9, "height": 9}
        return {"id": name, "path": f"{name}.jpg", "file": f"/a/{name}.jpg", "bytes": 10, **same, **more}

    found = {"similarity": 1.0, "match": "identical", "identical": True, "redundant": True, "frees": 10}
    return [
        json.dumps(
            {
                "schema": 1,
                "collection": "c",
                "group": number,
                "because": "oldest",
                "proven": True,
                "frees": 10,
                "kept": member(f"kept-{number}"),
                "others": [member(f"other-{number}", **found)],
            }
        ).encode()
        for number in range(1, count + 1)
    ]


def test_a_thousand_groups_are_shown_50_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """With links to all pages; beyond them the last one is shown, and a pair leads back to its page."""
    lines = many_groups(1_000)
    lines[-1] = lines[-1].replace(b"present", b"changed", 1)
    job = Job(kind=JobKind.DUPLICATES, command=("x",), state=JobState.DONE, lines=lines)
    jobs = Jobs(lambda _kind, _fields: ("x",), shows_files=True)
    monkeypatch.setattr(jobs, "find", lambda _kind, _fields: [job])

    async def groups(_collections: Any) -> list[Any]:
        return []

    warm: Any = SimpleNamespace(choose=lambda names: names or ["c"], names=lambda: ["c"])
    service: Any = SimpleNamespace(warm=warm, groups=groups, metrics=None, limits=ServingLimits())
    site = Site(
        service=service,
        jobs=jobs,
        access=LOCAL,
        places=Places(9, SimpleNamespace(set=lambda _: None)),
        serves_originals=False,
    )

    async def ask(address: str) -> str:
        transport = httpx.ASGITransport(Starlette(routes=routes(site)))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return (await client.get(address)).text

    last = asyncio.run(ask("/duplicates?page=99"))
    assert last.count("<article") == 50
    assert "Group 1000: 2 images" in last
    assert len(re.findall(r'aria-label="Page \d+"', last)) == 2 * 20
    assert 'data-count="1000" data-weight="10000"' in last
    assert last.count("file has changed") == 2  # seen and read out
    assert "/duplicates?page=20#g1000" in asyncio.run(ask("/duplicates/pair?id=other-1000"))


def test_no_path_of_this_machine_is_shown_beyond_loopback(doubled_album: Any) -> None:
    """The list has the paths of the dataset, and the page says so."""
    token = "a-token-that-is-long-enough"  # noqa: S105 - nobody's
    access = Access(host="0.0.0.0", token=token)  # noqa: S104 - in a test
    headers = {"authorization": f"Bearer {token}"}
    with (
        serving(doubled_album.folder / "home", access=access) as served,
        served.client(headers=headers) as client,
    ):
        run_job(client, "/duplicates?above=1")
        page = client.get("/duplicates?above=1").text
        sent = client.post("/duplicates/files?above=1", content="as=lines", headers=FORM)
    assert "Paths are relative to the folder of their dataset" in page
    assert str(served.home.parent) not in page
    assert sorted(sent.text.splitlines()) == ["copies/cat 0.png", "copies/cat 1.png", "copies/dog 0.png"]
