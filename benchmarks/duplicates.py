"""Measures whether `search duplicates` offers copies and nothing but copies, on drawn images.

    python benchmarks/duplicates.py --proof-only [--per-kind 200] [--copies 12] [--kinds forms codes]
    python benchmarks/duplicates.py --network vgg=vgg16.h5 --network resnet=resnet101v2.h5:LAYER

There are eleven kinds of images (`drawn.py`), all different, and five copies of some: half size,
recompressed at quality 60, converted to another format, without metadata, and rotated by EXIF. With
`--proof-only` every image is a candidate for every other of its kind, without a network. With `--network
BACKBONE=WEIGHTS[:LAYER]` all are ingested, and candidates are those of `search duplicates`.

It prints for each kind how many files are offered for deletion wrongly, as copies of a different image, and
for each way how many copies are found: offered, or kept while their original is offered.

The short form (`--short`) compares the proof of copies among eight drawn images with decoding each once.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

import numpy as np
from drawn import KINDS
from lookalike_core.images.open_image import hash_stream, open_file
from lookalike_core.neighbours.brute_force import Nearest
from lookalike_core.prefetch import map_ahead
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.points import Payload
from lookalike_search.analysis.copy_candidates import Candidates
from lookalike_search.analysis.duplicates import find_near, prove_groups
from lookalike_search.analysis.file_state import FileState, ImageFile
from lookalike_search.analysis.verified_copies import prove_copies
from machine import describe, peak_bytes, write_results
from PIL import Image, PngImagePlugin
from short import Duel, run_either


class Way(StrEnum):
    """A way to make a copy."""

    HALF = "half"
    QUALITY = "quality 60"
    FORMAT = "format"
    STRIPPED = "stripped"
    TURNED = "turned"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A file: the image that it shows, and the way it was made if it is a copy."""

    file: Path
    kind: str
    number: int
    way: Way | None

    @property
    def image(self) -> tuple[str, int]:
        """Returns the kind and number of the image that the file shows."""
        return self.kind, self.number


Pair = tuple[Path, Path]
"""A file offered for deletion, and the one to keep."""


