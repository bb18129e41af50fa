"""Measures the page of `search serve` in Chromium: scrolling through all images, and moving the map.

    python benchmarks/page_scroll.py IMAGE... --store STORE --collection NAME [--points 100000] [--steps 200]
        [--output JSON]

The collection is one of the named one's space with so many synthetic points (the clusters of `store.py`) in
a temporary folder, whose files are links to the images. The map has as many points: its job prints them,
since `search map` places 10,000 at most. The server is a process of its own. Steps of the wheel scroll
`/browse`, then the page jumps to random places; the map is enlarged, dragged, pointed at, and made small
again, over and over. Counted are tasks of the page's main thread over 50 ms, as the browser tells them
(`longtask`) and as its trace has them, there also by the processor's time, which others on the machine do not
lengthen; the time between frames; and the most tiles that the document held.
"""

import argparse
import json
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lookalike_core.settings import Settings
from lookalike_core.stores.edge_engine import EngineTuning
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.open_store import open_store
from lookalike_core.stores.points import ImagePoint, Payload
from machine import describe, write_results
from store import CLUSTERS, Clusters

if TYPE_CHECKING:
    from lookalike_search.serving.query_fields import Fields
    from playwright.sync_api import Browser, Page

LONG_MS = 50
DATASET = "benchmark"
STEP_PX = 600
STEP_MS = 40

WATCH = """
window.longTasks = [];
new PerformanceObserver(list => longTasks.push(...list.getEntries().map(each => each.duration)))
  .observe({ type: "longtask", buffered: true });
window.frames_ = [];
window.mostTiles = 0;
let last = 0;
const look = now => {
  if (last) frames_.push(now - last);
  last = now;
  mostTiles = Math.max(mostTiles, document.getElementsByClassName("tile").length);
  requestAnimationFrame(look);
};
requestAnimationFrame(look);
"""
FORGET = "longTasks.length = 0; frames_.length = 0; mostTiles = 0"


def main() -> None:
    """Prints what it measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path, nargs="*", metavar="IMAGE")
    parser.add_argument("--store")
    parser.add_argument("--collection", required=True)
    parser.add_argument("--points", type=int, default=100_000)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--output", type=Path, metavar="JSON")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve, arguments.collection)
        return
    print(describe())
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lookalike-benchmark-")))
        make_store(folder, arguments.store, arguments.collection, arguments.points, arguments.images)
        url = stack.enter_context(running(folder, arguments.collection))
        results = measure(url, arguments.steps)
    write_results(arguments.output, {"points": arguments.points, **results})


def make_store(folder: Path, store: str, collection: str, count: int, images: Sequence[Path]) -> None:
    """Makes a collection of synthetic points whose files are links to the images, and the places of a map."""
    manifest = open_store(store, Settings.from_environment()).manifest(collection)
    clusters = Clusters.of(manifest.identity.dimension)
    files = [(image.read_bytes(), image) for image in images]
    known = [(sha256(content).hexdigest(), len(content), image) for content, image in files]
    made = EmbeddedStore(folder / "store", tuning=EngineTuning(indexed_above_kb=10**9))
    made.create(manifest)
    root, places, draw = folder / "images", [], random.Random(0)  # noqa: S311 - no secret is made of it
    with made.open(collection) as opened:
        opened.record_dataset(DATASET, str(root))
        for start in range(0, count, 1000):
            payloads = [_payload(root, row, known) for row in range(start, min(count, start + 1000))]
            vectors = clusters.draw(len(payloads), start)
            points = [
                ImagePoint(payload=each, vector=row) for each, row in zip(payloads, vectors, strict=True)
            ]
            opened.upsert(points)
            places += [_place(each, draw) for each in payloads]
    record = {"schema": 1, "pictures": count, "total": count, "seed": 0, "method": "PCA", "places": places}
    nothing = ("perplexity", "kl_divergence", "trustworthiness", "same_class_on_map", "same_class_in_space")
    (folder / "map.json").write_text(json.dumps(record | dict.fromkeys(nothing)) + "\n", encoding="utf-8")


def _payload(root: Path, row: int, known: Sequence[tuple[str, int, Path]]) -> Payload:
    digest, size, image = known[row % len(known)]
    name = f"class {row % CLUSTERS}"
    path = root / name / f"{row:06}{image.suffix}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(image.resolve())
    return Payload(
        dataset=DATASET,
        path=f"{name}/{path.name}",
        class_name=name,
        sha256=digest,
        width=300,
        height=200,
        bytes=size,
        mtime_ns=path.stat().st_mtime_ns,
        ingested_at="2026-01-01T00:00:00+00:00",
    )


def _place(payload: Payload, draw: random.Random) -> dict[str, Any]:
    number = int((payload.class_name or "0").split()[-1])
    x, y = number % 32 * 10 + draw.gauss(0, 3), number // 32 * 10 + draw.gauss(0, 3)
    return {
        "id": payload.id,
        "dataset": payload.dataset,
        "path": payload.path,
        "class": payload.class_name,
        "x": x,
        "y": y,
    }


@contextmanager
def running(folder: Path, collection: str) -> Iterator[str]:
    """Starts a server over the store of the folder, and yields its URL."""
    command = [sys.executable, __file__, "--collection", collection, "--serve", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None  # noqa: S101 - for the type checker
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def serve(folder: Path, collection: str) -> None:
    """Serves the store of the folder, until the process is ended; jobs print the map of the folder."""
    from lookalike_search.serving.access import Access
    from lookalike_search.serving.run import Serving, open_serving
    from lookalike_search.serving.server import listen, url_of

    how = Serving(
        access=Access(host="127.0.0.1"),
        settings=Settings.from_environment(),
        job_command=lambda _default: lambda _kind, fields: _print_map(folder, fields),
    )
    socket = listen("127.0.0.1", 0, limits=how.limits)
    with open_serving(how, EmbeddedStore(folder / "store"), [collection]) as (server, _):
        server.run(socket, on_ready=lambda: print(url_of(socket), flush=True))


def _print_map(folder: Path, fields: "Fields") -> list[str]:
    fields.text("collection")
    return ["cat", str(folder / "map.json")]


def measure(url: str, steps: int) -> dict[str, Any]:
    """Scrolls the list of images, and moves the map, in a window of 1280 x 900 pixels."""
    from playwright.sync_api import sync_playwright

    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    results: dict[str, Any] = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        context.add_init_script(WATCH)
        tab = context.new_page()
        open_view(tab, f"{url}/browse", ".classes img")  # the first page of a browser has much else to do
        parts: dict[str, Callable[[], None]] = {
            "open browse": lambda: open_view(tab, f"{url}/browse?images=all", ".tile img"),
            "scroll": lambda: scroll(tab, steps),
            "jump": lambda: jump(tab, steps),
            "classes": lambda: open_view(tab, f"{url}/browse", ".classes img"),
            "make map": lambda: make_map(tab, url),
            "open map": lambda: open_view(tab, f"{url}/map", "#map:visible"),
            "map": lambda: move_map(tab, steps),
        }
        for name, work in parts.items():
            results[name] = watch(browser, tab, work)
            print(name, json.dumps(results[name]))
        browser.close()
    return results


def watch(browser: "Browser", tab: "Page", work: Callable[[], None]) -> dict[str, Any]:
    """Returns what the browser counted while work was done."""
    if tab.url != "about:blank":
        tab.evaluate(FORGET)
    browser.start_tracing(page=tab, categories=["toplevel", "__metadata"])
    work()
    done = _main_tasks(json.loads(browser.stop_tracing())["traceEvents"])
    wall, processor = ([task.get(kind, 0) / 1000 for task in done] for kind in ("dur", "tdur"))
    tasks, frames, tiles = tab.evaluate("[longTasks, frames_, mostTiles]")
    return {
        "longtasks": [round(each) for each in tasks],
        "trace_ms": _long(wall),
        "trace_processor_ms": _long(processor),
        "longest_processor_ms": round(max(processor, default=0), 1),
        "frame_p50_ms": round(statistics.median(frames), 1),
        "frame_p95_ms": round(statistics.quantiles(frames, n=20)[-1], 1),
        "frame_max_ms": round(max(frames), 1),
        "most_tiles": tiles,
    }


def _long(times: Sequence[float]) -> list[int]:
    return [round(each) for each in times if each > LONG_MS]


def _main_tasks(trace: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the tasks of the pages' main threads."""
    mains = {
        (event["pid"], event["tid"])
        for event in trace
        if event["name"] == "thread_name" and event["args"]["name"] == "CrRendererMain"
    }
    return [
        event
        for event in trace
        if event["name"].endswith("RunTask") and (event["pid"], event["tid"]) in mains and "dur" in event
    ]


