"""The view `/`: every question is an address, whose page works without script."""

import html
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_search.serving.limits import ServingLimits
from made_collections import point_of
from served import Served

HTML = {"accept": "text/html"}


@pytest.fixture
def id_(client: httpx.Client) -> str:
    """Returns the id of an indexed image of a cat."""
    query = {"path": "cat/1.png", "include_self": True, "limit": 1}
    return str(client.post("/api/v1/query", json=query).json()["hits"][0]["id"])


@pytest.fixture(scope="module")
def names(served: Served) -> list[str]:
    """Returns the names of the collections: by cosine, and by Euclidean distance."""
    with served.client() as client:
        return sorted(each["name"] for each in client.get("/api/v1/collections").json()["collections"])


def show(client: httpx.Client, address: str = "/", status: int = 200, **fields: Any) -> str:
    """Returns the page of a question."""
    response = client.get(address, params=fields or None, headers=HTML)
    assert response.status_code == status, response.text
    return response.text


def ranked(page: str) -> list[str]:
    """Returns the ids of the neighbours of a page, best first."""
    return re.findall(r'id="ask-([0-9a-f-]{36})"', page)


def link(page: str, id_: str) -> str:
    """Returns where the link of an id leads."""
    [tag] = re.findall(rf'<a [^>]*id="{re.escape(id_)}"[^>]*>', page)
    found = re.search(r'href="([^"]*)"', tag)
    assert found
    return html.unescape(found[1])


def fields_of(address: str) -> list[tuple[str, str]]:
    """Returns the fields of an address, sorted."""
    return sorted(parse_qsl(urlsplit(address).query))


def test_without_a_question_there_are_images_to_begin_with(client: httpx.Client) -> None:
    """A form takes an image without script, and indexed images are links."""
    page = show(client)
    assert '<form class="upload" method="post" enctype="multipart/form-data" action="/"' in page
    assert len(re.findall(r'<a href="/\?id=[0-9a-f-]{36}">', page)) == 16
    assert "style=" not in page


def test_a_question_has_the_neighbours_of_the_api(client: httpx.Client, id_: str) -> None:
    """With their classes, scores and thumbnails, and the verdict; whatever is asked."""
    for fields in (
        {},
        {"limit": 3, "offset": 2},
        {"exact": "true"},
        {"min_score": "0.5"},
        {"without_near": "true"},
        {"one_per": "class", "diverse": "0.5"},
        {"region": "10%,10%,60%,60%"},
        {"include_self": "true"},
    ):
        answer = client.get(f"/api/v1/images/{id_}/neighbours", params=fields).json()
        page = show(client, id=id_, **fields)
        assert ranked(page) == [hit["id"] for hit in answer["hits"]]
        for hit in answer["hits"]:
            assert f"similarity {hit['score']:.4f}" in page
            assert f"/api/v1/images/{hit['id']}/thumbnail?edge=320" in page
    assert "Verdict:" in show(client, id=id_)
    answer = client.get(f"/api/v1/images/{id_}/neighbours?where=%7B%22class%22%3A%22dog%22%7D").json()
    assert ranked(show(client, id=id_, **{"class": "dog"})) == [hit["id"] for hit in answer["hits"]]


def test_a_thumbnail_is_there(client: httpx.Client, id_: str) -> None:
    """Its size on the page is its own; those of the first ten neighbours are loaded at once."""
    page = show(client, id=id_, limit=12)
    shown = re.findall(
        r'<img class="p" src="([^"]+)" width="(\d+)" height="(\d+)" alt="[^"]+" loading="(\w+)"', page
    )
    assert {(width, height) for _, width, height, _ in shown} == {("64", "48")}
    assert [loading for *_, loading in shown] == ["eager"] * 10 + ["lazy"] * 2
    assert client.get(html.unescape(shown[0][0])).headers["content-type"] == "image/webp"


def test_links_ask_further(client: httpx.Client, id_: str) -> None:
    """A neighbour is asked with by the same filters; plus and minus add examples, which can be removed."""
    page = show(client, id=id_, limit=4, exact="true", region="0,0,60,40")
    first, second, third, _ = ranked(page)
    assert fields_of(link(page, f"ask-{second}")) == [("exact", "true"), ("id", second), ("limit", "4")]
    more = link(page, f"more-{first}")
    assert ("and", first) in fields_of(more)
    both = link(show(client, more), f"less-{third}") if third in ranked(show(client, more)) else None
    page = show(client, both or more)
    assert ranked(page).count(first) == 0
    [without] = re.findall(r'href="([^"]*)" data-stay aria-label="Remove [^"]*"', page)[:1]
    assert ("and", first) not in fields_of(html.unescape(without))


