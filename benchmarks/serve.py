"""Measures `search serve` over HTTP: times of single queries, throughput of many clients, and memory.

    python benchmarks/serve.py IMAGE... --store STORE --collection NAME [--queries 100] [--points 0]
        [--clients 16] [--seconds 0] [--requests 0] [--pages 0] [--output JSON]

The server is a process, asked by this one on a connection that stays open. Queries by an upload take turns
with the same work without a server (decode, session, search of a snapshot, in this process, while the server
rests), and with queries by an indexed image. With `--points` the collection searched is a copy with so many
synthetic points (the clusters of `store.py`) and their index, in a temporary folder. With `--seconds` so many
`--clients` ask without a pause, after a loop in this process that embeds batches of 8 and searches for each
for as long. With `--requests` the server's resident memory is read before and after so many further queries,
uploads and indexed images in turn. With `--pages` the list of indexed images is read from so many random
places on, 100 and 500 images at a time; the first page waits until they are ordered.

The short form (`--short`) compares 20 uploads with the same work without a server, and 50 queries by an
indexed image with searches alone, on a collection of 1,000 points and VGG16's first layer.
"""

import argparse
import http.client
import io
import itertools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from commands import draw
from lookalike_core.images.decoding import decode
from lookalike_core.settings import Settings
from lookalike_core.stores.edge_engine import EngineTuning
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.open_store import open_store
from lookalike_core.stores.points import ImagePoint
from lookalike_core.stores.snapshots import open_snapshot
from lookalike_search.asking.ranking import FIRST_DEPTH
from lookalike_search.asking.searched_collection import SearchedCollection
from machine import describe, write_results
from scan import A_FOLDER, ingest_first, write_files, write_weights
from short import Duel, run_either
from store import Clusters, payload_of

QUERY = "/api/v1/query"
BATCH = 8
WARM_UP = 5


