"""Measures what reading many rows costs the client, over HTTP and over gRPC.

    python benchmarks/protocols.py [--dimension 512] [--rows 20000] [--rounds 5] [--output protocols.json]

No Qdrant is needed: another process answers every request with a prepared page, over HTTP as Qdrant's JSON
and over gRPC as its messages. It times the transfer and the parsing: `models` by qdrant-client, `messages`
by `lookalike_core.stores.server_reads`. A server's own work is not included. It prints medians of rounds in
turn.
"""

import argparse
import json
import multiprocessing
import statistics
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from lookalike_core.stores.points import Payload, point_id
from lookalike_core.stores.server_reads import MessageReads, ModelReads, Reads
from machine import describe, write_results
from qdrant_client import QdrantClient
from qdrant_client import grpc as messages
from qdrant_client.conversions.conversion import RestToGrpc

PAGE = 2_000
VECTORS_AT_ONCE = 1_000
NAME = "any"
PATHS = {"points/scroll": "Scroll", "points": "Get", "facet": "Facet"}


def main() -> None:
    """Prints a line for each read, and writes the results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dimension", type=int, default=512)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    print(describe())
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=serve, args=(theirs, arguments.dimension, arguments.rows), daemon=True)
    server.start()
    try:
        found = measure(*ours.recv(), arguments.rows, arguments.rounds)
    finally:
        server.terminate()
    write_results(arguments.output, found)


def measure(http_port: int, grpc_port: int, rows: int, rounds: int) -> dict[str, dict[str, float]]:
    """Returns the seconds of each read in each way."""
    ids = [str(uuid.uuid4()) for _ in range(VECTORS_AT_ONCE)]
    pages, parts = rows // PAGE, rows // VECTORS_AT_ONCE

    def payloads(reads: Reads) -> None:
        for _ in range(pages):
            page, _ = reads.page(NAME, where=None, limit=PAGE, offset=None, fields=True)
            require(len([Payload.from_json(payload) for _, payload in page]), PAGE)

    def vectors(reads: Reads) -> None:
        for _ in range(parts):
            require(len(reads.vectors(NAME, ids)), VECTORS_AT_ONCE)

    def tally(reads: Reads) -> None:
        require(len(reads.facet(NAME, "sha256", limit=2**31)), rows)

    options: dict[str, Any] = {"port": http_port, "grpc_port": grpc_port, "check_compatibility": False}
    plain = QdrantClient("127.0.0.1", trust_env=False, **options)
    fast = QdrantClient("127.0.0.1", prefer_grpc=True, **options)
    ways: dict[str, Reads] = {
        "http, models": ModelReads(plain),
        "grpc, models": ModelReads(fast),
        "grpc, messages": MessageReads(fast, timeout_s=60),
    }
    found: dict[str, dict[str, float]] = {}
    for read in (payloads, vectors, tally):
        took: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, reads in ways.items():
                took[way].append(measure_seconds(partial(read, reads)))
        found[read.__name__] = {way: statistics.median(seconds) for way, seconds in took.items()}
        print(read.__name__, {way: f"{seconds:.2f} s" for way, seconds in found[read.__name__].items()})
    return found


def require(found: int, expected: int) -> None:
    """Raises where rows are missing: a benchmark of empty answers would be fast."""
    if found != expected:
        raise SystemExit(f"{found} rows were read instead of {expected}")


def measure_seconds(action: Callable[[], None]) -> float:
    """Returns the seconds that an action takes."""
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def serve(ports: Connection, dimension: int, rows: int) -> None:
    """Answers over both protocols, and sends its ports to the parent process."""
    as_json, as_messages = answers(dimension, rows)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            sent = as_json[PATHS[self.path.partition("?")[0].split("/", 3)[3]]]
            self.send_response(200)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

        def log_message(self, *_: object) -> None:
            """Logs nothing."""

    class Handlers(grpc.GenericRpcHandler):
        def service(self, details: Any) -> Any:  # noqa: ANN401 - gRPC's module has no types
            sent = as_messages[details.method.rpartition("/")[2]]
            return grpc.unary_unary_rpc_method_handler(lambda _request, _context: sent)

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    rpc = grpc.server(ThreadPoolExecutor(2), handlers=[Handlers()])
    grpc_port = rpc.add_insecure_port("127.0.0.1:0")
    rpc.start()
    ports.send((http.server_port, grpc_port))
    http.serve_forever()


def answers(dimension: int, rows: int) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Returns the answer to each method, in JSON and in messages."""
    vectors = np.random.default_rng(7).standard_normal((VECTORS_AT_ONCE, dimension)).astype(np.float32)
    payloads = [payload_of(number).to_json() for number in range(PAGE)]
    ids = [point_id("data", f"{number}.jpg") for number in range(PAGE)]
    hashes = [f"{number:064x}" for number in range(rows)]
    results = {
        "Scroll": {"points": [{"id": one, "payload": data} for one, data in zip(ids, payloads, strict=True)]},
        "Get": [{"id": one, "vector": row} for one, row in zip(ids, vectors.tolist(), strict=False)],
        "Facet": {"hits": [{"value": value, "count": 1} for value in hashes]},
    }
    as_json = {
        name: json.dumps({"result": result, "status": "ok", "time": 0.0}).encode()
        for name, result in results.items()
    }
    scrolled = [
        messages.RetrievedPoint(id=messages.PointId(uuid=one), payload=RestToGrpc.convert_payload(data))
        for one, data in zip(ids, payloads, strict=True)
    ]
    got = []
    for one, row in zip(ids, vectors.tolist(), strict=False):
        vector = messages.VectorOutput(dense=messages.DenseVector(data=row))
        got.append(
            messages.RetrievedPoint(
                id=messages.PointId(uuid=one), vectors=messages.VectorsOutput(vector=vector)
            )
        )
    hits = [messages.FacetHit(value=messages.FacetValue(string_value=value), count=1) for value in hashes]
    return as_json, {
        "Scroll": messages.ScrollResponse(result=scrolled).SerializeToString(),
        "Get": messages.GetResponse(result=got).SerializeToString(),
        "Facet": messages.FacetResponse(hits=hits).SerializeToString(),
    }


def payload_of(number: int) -> Payload:
    """Returns the payload of one image."""
    return Payload(
        dataset="data",
        path=f"cat/{number:06}.jpg",
        class_name="cat",
        sha256=f"{number:064x}",
        width=640,
        height=480,
        bytes=123_456,
        mtime_ns=1_700_000_000_123_456_789,
        ingested_at="2026-01-01T00:00:00+00:00",
    )


if __name__ == "__main__":
    main()