def test_more_neighbours_follow(client: httpx.Client, id_: str) -> None:
    """Page after page, and back; ranks go on."""
    page = show(client, id=id_, limit=6)
    seen = ranked(page)
    page = show(client, link(page, "further"))
    assert 'start="7"' in page
    assert not set(ranked(page)) & set(seen)
    assert ranked(show(client, link(page, "nearer"))) == seen
    assert 'id="further"' not in show(client, id=id_, limit=50)


def test_several_collections_are_fused(client: httpx.Client, id_: str, names: list[str]) -> None:
    """With the rank in each; a cut-off does not fit them, and is left out."""
    page = show(client, id=id_, collection=names, min_score="0.5")
    assert "Left out, since a fused score is neither a similarity nor a distance" in page
    assert all(f"{name}: rank" in page for name in names)
    assert len(ranked(page)) == 10


def test_what_does_not_fit_is_left_out_and_said(client: httpx.Client, id_: str, names: list[str]) -> None:
    """A similarity in a collection of distances, a set without a calibration, an unknown class."""
    euclid = next(name for name in names if name.endswith("euclid"))
    page = show(client, id=id_, collection=euclid, min_score="0.5")
    assert "Left out, since the scores of" in page
    assert 'name="max_distance"' in page
    page = show(client, id=id_, confidence="0.9", **{"class": "bird"})
    assert page.count("Left out, since") == 2
    assert len(ranked(page)) == 10


def test_the_page_filters_by_folder_dates_and_width(client: httpx.Client, id_: str) -> None:
    """The form has them, links keep them, and one that does not fit is left out."""
    page = show(client, id=id_, folder="dog/", since="2001-01-01", min_width="64", not_class="cat", limit=5)
    assert 'name="folder" id="by-folder" value="dog/"' in page
    assert 'id="filters-more" open' in page
    assert 'href="/originals' not in page
    [first, *_] = ranked(page)
    asked = fields_of(link(page, f"ask-{first}"))
    kept = {"folder": "dog/", "since": "2001-01-01", "min_width": "64", "not_class": "cat", "limit": "5"}
    assert asked == sorted([("id", first), *kept.items()])
    assert fields_of(link(page, "clear")) == [("id", id_), ("limit", "5")]
    page = show(client, id=id_, folder="birds/", until="2000-01-01", since="2001-01-01", min_width="wide")
    assert page.count("Left out, since") == 3
    assert len(ranked(page)) == 10


def test_the_form_keeps_all_that_an_address_filters_by(client: httpx.Client, id_: str) -> None:
    """Several values of a filter, which can be removed one by one, and a date with a time of day."""
    asked = {"class": ["cat", "dog"], "not_class": ["/"], "folder": ["dog", "cat"]}
    page = show(client, id=id_, since="2001-01-01T18:30", until="2199-01-01", **asked)
    assert len(ranked(page)) == 10
    form = re.search(r'<form class="filters".*?</form>', page, re.DOTALL)
    assert form
    assert '<input type="hidden" name="class" value="dog">' in form[0]
    assert '<input type="hidden" name="folder" value="cat">' in form[0]
    assert 'type="text" name="since" id="by-since" value="2001-01-01T18:30"' in form[0]
    assert 'type="date" name="until" id="by-until" value="2199-01-01"' in form[0]
    without = re.findall(r'href="([^"]*)"[^>]* aria-label="Remove dog"', form[0])[0]
    assert ("class", "dog") not in fields_of(html.unescape(without))
    assert ("class", "cat") in fields_of(html.unescape(without))


def test_an_upload_leads_to_its_answer(client: httpx.Client, served: Served) -> None:
    """As a browser without script sends it; filters stay."""
    content = (served.images / "dog" / "1.png").read_bytes()
    sent = client.post("/?limit=5&id=x", files={"image": ("<b>.png", content)}, headers=HTML)
    assert sent.status_code == 303
    assert [name for name, _ in fields_of(sent.headers["location"])] == ["limit", "upload"]
    page = show(client, sent.headers["location"])
    assert len(ranked(page)) == 5
    assert "Neighbours of &lt;b&gt;.png" in page
    assert "1 image with the same bytes left out" in page
    assert "Show them among the neighbours" in page
    shown = show(client, link(page, "including"))
    assert ranked(shown)[0] in re.findall(r"[0-9a-f-]{36}", page)