def main() -> None:
    """Prints what it measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE")
    parser.add_argument("--store", required=True)
    parser.add_argument("--collection", required=True)
    parser.add_argument("--queries", type=int, default=100)
    parser.add_argument("--points", type=int, default=0)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--requests", type=int, default=0)
    parser.add_argument("--pages", type=int, default=0)
    parser.add_argument("--output", type=Path, metavar="JSON")
    arguments = parser.parse_args()
    print(describe())
    images = [path.read_bytes() for path in arguments.images]
    results: dict[str, Any] = {}
    with ExitStack() as stack:
        store = arguments.store
        if arguments.points:
            store = stack.enter_context(synthetic_store(store, arguments.collection, arguments.points))
        bare = stack.enter_context(bare_search(store, arguments.collection))
        id_ = next(bare.collection.scan()).id
        server = stack.enter_context(running(store, arguments.collection, id_))
        results |= measure_times(server, bare, images, arguments.queries)
        if arguments.seconds:
            results |= measure_throughput(server, bare, images, arguments.clients, arguments.seconds)
        if arguments.pages:
            results |= measure_lists(server, arguments.pages)
        if arguments.requests:
            results |= measure_memory(server, images, arguments.requests)
    write_results(arguments.output, results)


class Server:
    """A running server: its address, its process, and the ids of some indexed images."""

    def __init__(self, url: str, process: "subprocess.Popen[str]", id_: str) -> None:
        parts = urlsplit(url)
        self.host, self.port, self.process = parts.hostname or "", parts.port, process
        answer = self.connect()({"id": id_})
        self.ids = [hit["id"] for hit in answer["hits"]]

    def connect(self) -> Callable[[bytes | dict[str, Any]], dict[str, Any]]:
        """Returns a function that asks on a connection of its own, with an image's bytes or with fields."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=120)

        def ask(what: bytes | dict[str, Any]) -> dict[str, Any]:
            kind = "image/jpeg" if isinstance(what, bytes) else "application/json"
            body = what if isinstance(what, bytes) else json.dumps(what).encode()
            connection.request("POST", QUERY, body, {"Content-Type": kind})
            response = connection.getresponse()
            answer: dict[str, Any] = json.loads(response.read())
            if response.status != 200:  # noqa: PLR2004 - as HTTP has it
                raise RuntimeError(answer)
            return answer

        return ask

    def resident_mb(self) -> float:
        """Returns the resident memory of the server, as Linux tells it."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return int(status.partition("VmRSS:")[2].split()[0]) / 1000

    def cpu_s(self) -> float:
        """Returns the CPU time that the server has taken so far, as Linux tells it."""
        words = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(store: str, collection: str, id_: str) -> Iterator[Server]:
    """Starts a server on a free port, and ends it after the block; `id_` is that of an indexed image."""
    command = [Path(sys.executable).parent / "search", "serve", "--port", "0"]
    with subprocess.Popen(
        [*command, "--store", store, "--collection", collection],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None  # noqa: S101 - for the type checker
            yield Server(process.stdout.readline().split()[1], process, id_)
        finally:
            process.terminate()


@contextmanager
def bare_search(store: str, collection: str) -> Iterator[SearchedCollection]:
    """Yields a snapshot of the collection with its model loaded, in this process."""
    settings = Settings.from_environment()
    with open_snapshot(open_store(store, settings), collection) as opened:
        network = SearchedCollection(opened, settings=settings)
        network.load()
        yield network


def search_bare(network: SearchedCollection, images: Sequence[bytes]) -> None:
    """Decodes and embeds images together, and searches for the neighbours of each."""
    pixels = [decode(io.BytesIO(image), "image").pixels for image in images]
    for vector in network.embed(pixels):
        assert vector is not None  # noqa: S101 - no photo has such a one
        network.collection.query(vector, limit=FIRST_DEPTH)


def measure_times(
    server: Server, bare: SearchedCollection, images: Sequence[bytes], queries: int
) -> dict[str, Any]:
    """Times single queries of three kinds, which take turns."""
    ask, ids = server.connect(), itertools.cycle(server.ids)
    kinds: dict[str, Callable[[bytes], object]] = {
        "bare": lambda image: search_bare(bare, [image]),
        "upload": ask,
        "indexed image": lambda _: ask({"id": next(ids)}),
    }
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for turn, image in enumerate(itertools.islice(itertools.cycle(images), WARM_UP + queries)):
        for kind, run in kinds.items():
            started = time.perf_counter()
            run(image)
            if turn >= WARM_UP:
                times[kind].append(1000 * (time.perf_counter() - started))
    found = {kind: _quantiles(each) for kind, each in times.items()}
    for kind, (p50, p95) in found.items():
        print(f"{kind}: p50 {p50:.1f} ms, p95 {p95:.1f} ms")
    ratio = found["upload"][0] / found["bare"][0]
    print(f"upload / bare: {ratio:.2f}, {found['upload'][0] - found['bare'][0]:+.1f} ms")
    return {"times_ms": found, "ratio": ratio, "provider": bare.provider, "points": bare.collection.count()}


def _quantiles(times: Sequence[float]) -> tuple[float, float]:
    return statistics.median(times), statistics.quantiles(times, n=20)[-1]


def measure_throughput(
    server: Server, bare: SearchedCollection, images: Sequence[bytes], clients: int, seconds: float
) -> dict[str, Any]:
    """Compares many clients with one loop of batches."""
    alone = _loop_rate(bare, images, seconds)
    counts, errors = [0] * clients, []
    until = time.monotonic() + seconds

    def work(number: int) -> None:
        ask = server.connect()
        for image in itertools.cycle(images[number % len(images) :] + images[: number % len(images)]):
            if time.monotonic() >= until:
                return
            try:
                ask(image)
            except Exception as error:  # noqa: BLE001 - they are counted
                errors.append(repr(error))
                return
            counts[number] += 1

    threads = [threading.Thread(target=work, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rate = sum(counts) / seconds
    print(f"loop of batches of {BATCH}: {alone:.1f} images/s")
    print(f"{clients} clients: {rate:.1f} images/s ({rate / alone:.2f} of the loop), {len(errors)} errors")
    return {"loop_per_s": alone, "clients_per_s": rate, "errors": errors[:5]}


def _loop_rate(bare: SearchedCollection, images: Sequence[bytes], seconds: float) -> float:
    search_bare(bare, (images * BATCH)[:BATCH])
    done, started = 0, time.monotonic()
    endless = itertools.cycle(images)
    while time.monotonic() < started + seconds:
        search_bare(bare, list(itertools.islice(endless, BATCH)))
        done += BATCH
    return done / (time.monotonic() - started)


def measure_memory(server: Server, images: Sequence[bytes], requests: int) -> dict[str, Any]:
    """Reads the server's memory before and after many queries."""
    ask, ids = server.connect(), itertools.cycle(server.ids)
    before = server.resident_mb()
    for number, image in enumerate(itertools.islice(itertools.cycle(images), requests)):
        ask(image if number % 10 == 0 else {"id": next(ids)})
    grown = server.resident_mb() - before
    print(f"resident memory: {before:.0f} MB, {grown:+.1f} MB after {requests} requests")
    return {"resident_mb": before, "grown_mb": grown, "requests": requests}


