"""Serving the collections of a Qdrant server, or of a stand-in for one."""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from lookalike_core.stores.connection import connect
from qdrant_stand_in import running_stand_in

IMAGE = {"content-type": "image/png"}


def test_several_servers_search_one_store_beside_an_ingest(
    album: Any, draw: Callable[..., Any], start_serving: Callable[..., Any]
) -> None:
    """New points are found at once."""
    with ExitStack() as stack:
        one = stack.enter_context(running_stand_in())
        assert album("ingest", "run", "album", *album.model, "--store", one.url).code == 0
        clients = []
        for _ in range(2):
            store = connect(one.url, api_key=None)
            stack.callback(store.close)
            served = stack.enter_context(start_serving(album.folder / "home", store=store))
            clients.append(stack.enter_context(served.client()))
        answers = [client.post("/api/v1/query", json={"path": "cat/1.png"}).json() for client in clients]
        found, same = ([hit["id"] for hit in each["hits"]] for each in answers)
        assert found == same != []
        assert answers[0]["store"] == one.url
        (extra,) = draw(album.folder / "extra", "bird/9.png")
        assert album("ingest", "run", "extra", *album.model, "--store", one.url).code == 0
        for client in clients:
            answer = client.post("/api/v1/query", content=extra.read_bytes(), headers=IMAGE).json()
            assert [each["path"] for each in answer["left_out"]] == ["bird/9.png"]
            assert client.get("/api/v1/collections").json()["collections"][0]["points"] == 17
