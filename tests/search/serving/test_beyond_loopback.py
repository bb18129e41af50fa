"""A server that other machines reach asks for its token, and says nothing about this machine."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from lookalike_search.serving.access import Access
from lookalike_search.serving.guard import HEADERS
from lookalike_search.serving.pages.site import PAGE_POLICY

TOKEN = "a-token-that-is-long-enough"  # noqa: S105 - nobody's
PAGE = "https://page.example"
QUERY = "/api/v1/query"


@pytest.fixture(scope="module")
def beyond(album: Any, start_serving: Any) -> Iterator[Any]:
    """Returns a server that listens on all addresses, and lets the pages of one origin ask."""
    access = Access(host="0.0.0.0", token=TOKEN, origins=frozenset({PAGE}))  # noqa: S104 - in a test
    with start_serving(album.folder / "home", access=access) as served:
        yield served


@pytest.fixture
def stranger(beyond: Any) -> Iterator[httpx.Client]:
    """Returns a client without the token."""
    with beyond.client() as one:
        yield one


@pytest.fixture
def friend(beyond: Any) -> Iterator[httpx.Client]:
    """Returns a client with the token."""
    with beyond.client(headers={"authorization": f"Bearer {TOKEN}"}) as one:
        yield one


def test_everything_but_health_needs_the_token(stranger: httpx.Client) -> None:
    """Also what does not exist, so that nothing can be learned by asking."""
    for path in ("/api/v1/collections", "/openapi.json", "/metrics", "/", "/nothing", "/api/v1/jobs"):
        response = stranger.get(path)
        assert (response.status_code, response.json()["code"]) == (401, "token"), path
    assert stranger.post(QUERY, content=b"x", headers={"content-type": "image/png"}).status_code == 401
    assert stranger.post(QUERY, headers={"cookie": "lookalike=0"}).status_code == 401
    assert [stranger.get(path).status_code for path in ("/livez", "/readyz", "/login")] == [200] * 3


def test_no_path_of_this_machine_is_sent(beyond: Any, friend: httpx.Client) -> None:
    """Neither in answers nor in problems."""
    image = (beyond.images / "cat" / "1.png").read_bytes()
    uploaded = friend.post(QUERY, content=image, headers={"content-type": "image/png"})
    hits = uploaded.json()["hits"]
    assert {hit["file"] for hit in [*hits, *uploaded.json()["left_out"]]} == {None}
    indexed = friend.get(f"/api/v1/images/{hits[0]['id']}").json()
    assert indexed["file"] is None
    said = [uploaded, friend.get("/api/v1/collections"), friend.get("/openapi.json")]
    said.append(friend.post(QUERY, json={"path": "cat/1.png", "region": "1,1,9,9", "locate": True}))
    assert all("shares" in hit["located"] and hit["file"] is None for hit in said[-1].json()["hits"])
    said.append(friend.post(QUERY, json={"path": str(beyond.images / "cat" / "1.png")}))
    said.append(friend.post(QUERY, json={"path": "cat/1.png", "collection": ["vgg16-cosine"]}))
    place = beyond.images / indexed["path"]
    content = place.read_bytes()
    try:
        for changed in (b"other bytes", None):
            place.unlink()
            if changed is not None:
                place.write_bytes(changed)
            said.append(friend.get(f"/api/v1/images/{indexed['id']}/thumbnail", params={"edge": 77}))
            assert said[-1].json()["code"] == "image"
            said.append(friend.post(QUERY, json={"id": indexed["id"], "region": "1,1,9,9"}))
            assert said[-1].json()["code"] == "image"
    finally:
        place.write_bytes(content)
    assert not any(str(beyond.home.parent) in each.text for each in said)
    assert not any(re.search(r"\"/(home|tmp|root|dev)", each.text) for each in said)


def test_pages_of_an_allowed_origin_may_ask_and_others_not(stranger: httpx.Client) -> None:
    """As CORS has it, with a question before; a token is needed nevertheless."""
    asked = {"origin": PAGE, "access-control-request-method": "POST"}
    preflight = stranger.options(QUERY, headers=asked)
    assert (preflight.status_code, preflight.headers["access-control-allow-origin"]) == (204, PAGE)
    assert "authorization" in preflight.headers["access-control-allow-headers"]
    refused = stranger.options(QUERY, headers=asked | {"origin": "https://evil.example"})
    assert (refused.status_code, refused.json()["code"]) == (403, "origin")
    assert "access-control-allow-origin" not in refused.headers
    assert stranger.get("/api/v1/collections", headers={"origin": PAGE}).status_code == 401
    bearer = {"origin": PAGE, "authorization": f"Bearer {TOKEN}", "sec-fetch-site": "cross-site"}
    answered = stranger.get("/api/v1/collections", headers=bearer)
    assert (answered.status_code, answered.headers["access-control-allow-origin"]) == (200, PAGE)


def test_every_response_has_the_headers_that_browsers_obey(stranger: httpx.Client) -> None:
    """Those of problems and of refusals, too; a page allows the scripts and styles of its server only."""
    page = HEADERS | {"Content-Security-Policy": PAGE_POLICY}
    for path, headers in {
        "/livez": HEADERS,
        "/login": page,
        "/metrics": HEADERS,
        "/nothing": HEADERS,
    }.items():
        response = stranger.get(path)
        assert headers.items() <= {name: response.headers.get(name) for name in headers}.items()
        assert "server" not in response.headers
    assert stranger.get("/livez", headers={"host": "evil.example"}).headers["x-frame-options"] == "DENY"
    assert "<script" not in stranger.get("/login").text


def test_people_without_the_token_are_sent_to_the_login(stranger: httpx.Client) -> None:
    """Their browser asks for HTML; programs are told what is wrong."""
    sent = stranger.get("/browse", headers={"accept": "text/html,*/*"})
    assert (sent.status_code, sent.headers["location"]) == (303, "/login")
    assert stranger.get("/browse").status_code == 401
    assert stranger.get("/static/site.js").status_code == 200