def measure_lists(server: Server, pages: int) -> dict[str, Any]:
    """Times pages of the list of images, and reads the memory that their order takes."""
    connection = http.client.HTTPConnection(server.host, server.port, timeout=120)

    def read(offset: int, limit: int) -> tuple[float, dict[str, Any]]:
        started = time.perf_counter()
        connection.request("GET", f"/api/v1/images?offset={offset}&limit={limit}")
        listed: dict[str, Any] = json.loads(connection.getresponse().read())
        return 1000 * (time.perf_counter() - started), listed

    before = server.resident_mb()
    first_ms, listed = read(0, 100)
    total, draw = listed["total"], random.Random(0)  # noqa: S311 - no secret is made of it
    times = {
        limit: _quantiles([read(draw.randrange(total), limit)[0] for _ in range(pages)])
        for limit in (100, 500)
    }
    grown = server.resident_mb() - before
    print(f"list of {total} images: first page {first_ms:.0f} ms, resident memory {grown:+.1f} MB")
    for limit, (p50, p95) in times.items():
        print(f"{limit} images from any place on: p50 {p50:.1f} ms, p95 {p95:.1f} ms")
    return {"list": {"images": total, "first_ms": first_ms, "times_ms": times, "grown_mb": grown}}


@contextmanager
def synthetic_store(store: str, collection: str, points: int) -> Iterator[str]:
    """Yields a store with a collection of the same name and space, of synthetic points and their index."""
    manifest = open_store(store, Settings.from_environment()).manifest(collection)
    clusters = Clusters.of(manifest.identity.dimension)
    with tempfile.TemporaryDirectory(prefix="lookalike-benchmark-") as folder:
        made = EmbeddedStore(Path(folder), tuning=EngineTuning(indexed_above_kb=1))
        made.create(manifest)
        with made.open(collection) as opened:
            for start in range(0, points, 1000):
                vectors = clusters.draw(min(1000, points - start), start)
                opened.upsert(
                    [
                        ImagePoint(payload=payload_of(row), vector=vector)
                        for row, vector in enumerate(vectors, start)
                    ]
                )
            if opened.upkeep is not None:
                opened.upkeep.build_index(lambda: None)
        yield f"embedded:{folder}"


def short(folder: Path) -> Iterator[Duel]:
    """Yields uploads and queries by an indexed image beside the same without a server."""
    write_files(folder / "pictures", A_FOLDER, A_FOLDER)
    ingest_first(folder, write_weights(folder / "weights.h5"), A_FOLDER)
    draw(folder / "drawn", 20)
    images = [path.read_bytes() for path in sorted((folder / "drawn").rglob("*.jpg"))]
    os.environ |= {"LOOKALIKE_HOME": str(folder / "home"), "LOOKALIKE_PROVIDER": "cpu"}
    store = f"embedded:{folder / 'home' / 'qdrant'}"
    (name,) = open_store(store, Settings.from_environment()).names()
    with ExitStack() as stack:
        bare = stack.enter_context(bare_search(store, name))
        id_ = next(bare.collection.scan()).id
        server = stack.enter_context(running(store, name, id_))
        ask, ids = server.connect(), (server.ids * 5)[:50]
        vectors = bare.collection.vectors(ids)
        yield Duel(
            name="serve: uploads / the same without a server",
            ours=lambda: [ask(image) for image in images],
            peer=lambda: [search_bare(bare, [image]) for image in images],
        )
        yield Duel(
            name="serve: indexed images / searches alone",
            ours=lambda: [ask({"id": each}) for each in ids],
            peer=lambda: [bare.collection.query(vectors[each], limit=FIRST_DEPTH) for each in ids],
        )


if __name__ == "__main__":
    run_either(main, short)
