"""Measures the answers of `search serve` while an ingest writes to the collection that is served.

    python benchmarks/serve_beside.py FOLDER --store STORE --collection NAME [--every 0.5] [--within 5]
        [--output JSON] -- OPTIONS...

OPTIONS are those of `ingest run FOLDER`, such as `--backbone vgg --weights vgg16_imagenet_notop.h5`, which
has to add images to the collection. The server starts first. A client asks every so many seconds, by an
upload of the folder and by an indexed image in turn, whatever becomes of the questions before, from 2 s
before the ingest to the moment when the server shows its images. An answer is good that comes within so many
seconds, and a 503 is the only other one that is documented.
"""

import argparse
import collections
import http.client
import itertools
import json
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from lookalike_core.settings import Settings
from lookalike_core.stores.open_store import open_store
from lookalike_core.stores.snapshots import open_snapshot
from machine import describe, write_results
from serve import QUERY, Server, running

TIMEOUT_S = 60

Answer = tuple[str, int, float]
BEFORE_S = 2.0
SUFFIXES = (".jpg", ".jpeg", ".png")


def main() -> None:
    """Prints what it measured."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--store", required=True)
    parser.add_argument("--collection", required=True)
    parser.add_argument("--every", type=float, default=0.5)
    parser.add_argument("--within", type=float, default=5.0)
    parser.add_argument("--output", type=Path, metavar="JSON")
    own, options = _split(sys.argv[1:])
    arguments = parser.parse_args(own)
    print(describe())
    with open_snapshot(open_store(arguments.store, Settings.from_environment()), arguments.collection) as one:
        id_, before = next(one.scan()).id, one.count()
    images = sorted(each for each in arguments.folder.rglob("*") if each.suffix.lower() in SUFFIXES)
    with running(arguments.store, arguments.collection, id_) as server:
        client = Client(server, [image.read_bytes() for image in images[:20]], arguments.every)
        client.start()
        time.sleep(BEFORE_S)
        began = time.monotonic()
        command = [Path(sys.executable).parent / "ingest", "run", arguments.folder]
        subprocess.run([*command, "--store", arguments.store, *options], check=True)
        took_s = time.monotonic() - began
        shown_s = _wait_for_more(server, before)
        client.stop()
        points = _points(server)
    results = summarise(client.answers, arguments.within)
    results |= {"ingest_s": took_s, "shown_after_s": shown_s, "points": [before, points]}
    print(f"ingest of {points - before} images: {took_s:.0f} s; they are found {shown_s:.1f} s later")
    write_results(arguments.output, results)


def _split(words: list[str]) -> tuple[list[str], list[str]]:
    """Returns the words before and behind the first `--`."""
    place = words.index("--") if "--" in words else len(words)
    return words[:place], words[place + 1 :]


class Client:
    """Asks at intervals, each time by a thread and a connection of its own.

    `answers` are what was asked with, the status, 0 without an answer, and seconds.
    """

    def __init__(self, server: Server, images: list[bytes], every_s: float) -> None:
        self.answers: list[Answer] = []
        self._server, self._images, self._every_s = server, itertools.cycle(images), every_s
        self._ids = itertools.cycle(server.ids)
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self._asking = threading.Thread(target=self._ask_for_ever)

    def start(self) -> None:
        """Begins to ask."""
        self._asking.start()

    def stop(self) -> None:
        """Ends, and waits for answers."""
        self._ended.set()
        self._asking.join()
        for thread in self._threads:
            thread.join()

    def _ask_for_ever(self) -> None:
        for turn in itertools.count():
            body = next(self._images) if turn % 2 else json.dumps({"id": next(self._ids)}).encode()
            kind = "image/jpeg" if turn % 2 else "application/json"
            thread = threading.Thread(target=self._ask, args=(body, kind))
            thread.start()
            self._threads.append(thread)
            if self._ended.wait(self._every_s):
                return

    def _ask(self, body: bytes, kind: str) -> None:
        started, status = time.monotonic(), 0
        connection = http.client.HTTPConnection(self._server.host, self._server.port, timeout=TIMEOUT_S)
        try:
            connection.request("POST", QUERY, body, {"Content-Type": kind})
            response = connection.getresponse()
            response.read()
            status = response.status
        except OSError as error:
            print(f"no answer: {error!r}")
        finally:
            connection.close()
        name = "upload" if kind.startswith("image/") else "id"
        self.answers.append((name, status, time.monotonic() - started))


def summarise(answers: list[Answer], within_s: float) -> dict[str, Any]:
    """Prints and returns how many answers were good: of all questions, and of either kind."""
    kinds = {"all": answers}
    kinds |= {name: [each for each in answers if each[0] == name] for name in ("id", "upload")}
    return {name: _summarise_kind(name, each, within_s) for name, each in kinds.items()}


def _summarise_kind(name: str, answers: list[Answer], within_s: float) -> dict[str, Any]:
    times = [seconds for _, status, seconds in answers if status == http.client.OK]
    good = sum(seconds <= within_s for seconds in times)
    statuses = dict(collections.Counter(status for _, status, _ in answers))
    p50, p95 = (statistics.quantiles(times, n=20)[place] for place in (9, 18))
    print(
        f"{name}: {good} of {len(answers)} questions ({good / len(answers):.1%}) within {within_s:g} s; "
        f"p50 {p50:.2f} s, p95 {p95:.2f} s, slowest {max(times):.2f} s; statuses {statuses}"
    )
    return {
        "questions": len(answers),
        "good": good,
        "statuses": statuses,
        "p50_s": p50,
        "p95_s": p95,
        "slowest_s": max(times),
    }


def _wait_for_more(server: Server, before: int) -> float:
    """Returns after how many seconds the server shows more images than before."""
    began = time.monotonic()
    while _points(server) == before:
        time.sleep(0.1)
    return time.monotonic() - began


def _points(server: Server) -> int:
    connection = http.client.HTTPConnection(server.host, server.port, timeout=TIMEOUT_S)
    try:
        connection.request("GET", "/api/v1/collections")
        listed = json.loads(connection.getresponse().read())["collections"]
    finally:
        connection.close()
    return next(int(each["points"]) for each in listed if each["points"] is not None)


if __name__ == "__main__":
    main()
