"""Computes what more images would take from measured rates: disk, memory, machines and time.

    python benchmarks/scale.py            # prints the tables of docs/explanation/scale.md
    python benchmarks/scale.py --write    # updates them there

Every figure is computed from `INPUTS` by the formula at the head of its column. After a new measurement
change the input and run with `--write`. Inputs that `million.py` measures are taken from
`benchmarks/million.json` where that exists, of the largest collection of each dimension in it. Units are
decimal: 1 GB is 10^9 bytes.
"""

import argparse
import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "scale.md"
MILLION = Path(__file__).with_name("million.json")

SIZES = (1_281_167, 1_000_000_000)
"""Numbers of images: ImageNet's training set, and a billion."""

STEPS = (100_000, 10_000_000, 1_000_000_000)
"""Numbers of images up to which a setup is recommended, and one beyond."""


class Input(NamedTuple):
    """An input figure, by the symbol that formulas use."""

    symbol: str
    value: float
    unit: str
    what: str
    source: str


README = "[benchmarks](../../benchmarks/README.md#{})"
EMBEDDING, STORES, COMMANDS = (README.format(part) for part in ("embedding", "stores", "whole-commands"))
FOOTPRINT, POINTS = README.format("footprint"), README.format("a-million-points")
PLANNING = "[Qdrant, capacity planning](https://qdrant.tech/documentation/capacity-planning/)"

WRITTEN = (
    Input("r512", 4.7, "images/s", "whole ingest, fp32, VGG16 to `block5_pool`", EMBEDDING),
    Input("r2048", 9.1, "images/s", "whole ingest, fp32, ResNet101V2, 30 of its 33 blocks", EMBEDDING),
    Input("w512", 3884, "points/s", "upserts of 256, 512 x 20,000", STORES),
    Input("w2048", 2089, "points/s", "upserts of 256, 2048 x 20,000", STORES),
    Input("i512", 15.5, "s", "index built, 512 x 20,000", STORES),
    Input("i2048", 25.0, "s", "index built, 2048 x 20,000", STORES),
    Input("e512", 7.0, "ms", "exact query, p50, 512 x 20,000", STORES),
    Input("e2048", 21.9, "ms", "exact query, p50, 2048 x 20,000", STORES),
    Input("h512", 1.6, "ms", "indexed query, p50, 512 x 20,000", STORES),
    Input("h2048", 2.1, "ms", "indexed query, p50, 2048 x 20,000", STORES),
    Input("n512", 20_000, "points", "N₀: those that `i512`, `e512` and `h512` were measured on", STORES),
    Input("n2048", 20_000, "points", "N₀: those that `i2048`, `e2048` and `h2048` were measured on", STORES),
    Input("u", 0.93, "s", "unchanged ingest, from process start to end", COMMANDS),
    Input("v", 10_000, "files", "in the folder of `u`", COMMANDS),
    Input("a", 2_000, "bytes", "a point in the memory of an ingest into the embedded store", POINTS),
    Input("k", 1, "byte", "a known image in an ingest's memory", FOOTPRINT),
    Input("l", 348, "bytes", "a known image in the list of points, on the disk", FOOTPRINT),
    Input("p", 401, "bytes", "an image's payload", FOOTPRINT),
    Input("m", 307, "bytes", "part of payload indexes (242), ids (29) and graph (35)", FOOTPRINT),
    Input("f", 115_000, "bytes", "an image's file", "ImageNet's training images: 147.9 GB as an archive"),
    Input("q", 1.5, "", "bytes of memory for a byte of vectors in memory", PLANNING),
    Input("M", 128e9, "bytes", "memory of a server, of which 80 % are used", "chosen"),
    Input("S", 4e12, "bytes", "disk of a server, of which 80 % are used", "chosen"),
    Input("T", 30, "days", "goal for embedding all images", "chosen"),
)


def read_inputs(million: Path = MILLION) -> tuple[Input, ...]:
    """Returns the inputs above, but those that `million.py` measured from its file, where that exists.

    The index of a case that was interrupted has no seconds there: the case does not count. `a` is of the last
    case, whatever its dimension: it is of payloads.
    """
    if not million.exists():
        return WRITTEN
    measured: dict[str, Input] = {}
    cases = json.loads(million.read_text(encoding="utf-8"))["cases"]
    for name, steps in sorted(cases.items(), key=lambda case: int(case[0].partition(" ")[0])):
        shape, _, quantize = name.partition(", ")
        points, _, dimension = shape.partition(" x ")
        is_whole = {"write", "index", "warm"} <= steps.keys() and "seconds" in steps["index"]
        if quantize == "none" and is_whole:
            measured |= {each.symbol: each for each in _of_case(int(points), dimension, steps)}
    return tuple(measured.get(each.symbol, each) for each in WRITTEN)