def test_what_is_no_upload_is_refused_with_the_form(client: httpx.Client) -> None:
    """No file, and no image; the form is there again."""
    for name, file_name, content, status, said in (
        ("image", "", b"", 400, "No image was chosen"),
        ("image", "a.png", b"no image", 422, 'role="alert"'),
        ("other", "a.png", b"no image", 400, "The form has no image"),
    ):
        head = f'--b\r\nContent-Disposition: form-data; name="{name}"; filename="{file_name}"\r\n\r\n'
        body = head.encode() + content + b"\r\n--b--\r\n"
        sent = client.post(
            "/", content=body, headers=HTML | {"content-type": "multipart/form-data; boundary=b"}
        )
        assert sent.status_code == status, sent.text
        assert said in sent.text
        assert "data-upload" in sent.text


def test_a_large_upload_is_refused_with_the_form(album: Any, start_serving: Callable[..., Any]) -> None:
    """The connection ends with it, since the rest of the body is not read."""
    limits = ServingLimits(body_bytes=1000, refresh_s=0.1)
    with start_serving(album.folder / "home", limits=limits) as other, other.client() as asked:
        sent = asked.post("/", files={"image": ("a.png", b"x" * 2000)}, headers=HTML)
        assert (sent.status_code, sent.headers["connection"]) == (413, "close")
        assert "data-upload" in sent.text


def test_a_forgotten_upload_is_asked_for_again(client: httpx.Client) -> None:
    """The page says so, and scripts see it."""
    page = show(client, "/?upload=00000000000000000000000000000000", status=404)
    assert "data-forgotten" in page
    assert "Choose the image again" in page


@pytest.mark.parametrize(
    ("address", "status", "said"),
    [
        ("/?id=nothing", 404, "this path or id"),
        ("/?id=a&path=b", 400, "A query has one image"),
        ("/?path=cat/1.png&limit=0", 400, "Limit is out of range"),
        ("/?path=cat/1.png&limit=--5", 400, "Limit is no whole number"),
        ("/?path=cat/1.png" + "&and=a" * 40, 400, "A query has at most 32 images"),
        ("/?path=cat/1.png&surprise=1", 400, "Surprise is unknown here"),
        ("/?path=cat/1.png&collection=none", 404, "no such collection"),
        ("/?path=cat/1.png&region=1,2", 400, "A region has 4 numbers"),
    ],
)
def test_errors_are_said_beside_the_form(client: httpx.Client, address: str, status: int, said: str) -> None:
    """With the status that the API has."""
    page = show(client, address, status=status)
    assert said in html.unescape(page)
    assert "data-upload" in page