def open_view(tab: "Page", address: str, until: str) -> None:
    """Opens a view in a new document, and waits until it is seen."""
    tab.goto(address)
    tab.wait_for_selector(until)
    tab.wait_for_timeout(1500)


def scroll(tab: "Page", steps: int) -> None:
    """Turns the wheel."""
    tab.mouse.move(640, 450)
    for _ in range(steps):
        tab.mouse.wheel(0, STEP_PX)
        tab.wait_for_timeout(STEP_MS)
    tab.wait_for_timeout(1500)


def jump(tab: "Page", steps: int) -> None:
    """Goes to random places of the list, as by dragging the scroll bar."""
    draw = random.Random(0)  # noqa: S311 - no secret is made of it
    for _ in range(steps // 4):
        tab.evaluate(f"scrollTo(0, document.documentElement.scrollHeight * {draw.random()})")
        tab.wait_for_timeout(4 * STEP_MS)
    tab.wait_for_timeout(1500)


def make_map(tab: "Page", url: str) -> None:
    """Starts the job of the map by its button, and waits until the map is drawn."""
    tab.goto(f"{url}/map")
    tab.click("text=Make the map")
    tab.wait_for_selector("#map:visible", timeout=120_000)
    tab.wait_for_timeout(1500)


def move_map(tab: "Page", steps: int) -> None:
    """Enlarges, drags, points and makes small again, many times."""
    tab.evaluate("document.querySelector('[data-stage]').scrollIntoView()")
    box = tab.locator("#map").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    for turn in range(max(1, steps // 40)):
        tab.mouse.move(x, y)
        tab.keyboard.down("Control")
        _repeat(tab, 10, lambda _: tab.mouse.wheel(0, -120))
        tab.keyboard.up("Control")
        tab.mouse.down()
        _repeat(tab, 10, lambda step: tab.mouse.move(x - 20 * step, y + 10 * step))
        tab.mouse.up()
        _repeat(tab, 10, lambda step, turn=turn: tab.mouse.move(x + 13 * step, y + 7 * turn))
        tab.keyboard.down("Control")
        _repeat(tab, 10, lambda _: tab.mouse.wheel(0, 120))
        tab.keyboard.up("Control")
    tab.wait_for_timeout(1500)


def _repeat(tab: "Page", times: int, action: Callable[[int], None]) -> None:
    for step in range(times):
        action(step)
        tab.wait_for_timeout(STEP_MS)


if __name__ == "__main__":
    main()