def _of_case(points: int, dimension: str, steps: dict[str, Any]) -> Iterator[Input]:
    """Yields the inputs that a case of `million.py` has; the largest case comes last, and counts."""
    shape, warm = f"{dimension} x {points:,}", steps["warm"]
    rate = steps["write"]["points_per_second"][-1]
    yield Input(f"w{dimension}", rate, "points/s", f"upserts of 128, the last 100,000 of {shape}", POINTS)
    yield Input(f"i{dimension}", steps["index"]["seconds"], "s", f"index built, {shape}", POINTS)
    yield Input(f"e{dimension}", warm["exact"]["p50_ms"], "ms", f"exact query, p50, {shape}", POINTS)
    yield Input(f"h{dimension}", warm["p50_ms"], "ms", f"indexed query, p50, {shape}", POINTS)
    what = f"N₀: those that `i{dimension}`, `e{dimension}` and `h{dimension}` were measured on"
    yield Input(f"n{dimension}", points, "points", what, POINTS)
    memory = 1e6 * max(steps[step]["anonymous_mb"] for step in ("write", "index"))
    what = "a point in the memory of an ingest into the embedded store"
    yield Input("a", round(memory / points), "bytes", what, POINTS)
    if "ingest" in steps:
        seconds = steps["ingest"]["seconds"]
        yield Input("u", seconds, "s", "unchanged ingest, from process start to end", POINTS)
        yield Input("v", points, "files", "in the folder of `u`", POINTS)


INPUTS = read_inputs()
VALUES = {each.symbol: each.value for each in INPUTS}

NETWORKS = {512: "VGG16, 512", 2048: "ResNet101V2, 2048"}
QUANTIZATIONS = {"none": 4.0, "int8": 1.0, "4-bit": 0.5}
"""Quantization -> bytes of a value in memory."""

SHORTENED = 100_000
"""Bytes from which on a larger unit is used."""

USED = 0.8
"""The share of a server's memory and disk that is used."""

SHARDS_A_NODE = 2


def main() -> None:
    """Prints the tables, or writes them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true", help=f"write the tables into {PAGE.name}")
    if parser.parse_args().write:
        PAGE.write_text(replace_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print("\n\n".join(tables()))


def replace_tables(page: str) -> str:
    """Returns the page with its tables replaced by these, in order."""
    left = tables()
    return re.sub(r"^\|(?:.*\n)(?:\|.*\n)*", lambda _: f"{next(left)}\n", page, flags=re.MULTILINE)


def tables() -> Iterator[str]:
    """Yields setups and inputs; then, for each number of images, the layouts of a store and the times."""
    yield setups_table()
    yield inputs_table()
    for number in SIZES:
        yield layouts_table(number)
        yield times_table(number)


def inputs_table() -> str:
    """Returns the table of every figure that is not computed."""
    rows = [[f"`{each.symbol}`", _shown(each), each.what, each.source] for each in INPUTS]
    return _table(["", "value", "quantity", "source"], rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """A way to store the vectors on one or several servers: sizes are bytes, of all servers together."""

    number: int
    dimension: int
    in_memory: float
    replicas: int

    @property
    def disk(self) -> float:
        """Returns the bytes of vectors, quantized vectors if any, payloads and index."""
        smaller = self.in_memory if self.in_memory < QUANTIZATIONS["none"] else 0
        per_image = (4 + smaller) * self.dimension + VALUES["p"] + VALUES["m"]
        return self.replicas * self.number * per_image

    @property
    def memory(self) -> float:
        """Returns the bytes of the vectors that are compared first, and of all that is not quantized."""
        per_image = VALUES["q"] * self.in_memory * self.dimension + VALUES["m"]
        return self.replicas * self.number * per_image

    @property
    def nodes(self) -> int:
        """Returns the servers that memory and disk need; two replicas need three, so that one may fail."""
        needed = max(self.memory / VALUES["M"], self.disk / VALUES["S"]) / USED
        return max(math.ceil(needed), 1 if self.replicas == 1 else 3)

    @property
    def shards(self) -> int:
        """Returns one for a single node, else a few for each, so that nodes can be added."""
        return 1 if self.nodes == 1 else SHARDS_A_NODE * self.nodes

    @property
    def index_s(self) -> float:
        """Returns the seconds to index a server's shards in sequence, all servers in parallel."""
        points = self.number / self.shards
        one = VALUES[f"i{self.dimension}"] * _steps(points) / _steps(VALUES[f"n{self.dimension}"])
        return one * self.replicas * self.shards / self.nodes


def layouts_table(number: int) -> str:
    """Returns the table of each network, quantization and number of replicas."""
    head = [
        "network",
        "quantization",
        "replicas",
        "disk",
        "memory",
        "servers",
        "shards",
        "N / shards",
        "index",
    ]
    formulas = ["D values", "b bytes a value", "R", "R N (4D + bD + p + m)", "R N (q b D + m)"]
    formulas += ["max(memory / M, disk / S) / 0.8", "2 a server", "n"]
    formulas += ["i (n ln n) / (N₀ ln N₀) R shards / servers"]
    rows = [[f"*{formula}*" for formula in formulas]]
    for dimension, network in NETWORKS.items():
        for quantization, in_memory in QUANTIZATIONS.items():
            for replicas in (1, 2):
                layout = Layout(number=number, dimension=dimension, in_memory=in_memory, replicas=replicas)
                sizes = [_size(layout.disk), _size(layout.memory)]
                counts = [f"{layout.nodes:,}", f"{layout.shards:,}", _rounded(number / layout.shards)]
                counts.append(_span(layout.index_s))
                rows.append([network, quantization, str(replicas), *sizes, *counts])
    return _table(head, rows)