def test_an_explanation_is_a_panel(client: httpx.Client, id_: str) -> None:
    """Shares sum to the similarity; without the panel the address is that of the answer."""
    page = show(client, id=id_)
    page = show(client, link(page, f"explain-{ranked(page)[0]}"))
    shares = [float(each) for each in re.findall(r"row \d+, column \d+: (-?[\d.]+) %</title>", page)]
    assert sum(shares[: len(shares) // 2]) == pytest.approx(100, abs=len(shares) * 0.05)
    assert "style=" not in page
    assert fields_of(link(page, "close-explanation")) == [("id", id_)]
    page = show(client, id=id_, explain="nothing")
    assert "card problem" in page
    assert len(ranked(page)) == 10


def test_pages_have_nothing_that_their_policy_forbids(client: httpx.Client, id_: str) -> None:
    """No style or handler stands in an attribute; and each id is there once."""
    first = ranked(show(client, id=id_))[0]
    for fields in ({}, {"id": id_}, {"id": id_, "explain": first}, {"id": id_, "and": first}):
        page = show(client, **fields)
        assert re.findall(r"<[^>]* (?:style|on\w+)=", page) == []
        assert [
            name for name, count in Counter(re.findall(r' id="([^"]*)"', page)).items() if count > 1
        ] == []


def test_originals_are_shown_as_images_alone(
    album: Any, start_serving: Callable[..., Any], client: httpx.Client, id_: str
) -> None:
    """Only where they are served: a raster as what it is, which no browser runs."""
    assert client.get(f"/originals/{id_}").status_code == 404
    assert "large=" not in show(client, id=id_)
    with start_serving(album.folder / "home", serves_originals=True) as other, other.client() as asked:
        page = show(asked, id=id_)
        page = show(asked, link(page, f"large-of-{ranked(page)[0]}"))
        [address] = re.findall(r'<img class="original" src="([^"]+)"', page)
        shown = asked.get(html.unescape(address))
        assert shown.headers["content-type"] == "image/png"
        assert shown.headers["content-security-policy"] == "sandbox; default-src 'none'"
        assert shown.headers["x-content-type-options"] == "nosniff"
        assert "large=" not in link(page, "close-large")


def test_names_cannot_be_markup(client: httpx.Client) -> None:
    """What an address says is escaped, in text as in links and fields."""
    page = show(client, id="<script>alert(1)</script>", **{"and": '"><b>', "region": "'><i>"}, status=400)
    assert "<script>alert" not in page
    assert '"><b>' not in page
    assert "<i>" not in page


def test_there_is_no_further_page_behind_the_last_neighbour(client: Any) -> None:
    """Of the 15 others there are 5 on the second page of 10, and none behind a page of 20."""
    assert 'id="further"' in client.get("/?path=dog/0.png", headers=HTML).text
    assert 'id="further"' not in client.get("/?path=dog/0.png&offset=10", headers=HTML).text
    assert 'id="further"' not in client.get("/?path=dog/0.png&limit=15", headers=HTML).text
    assert 'id="further"' in client.get("/?path=dog/0.png&limit=15&include_self=true", headers=HTML).text


def test_an_image_that_is_not_there_has_others_to_begin_with(client: Any) -> None:
    """Said as a sentence that leaves the name of the collection as it is."""
    page = client.get("/?path=dog/none.png", headers=HTML)
    assert page.status_code == 404
    assert "No image of " in page.text
    assert "Or search with an indexed image" in page.text
    assert page.text.count('class="hit"') > 2


def test_a_filter_of_newer_fields_names_the_command_that_adds_them(
    album: Any, served: Served, names: list[str], start_serving: Callable[..., Any], tmp_path: Path
) -> None:
    """Of a collection without times; the question is answered without the filter."""
    store, manifest = EmbeddedStore(tmp_path), served.store.manifest(names[0])
    store.create(manifest)
    with store.open(names[0]) as collection:
        vector = [1.0] * manifest.identity.dimension
        collection.upsert([point_of(f"cat/{each}.png", vector, dataset="album") for each in (1, 2)])
    with start_serving(album.folder / "home", store=store) as other, other.client() as asked:
        page = show(asked, path="cat/1.png", since="2001-01-01")
    assert "which stored no times at which they were taken; ingest run FOLDER adds them" in page
    assert len(ranked(page)) == 1


def test_an_empty_collection_says_how_to_begin(
    album: Any, served: Served, names: list[str], start_serving: Callable[..., Any], tmp_path: Path
) -> None:
    """With the command that fills it; a question has no neighbours then."""
    store = EmbeddedStore(tmp_path)
    store.create(served.store.manifest(names[0]))
    with start_serving(album.folder / "home", store=store) as other, other.client() as asked:
        assert "<code>ingest run FOLDER</code>" in show(asked)
        image = (served.images / "dog" / "1.png").read_bytes()
        sent = asked.post("/", files={"image": ("a.png", image)}, headers=HTML)
        assert "There are no images." in show(asked, sent.headers["location"])


def test_no_address_makes_a_page_huge(client: httpx.Client, id_: str) -> None:
    """Each link repeats the question, and whoever follows a link of another site asks it."""
    for query in (
        "&".join(f"and={number}" for number in range(800)),
        "&".join(["explain=x"] * 500),
        f"collection={'c' * 20_000}",
    ):
        page = client.get(f"/?id={id_}&{query}", headers=HTML)
        assert (page.status_code, len(page.content) < 200_000) == (400, True), len(page.content)


def test_a_page_offers_nothing_that_takes_long(client: httpx.Client, id_: str) -> None:
    """Thousands of neighbours, or an explanation of each of them."""
    assert "at most 100 neighbours" in show(client, id=id_, limit=101, status=400)
    assert "Locate is for the API" in show(client, id=id_, locate="true", status=400)