def main() -> None:
    """Prints a table for each way of finding candidates, and writes them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", nargs="+", choices=tuple(KINDS), default=tuple(KINDS))
    parser.add_argument("--per-kind", type=int, default=200, help="number of different images of each kind")
    parser.add_argument("--copies", type=int, default=12, help="images of each kind that have five copies")
    parser.add_argument(
        "--proof-only", action="store_true", help="compare all images of a kind, without a network"
    )
    parser.add_argument("--network", action="append", default=[], metavar="BACKBONE=WEIGHTS[:LAYER]")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--work", type=Path, help="folder in which images and stores are kept for later runs")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    print(describe())
    results = {}
    with nullcontext(arguments.work) if arguments.work else tempfile.TemporaryDirectory() as work:
        files = draw_all(Path(work) / "images", arguments.kinds, arguments.per_kind, arguments.copies)
        if arguments.proof_only:
            results["proof only"] = report("proof only", files, lambda: offered_by_proof(files))
        for network in arguments.network:
            find = partial(offered_by_network, Path(work), network, arguments.precision)
            results[network.partition("=")[0]] = report(network, files, find)
    write_results(arguments.json, {"duplicates": results})


def draw_all(folder: Path, kinds: Sequence[str], per_kind: int, copies: int) -> list[Drawn]:
    """Draws the files that are missing, checks that all images differ, and returns all files."""
    started = time.perf_counter()
    step = max(1, per_kind // max(1, copies))
    jobs = [(kind, number, number % step == step // 2) for kind in kinds for number in range(per_kind)]
    made = list(map_ahead(partial(_draw, folder), iter(jobs), ahead=16))
    if len({digest for digest, _ in made}) < len(made):
        raise SystemExit("two drawn images have the same pixels; correct the drawing of their kind")
    drawn = [each for _, files in made for each in files]
    print(f"{len(jobs)} images and {len(drawn) - len(jobs)} copies in {_since(started):.0f} s", flush=True)
    return drawn


def _draw(folder: Path, job: tuple[str, int, bool]) -> tuple[str, list[Drawn]]:
    """Draws an image and its copies; returns the digest of its pixels, and its files."""
    kind, number, has_copies = job
    stem = folder / kind.replace(" ", "-") / f"{number:04}"
    if not stem.with_suffix(".png").exists():
        _write(stem, KINDS[kind](number), number, has_copies=has_copies)
    with Image.open(stem.with_suffix(".png")) as image:
        digest = hashlib.sha256(image.tobytes()).hexdigest()
    made = Drawn(file=stem.with_suffix(".png"), kind=kind, number=number, way=None)
    ways = [
        (way, file) for way in Way if has_copies for file in stem.parent.glob(f"{_stem(stem, way).name}.*")
    ]
    return digest, [made, *(Drawn(file=file, kind=kind, number=number, way=way) for way, file in ways)]


def _write(stem: Path, image: Image.Image, number: int, *, has_copies: bool) -> None:
    """Writes the copies and then the original, so that an original that exists has all its copies."""
    stem.parent.mkdir(parents=True, exist_ok=True)
    for way in Way if has_copies else ():
        COPIES[way](image, _stem(stem, way), number)
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Comment", f"drawn for a benchmark, number {number}")
    image.save(stem.with_suffix(".png"), pnginfo=notes, compress_level=1)


def _stem(stem: Path, way: Way) -> Path:
    return stem.with_name(f"{stem.name}-{way.replace(' ', '-')}")


def _half(image: Image.Image, stem: Path, number: int) -> Path:
    names = ("LANCZOS", "BICUBIC", "BILINEAR", "BOX")
    size = max(1, image.width // 2), max(1, image.height // 2)
    return _saved(image.resize(size, Image.Resampling[names[number % len(names)]]), stem, ".png")


def _quality_60(image: Image.Image, stem: Path, number: int) -> Path:
    return _saved(image, stem, ".webp" if image.mode == "RGBA" or number % 4 == 0 else ".jpg", quality=60)


def _other_format(image: Image.Image, stem: Path, number: int) -> Path:
    suffixes = (".webp", ".tif") if image.mode == "RGBA" else (".jpg", ".webp", ".bmp", ".tif")
    suffix = suffixes[number % len(suffixes)]
    return _saved(image, stem, suffix, **({} if suffix in {".bmp", ".tif"} else {"quality": 90}))


def _stripped(image: Image.Image, stem: Path, number: int) -> Path:  # noqa: ARG001 - copies have one signature
    return _saved(image, stem, ".png", compress_level=1)


def _turned(image: Image.Image, stem: Path, number: int) -> Path:
    turns = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    orientation = (3, 6, 8)[number % 3]
    exif = Image.Exif()
    exif[_ORIENTATION] = orientation
    suffix = ".png" if image.mode == "RGBA" else ".jpg"
    return _saved(image.transpose(turns[orientation]), stem, suffix, exif=exif, quality=92)


_ORIENTATION = 0x0112

COPIES: Mapping[Way, Callable[[Image.Image, Path, int], Path]] = {
    Way.HALF: _half,
    Way.QUALITY: _quality_60,
    Way.FORMAT: _other_format,
    Way.STRIPPED: _stripped,
    Way.TURNED: _turned,
}


def _saved(image: Image.Image, stem: Path, suffix: str, **options: object) -> Path:
    file = stem.with_suffix(suffix)
    image.save(file, **options)
    return file


def offered_by_proof(files: Sequence[Drawn]) -> Iterator[Pair]:
    """Yields each file that is proven to be a copy of an earlier one of its kind."""
    images = sorted(
        map_ahead(_image_file, iter(files), ahead=32),
        key=lambda one: (-one.payload.width * one.payload.height, -one.payload.bytes),
    )
    rows = defaultdict(list)
    for row, image in enumerate(images):
        rows[image.payload.class_name].append(row)
    candidates = Candidates(len(images))
    for kind in rows.values():
        for place, row in enumerate(kind):
            later = np.array(kind[place + 1 :], dtype=np.int64)
            candidates.add(Nearest(row=row, rows=later, scores=np.ones(len(later), dtype=np.float32)))
    copy_of = prove_copies(images, candidates, candidates.clusters())
    for row, original in enumerate(copy_of.tolist()):
        if row != original:
            yield _path(images[row]), _path(images[original])


def _image_file(drawn: Drawn) -> ImageFile:
    """Returns the image file as an ingest and `search duplicates` read it."""
    status = drawn.file.stat()
    with open_file(drawn.file) as stream:
        digest = hash_stream(stream)
    with Image.open(drawn.file) as image:
        is_turned = image.getexif().get(_ORIENTATION, 1) in {6, 8}
        width, height = reversed(image.size) if is_turned else image.size
    payload = Payload(
        dataset="drawn",
        path=str(drawn.file),
        class_name=drawn.kind,
        sha256=digest,
        width=width,
        height=height,
        bytes=status.st_size,
        mtime_ns=status.st_mtime_ns,
        ingested_at="",
    )
    return ImageFile(payload=payload, file=drawn.file, state=FileState.PRESENT, status=status)


def _path(image: ImageFile) -> Path:
    return Path(image.payload.path)


def offered_by_network(work: Path, network: str, precision: str) -> Iterator[Pair]:
    """Yields each file that `search duplicates --paths` would print after an ingest."""
    backbone, _, rest = network.partition("=")
    weights, _, layer = rest.partition(":")
    store = work / f"store-{backbone}"
    words = ["--backbone", backbone, "--weights", weights, "--precision", precision]
    words += ["--layer", layer] if layer else []
    command = [Path(sys.executable).parent / "ingest", "run", work / "images", *words]
    started = time.perf_counter()
    subprocess.run([*command, "--store", f"embedded:{store}"], check=True)
    print(f"ingested in {_since(started):.0f} s", flush=True)
    stored = EmbeddedStore(store)
    with stored.open(stored.names()[0]) as collection:
        started = time.perf_counter()
        near = find_near(collection)
        print(f"{sum(map(len, near.candidates.clusters()))} candidates after {_since(started):.0f} s")
    started = time.perf_counter()
    groups = prove_groups(near)
    print(f"compared on their pixels in {_since(started):.0f} s")
    for group in groups:
        for member in group.redundant:
            if member.file and group.kept.file:
                yield member.file, group.kept.file


def report(name: str, files: Sequence[Drawn], find: Callable[[], Iterable[Pair]]) -> dict[str, object]:
    """Prints the table of a way of finding candidates, and returns its figures."""
    print(f"\n{name}")
    started = time.perf_counter()
    offered = dict(find())
    seconds = _since(started)
    known = {each.file: each for each in files}
    wrong = [pair for pair in offered.items() if known[pair[0]].image != known[pair[1]].image]
    originals = {each.image: each.file for each in files if each.way is None}
    found: dict[tuple[str, Way], list[bool]] = defaultdict(list)
    for each in files:
        if each.way is not None:
            kept = offered.get(each.file)
            original = originals[each.image]
            is_found = each.file in offered or offered.get(original) == each.file
            found[each.kind, each.way].append(is_found and (kept is None or known[kept].image == each.image))
    _print(files, [known[gone].kind for gone, _ in wrong], found)
    for gone, kept in wrong[:20]:
        print(f"  wrong: {gone.name} for {kept.name} of {known[gone].kind}")
    missed = [f"{kind} {way}" for (kind, way), each in found.items() if not all(each)]
    print(f"{seconds:.0f} s, peak {peak_bytes() / 1e6:.0f} MB; not all found: {', '.join(missed) or 'none'}")
    ways = {way: [one for (_, of), each in found.items() if of == way for one in each] for way in Way}
    shares = {way: float(np.mean(each)) for way, each in ways.items() if each}
    return {"offered": len(offered), "wrong": len(wrong), "found": shares, "seconds": seconds}


def _print(
    files: Sequence[Drawn], wrong: Sequence[str], found: Mapping[tuple[str, Way], Sequence[bool]]
) -> None:
    print(f"| {'kind':13} | different | offered wrongly | {' | '.join(Way)} |")
    print(f"|---|---|---|{'---|' * len(Way)}")
    kinds = list(dict.fromkeys(each.kind for each in files))
    for kind in kinds:
        different = sum(each.kind == kind and each.way is None for each in files)
        shares = [found[kind, way] for way in Way]
        cells = [f"{sum(each)} of {len(each)}" for each in shares]
        print(f"| {kind:13} | {different:9} | {wrong.count(kind):15} | {' | '.join(cells)} |")
    totals = [[one for kind in kinds for one in found[kind, way]] for way in Way]
    cells = [f"{100 * np.mean(each):.1f} %" if each else "-" for each in totals]
    different = sum(each.way is None for each in files)
    print(f"| {'all':13} | {different:9} | {len(wrong):15} | {' | '.join(cells)} |", flush=True)


def _since(started: float) -> float:
    return time.perf_counter() - started


def short(folder: Path) -> Iterator[Duel]:
    """Yields the proof of copies by their pixels beside Pillow's decoding of the files."""
    kinds = tuple(KINDS)[:1]
    drawn = draw_all(folder / "images", kinds, 3, 1)

    def decode_all() -> object:
        return [np.asarray(Image.open(each.file).convert("RGB")) for each in drawn]

    yield Duel(
        name="duplicates: proof of copies / decoding the files",
        ours=lambda: [*offered_by_proof(drawn)],
        peer=decode_all,
        rounds=3,
    )


if __name__ == "__main__":
    run_either(main, short)