def times_table(number: int) -> str:
    """Returns the table of the times of the work that is done once, and of a query."""
    rows = [["*formula*", "*D = 512*", "*D = 2048*"]]

    def row(what: str, *cells: str) -> None:
        rows.append([what, *cells])

    def each(symbol: str) -> list[float]:
        return [VALUES[f"{symbol}{dimension}"] for dimension in NETWORKS]

    row("the images themselves: N f", *[_size(number * VALUES["f"])] * 2)
    row("embedding, one machine: N / r", *(_span(number / rate) for rate in each("r")))
    days = VALUES["T"] * 86_400
    row("machines to embed in T: N / (r T)", *(f"{math.ceil(number / rate / days):,}" for rate in each("r")))
    row("writing, one writer: N / w", *(_span(number / rate) for rate in each("w")))
    row("exact query, one shard: e N / N₀", *(_span(exact_s(number, dimension)) for dimension in NETWORKS))
    row(
        "indexed query, one shard: h ln N / ln N₀",
        *(_span(indexed_s(number, dimension)) for dimension in NETWORKS),
    )
    row("unchanged ingest: u N / v", *[_span(VALUES["u"] * number / VALUES["v"])] * 2)
    row("an ingest into the embedded store, in memory: a N", *[_size(VALUES["a"] * number)] * 2)
    row("list of points of one ingest, in memory: k N", *[_size(VALUES["k"] * number)] * 2)
    row("the same on the disk: l N", *[_size(VALUES["l"] * number)] * 2)
    return _table(["", *NETWORKS.values()], rows)


def exact_s(number: float, dimension: int) -> float:
    """Returns the seconds of an exact query of one shard."""
    return VALUES[f"e{dimension}"] / 1000 * number / VALUES[f"n{dimension}"]


def indexed_s(number: float, dimension: int) -> float:
    """Returns the seconds of an indexed query of one shard."""
    return VALUES[f"h{dimension}"] / 1000 * math.log(number) / math.log(VALUES[f"n{dimension}"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is recommended for so many images: quantization as in `QUANTIZATIONS`, and replicas."""

    images: int
    name: str
    quantization: str
    replicas: int


SETUPS = (
    Setup(images=STEPS[0], name="embedded", quantization="none", replicas=1),
    Setup(images=STEPS[1], name="embedded, or one server", quantization="int8", replicas=1),
    Setup(images=STEPS[2], name="cluster", quantization="4-bit", replicas=2),
)


def setups_table() -> str:
    """Returns the table of what is recommended for a number of images, and what it takes."""
    head = ["images", "store", "network", "quantization", "servers", "disk", "memory", "embedded ingest"]
    head += ["the files", "embedding, one machine", "index", "query"]
    rows = []
    for setup in SETUPS:
        for dimension, network in NETWORKS.items():
            layout = Layout(
                number=setup.images,
                dimension=dimension,
                in_memory=QUANTIZATIONS[setup.quantization],
                replicas=setup.replicas,
            )
            rows.append(
                [
                    f"{setup.images:,}",
                    setup.name,
                    network,
                    setup.quantization,
                    f"{layout.nodes:,}" if setup.replicas > 1 else "1 machine",
                    _size(layout.disk),
                    _size(layout.memory),
                    _size(setup.images * VALUES["a"]) if setup.replicas == 1 else "",
                    _size(setup.images * VALUES["f"]),
                    _span(setup.images / VALUES[f"r{dimension}"]),
                    _span(layout.index_s),
                    _span(indexed_s(setup.images / layout.shards, dimension)),
                ]
            )
    return _table(head, rows)


def _steps(points: float) -> float:
    return points * math.log(points)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _shown(each: Input) -> str:
    if each.unit == "bytes" and each.value >= SHORTENED:
        return _size(each.value)
    return f"{each.value:,} {each.unit}".rstrip()


def _size(count: float) -> str:
    """Returns bytes in the largest unit that leaves a figure before the point."""
    for unit, size in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{_rounded(count / size)} {unit}"
    return f"{_rounded(count)} bytes"


def _span(seconds: float) -> str:
    """Returns a time in the largest unit of which there are two."""
    for unit, length in (("years", 365.25 * 86_400), ("days", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= 2 * length:
            return f"{_rounded(seconds / length)} {unit}"
    return f"{_rounded(seconds * 1000)} ms"


def _rounded(value: float) -> str:
    """Returns two significant figures of a small value, an integer of a large one."""
    return f"{value:.2g}" if value < 10 else f"{float(f'{value:.3g}'):,.0f}"  # noqa: PLR2004 - two digits


if __name__ == "__main__":
    main()
