"""Measures the page of `search serve` in Chromium: from a click on a neighbour until its neighbours are seen.

    python benchmarks/page.py IMAGE... --store STORE --collection NAME [--points 100000] [--clicks 30]
        [--output JSON]

The collection is a copy of the named one's space with so many synthetic points (the clusters of `store.py`)
and their index, in a temporary folder. Points that the run shows are given files: the images in turn, each
with other bytes behind its end, so that each has a thumbnail of its own. A run opens the page of an
indexed image, waits until it rests, and clicks one of its neighbours, of each rank in turn. From the click
event on it measures until the new neighbours are in the document, until the images of the first row are
decoded and a frame was painted with them, and until all ten are. The server's own CPU time for a click, its
thumbnails included, depends less on what else the machine does. It is done twice, each time in a new browser
window: first the server makes the thumbnails, then it has them in its cache.
"""

import argparse
import hashlib
import secrets
import shutil
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.points import Payload
from lookalike_core.stores.protocol import Collection
from machine import describe, write_results
from serve import Server, running, synthetic_store
from store import CLUSTERS

BAD = 400
"""Statuses from which on a response is an error."""

DEPTH = 24
"""Neighbours of an image that are given files: more than the page shows."""

MOMENTS = ("there", "row", "all")
"""What is measured from a click on: the new page, the images of the first row, all images."""

WATCH = """
() => {
  window.measured = new Promise(done => {
    addEventListener("click", () => {
      const started = performance.now(), before = document.getElementById("main"), found = {};
      const painted = () => new Promise(then => requestAnimationFrame(() => requestAnimationFrame(then)));
      const look = async () => {
        const main = document.getElementById("main");
        const images = [...main.querySelectorAll(".hit img")];
        if (main === before || !images.length) { requestAnimationFrame(look); return; }
        found.there = performance.now() - started;
        const top = images[0].getBoundingClientRect().top;
        const row = images.filter(each => each.getBoundingClientRect().top === top);
        await Promise.all(row.map(each => each.decode()));
        await painted();
        found.row = performance.now() - started;
        found.in_row = row.length;
        await Promise.all(images.map(each => each.decode()));
        await painted();
        found.all = performance.now() - started;
        done(found);
      };
      look();
    }, { capture: true, once: true });
  });
}
"""


def main() -> None:
    """Prints what it measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE")
    parser.add_argument("--store", required=True)
    parser.add_argument("--collection", required=True)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--clicks", type=int, default=30)
    parser.add_argument("--output", type=Path, metavar="JSON")
    arguments = parser.parse_args()
    print(describe())
    results: dict[str, Any] = {"points": arguments.points}
    with prepared(arguments) as (server, ids):
        for kind in ("thumbnails are made", "thumbnails are cached"):
            before = server.cpu_s()
            times = measure_clicks(server, ids)
            cpu_ms = 1000 * (server.cpu_s() - before) / (2 * len(ids))  # a page is opened before each click
            results[kind] = {name: [each[name] for each in times] for name in MOMENTS}
            results[kind]["server_cpu_ms"] = cpu_ms
            print(f"{kind}: {len(times)} clicks, {times[0]['in_row']} images in the first row")
            print(f"  the server's CPU time for a page with its thumbnails: {cpu_ms:.0f} ms")
            for name in MOMENTS:
                values = results[kind][name]
                low, high = statistics.median(values), statistics.quantiles(values, n=20)[-1]
                print(f"  {name}: p50 {low:.0f} ms, p95 {high:.0f} ms, largest {max(values):.0f} ms")
    write_results(arguments.output, results)


@contextmanager
def prepared(arguments: argparse.Namespace) -> Iterator[tuple[Server, list[str]]]:
    """Yields a server of synthetic points, and the ids of images to begin with."""
    with (
        tempfile.TemporaryDirectory(prefix="lookalike-benchmark-") as folder,
        synthetic_store(arguments.store, arguments.collection, arguments.points) as store,
    ):
        made = EmbeddedStore(Path(store.partition(":")[2]))
        with made.open(arguments.collection) as opened:
            ids = give_files(opened, Path(folder), arguments.images, arguments.clicks)
        with running(store, arguments.collection, ids[0]) as server:
            yield server, ids


def give_files(collection: Collection, folder: Path, images: Sequence[Path], clicks: int) -> list[str]:
    """Gives files to images to begin with, their neighbours and theirs; returns the ids of the first ones."""
    collection.record_dataset("benchmark", str(folder))
    stride = max(1, collection.count() // clicks // CLUSTERS) * CLUSTERS + 1
    begun = {}
    for number, payload in enumerate(collection.scan()):
        if number % stride == 0 and len(begun) < clicks:
            begun[payload.id] = payload
    shown = begun | neighbours_of(collection, list(begun))
    shown |= neighbours_of(collection, list(shown))
    collection.replace_payloads(
        [
            write_file(folder, payload, images[number % len(images)])
            for number, payload in enumerate(shown.values())
        ],
        same_classes=True,
    )
    return list(begun)


def neighbours_of(collection: Collection, ids: Sequence[str]) -> dict[str, Payload]:
    """Returns the neighbours of images, by their ids."""
    vectors = collection.vectors(ids)
    hits = (collection.query(vectors[id_], limit=DEPTH) for id_ in ids)
    return {hit.payload.id: hit.payload for each in hits for hit in each}


def write_file(folder: Path, payload: Payload, image: Path) -> Payload:
    """Writes an image of its own for a point, which lies behind the image's end; returns its payload."""
    from PIL import Image

    content = image.read_bytes() + secrets.token_bytes(16)  # no earlier run made its thumbnail
    (folder / payload.path).write_bytes(content)
    with Image.open(image) as opened:
        width, height = opened.size
    sha256 = hashlib.sha256(content).hexdigest()
    return replace(payload, sha256=sha256, width=width, height=height, bytes=len(content))


def measure_clicks(server: Server, ids: Sequence[str]) -> list[dict[str, float]]:
    """Returns the times of a click on a neighbour of each image, in milliseconds."""
    from playwright.sync_api import sync_playwright

    times, failed = [], []
    with sync_playwright() as playwright:
        program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
        browser = playwright.chromium.launch(executable_path=program)
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        tab.on("response", lambda response: failed.append(response.url) if response.status >= BAD else None)
        for number, id_ in enumerate(ids):
            tab.goto(f"http://{server.host}:{server.port}/?id={id_}")
            tab.wait_for_selector("main.is-live")
            tab.wait_for_load_state("networkidle")
            tab.evaluate(WATCH)
            tab.locator(".hit > a").nth(number % 10).click()
            times.append(tab.evaluate("() => window.measured"))
        browser.close()
    if failed:
        raise RuntimeError(f"{len(failed)} requests failed, such as {failed[0]}")
    return times


if __name__ == "__main__":
    main()
