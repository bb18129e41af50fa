"""The view of a map, as a browser without scripts gets it, and the points that a script draws."""

import json
import re
import struct
from html import unescape
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from lookalike_search.reports.map import DARK, LIGHT, SHAPES
from lookalike_search.serving.jobs import Job, JobKind, JobState
from lookalike_search.serving.pages.map_points import DrawnMap, draw_map
from lookalike_search.serving.static_files import static_files
from served import wait_for_job

FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def drawn_map(places: list[dict[str, Any]]) -> DrawnMap:
    """Returns the map of a job that printed these places."""
    job = Job(kind=JobKind.MAP, command=(), state=JobState.DONE)
    job.lines = [json.dumps({"pictures": len(places), "places": places}).encode()]
    return draw_map(job)


def place(number: int, **more: Any) -> dict[str, Any]:
    """Returns the place of an image."""
    id_ = str(UUID(int=number))
    return {"id": id_, "dataset": "a", "path": f"{number}.png", "class": None, "x": 0.0, "y": 0.0} | more


def test_points_are_packed_as_described() -> None:
    """Every number is where the description says; places fit the drawing; names are escaped."""
    drawn = drawn_map(
        [
            place(1, x=0.0, y=0.0, **{"class": "dog"}),
            place(2, x=4.0, y=2.0, dataset="b", path="é\u202e.png"),
            place(3, x=2.0, y=1.0, **{"class": "ant"}),
        ]
    )
    count, path_bytes = struct.unpack_from("<2I", drawn.points)
    floats = np.frombuffer(drawn.points, "<f4", 2 * count, 8).reshape(2, count)
    classes, datasets, ends = np.frombuffer(drawn.points, "<u4", 3 * count, 8 + 8 * count).reshape(3, count)
    ids = drawn.points[8 + 20 * count : 8 + 36 * count]
    paths = drawn.points[8 + 36 * count :]
    assert (count, len(paths), ends.tolist()) == (3, path_bytes, [5, 5 + 12, 5 + 12 + 5])
    assert paths.decode() == "1.pngé\\u202e.png3.png"
    assert floats[0].tolist() == [24, 976, 500]
    assert floats[1].max() <= drawn.layout.height
    assert [drawn.layout.classes[each].name for each in classes] == ["dog", "", "ant"]
    assert [drawn.datasets[each] for each in datasets] == ["a", "b", "a"]
    assert UUID(bytes=ids[16:32]) == UUID(int=2)


def test_a_map_of_one_image_is_drawn() -> None:
    """In the middle, since it has no extent."""
    drawn = drawn_map([place(1)])
    assert np.frombuffer(drawn.points, "<f4", 2, 8).tolist() == [500, drawn.layout.height / 2]


def test_colours_and_shapes_are_those_of_reports() -> None:
    """The style sheet has the colours of both grounds; scripts have none of their own."""
    files = static_files()
    marks = files["marks.css"].content.decode()
    assert all(colour in marks for colour in (*LIGHT, *DARK))
    script = files["map.js"].content + files["map_worker.js"].content
    assert not re.search(rb"#[0-9a-f]{6}", script)
    assert not any(f'"{shape}"'.encode() in script for shape in SHAPES)


def test_a_finished_map_is_shown_with_links_to_its_classes(client: Any) -> None:
    """And its points are served by the id of its job; other fields are another map."""
    address = "/map?limit=500"
    assert client.get(address).text.count("Make the map") == 1
    client.post(address, content="do=start", headers=FORM)
    wait_for_job(client, f"/api/v1/jobs/{client.get('/api/v1/jobs').json()['jobs'][-1]['id']}")
    page = client.get(address).text
    assert "data-stage" in page
    assert "16 images of" in page
    assert '<ul class="legend">' in page, "JSON in an attribute would end at its first quote"
    assert re.findall(r'aria-label="Browse (.*?)"', page) == ["cat, 8 images", "dog, 8 images"]
    for link in re.findall(r'href="(/browse\?[^"]*class[^"]*)"', page):
        assert client.get(unescape(link)).status_code == 200
    points = client.get(unescape(re.findall(r'data-points="([^"]*)"', page)[0]))
    assert (points.status_code, struct.unpack_from("<I", points.content)[0]) == (200, 16)
    assert "Make the map" in client.get("/map?limit=1000").text
    assert "data-stage" in client.get(address).text


@pytest.mark.parametrize("address", ["/map?limit=0", "/map?limit=x", "/map?k=3", "/map/points"])
def test_wrong_addresses_are_problems(client: Any, address: str) -> None:
    """Which start nothing."""
    assert client.get(address).status_code in (400, 404)


def test_another_job_has_no_points(client: Any) -> None:
    """It is said so."""
    job = client.post("/api/v1/jobs/duplicates").json()["id"]
    assert client.get(f"/map/points?job={job}").status_code == 404
    client.delete(f"/api/v1/jobs/{job}")
