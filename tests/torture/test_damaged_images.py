"""Tests folders of damaged and hostile files: an ingest embeds each or reports why not, and ends.

Nothing here is a file of somebody's. All is drawn, written by Pillow, and then damaged by seeded dice.
"""

import io
import itertools
import os
import random
import struct
import subprocess
import sys
import threading
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import pillow_heif
import pytest
from lookalike_core.errors import ImageError, SkipReason
from lookalike_core.images.decoding import SUFFIXES
from lookalike_core.stores.embedded import EmbeddedStore
from numpy.typing import NDArray
from PIL import Image, ImageDraw

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX file names and special files")

TIMEOUT_S = 900
"""Seconds after which a run counts as hung; the full length takes about two minutes."""

MEMORY_BYTES = 2**30
"""Bytes that images may take above the model."""

COSINE = 0.999
"""Lowest cosine between the vectors of one image in many forms."""

REASONS = {str(reason) for reason in SkipReason}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingested:
    """The messages, the memory and the results of a finished ingest."""

    report: dict[str, Any]
    err: str
    peak_bytes: int
    vectors: dict[str, NDArray[np.float32]]

    @property
    def skipped(self) -> dict[str, str]:
        """Returns path -> reason."""
        return {entry["path"]: entry["reason"] for entry in self.report["skipped"]}

    @property
    def counts(self) -> Counter[str]:
        """Returns the counts of the only collection that are not 0."""
        (collection,) = self.report["collections"]
        names = ("added", "updated", "moved", "unchanged", "removed")
        return Counter({name: collection[name] for name in names if collection[name]})


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A folder of images, in surroundings of which every file is known."""

    root: Path
    shell: Any

    @property
    def images(self) -> Path:
        """Returns the ingested folder."""
        return self.root / "pictures"

    def ingest(self, *words: str, **variables: str) -> Ingested:
        """Runs the command to its end; asserts that it writes nothing outside its home."""
        before = self._surroundings()
        process = subprocess.Popen(
            [
                Path(sys.executable).parent / "ingest",
                "run",
                self.images,
                *self.shell.model,
                "--json",
                *words,
            ],
            cwd=self.root / "cwd",
            env=self.shell.environment | self._folders() | variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        with Watch(process.pid) as watch:
            try:
                out, err = process.communicate(timeout=TIMEOUT_S)
            finally:
                process.kill()
        assert process.returncode == 0, (process.returncode, err.decode(errors="replace")[-2000:])
        assert self._surroundings() == before
        (report,) = map(_json, out.splitlines())
        return Ingested(
            report=report, err=err.decode(), peak_bytes=watch.peak_bytes, vectors=self._vectors(report)
        )

    def _folders(self) -> dict[str, str]:
        return {
            "HOME": str(self.root / "user"),
            "TMPDIR": str(self.root / "temporary"),
            "LOOKALIKE_HOME": str(self.root / "home"),
        }

    def _surroundings(self) -> dict[bytes, tuple[int, int, int]]:
        """Returns everything outside `LOOKALIKE_HOME`, with mode, size and time."""
        listing = {}
        for name in ("pictures", "elsewhere", "cwd", "user", "temporary"):
            for folder, folders, files in os.walk(os.fsencode(self.root / name)):
                for path in (folder, *(os.path.join(folder, entry) for entry in folders + files)):  # noqa: PTH118
                    status = os.lstat(path)
                    listing[path] = (status.st_mode, status.st_size, status.st_mtime_ns)
        return listing

    def _vectors(self, report: dict[str, Any]) -> dict[str, NDArray[np.float32]]:
        with EmbeddedStore(self.root / "home" / "qdrant").open(
            report["collections"][0]["name"]
        ) as collection:
            paths = {payload.id: payload.path for payload in collection.scan()}
            vectors = collection.vectors(list(paths))
        return {path: vectors[id_] for id_, path in sorted(paths.items(), key=lambda item: item[1])}


class Watch(threading.Thread):
    """Reads a process' peak of memory until it ends, when the system forgets it."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak_bytes = 0
        self._status = Path(f"/proc/{pid}/status")
        self._over = threading.Event()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        """Reads the peak, which only grows, fifty times a second."""
        while not self._over.wait(0.02):
            try:
                lines = self._status.read_text(encoding="utf-8").splitlines()
            except OSError:
                return
            for line in lines:
                if line.startswith("VmHWM:"):
                    self.peak_bytes = int(line.split()[1]) * 1024


@pytest.fixture(scope="module")
def make_place(
    make_shell: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], Place]:
    """Returns a function that makes an empty place."""

    def make() -> Place:
        root = tmp_path_factory.mktemp("place")
        for name in ("pictures", "elsewhere", "cwd", "user", "temporary"):
            (root / name).mkdir()
        return Place(root=root, shell=make_shell(root))

    return make


@pytest.fixture
def place(make_place: Callable[[], Place]) -> Place:
    """Returns an empty place for one test."""
    return make_place()


@pytest.fixture(scope="module")
def small_peak_bytes(make_place: Callable[[], Place]) -> int:
    """Returns the peak of an ingest of two small images: the commands, the model, the store."""
    place = make_place()
    for name in ("1.png", "2.png"):
        drawing().rotate(90 * (name == "2.png")).save(place.images / name)
    return place.ingest().peak_bytes


def test_damaged_images_are_embedded_or_listed(
    place: Place, small_peak_bytes: int, ledger: Any, full_length: bool
) -> None:
    """There are thousands, of every format and kind of damage; a second run embeds nothing new."""
    drawing().save(place.images / "whole.png")
    written = write_damaged(place.images, files=4200 if full_length else 330)
    first = place.ingest()
    second = place.ingest()
    for damage, paths in written.items():
        ledger.add(f"images: {damage}", len(paths), len(find_lost(paths, first)))
    assert [path for paths in written.values() for path in find_lost(paths, first)] == []
    assert sum(map(len, written.values())) >= (3000 if full_length else 300)
    assert_nothing_new(first, second)
    assert max(first.peak_bytes, second.peak_bytes) <= small_peak_bytes + MEMORY_BYTES


def test_hostile_files_are_embedded_or_listed(
    place: Place, small_peak_bytes: int, ledger: Any, full_length: bool
) -> None:
    """Bombs, wrong contents, links, pipes, devices and odd names each have the expected reason."""
    expected = write_hostile(place, full_length=full_length)
    first = place.ingest()
    second = place.ingest()
    said = {path: first.skipped.get(path, "embedded") for path in expected}
    missing = find_lost(list(expected), first)
    ledger.add("images: hostile files", len(expected), len(missing))
    assert missing == []
    assert {path: reason for path, reason in said.items() if reason not in expected[path]} == {}
    hidden = [path for path in (*first.vectors, *first.skipped) if "/." in f"/{path}"]
    assert hidden == []
    assert_nothing_new(first, second)
    assert max(first.peak_bytes, second.peak_bytes) <= small_peak_bytes + MEMORY_BYTES


def test_one_image_in_many_forms_has_one_vector(place: Place, ledger: Any) -> None:
    """Orientation, transparency, colour mode and container do not change the visible image."""
    forms = {group: list(write_forms(place.images / group, group)) for group in FORMS}
    done = place.ingest()
    far = []
    for group, names in forms.items():
        upright = done.vectors[f"{group}/upright.png"]
        far += [
            (f"{group}/{name}", done.skipped.get(f"{group}/{name}"))
            for name in names
            if f"{group}/{name}" not in done.vectors
            or float(upright @ done.vectors[f"{group}/{name}"]) < COSINE
        ]
    ledger.add("images: other forms of one", sum(map(len, forms.values())), len(far))
    assert far == []
    groups = [done.vectors[f"{group}/upright.png"] for group in forms]
    assert all(float(one @ other) < COSINE for one, other in itertools.combinations(groups, 2))


def test_a_folder_may_change_while_it_is_read(place: Place, ledger: Any, full_length: bool) -> None:
    """Files vanish, are truncated, replaced and turned into pipes; the next undisturbed run is correct."""
    names = [f"{i:04}.png" for i in range(600 if full_length else 60)]
    for name in names:
        (place.images / name).write_bytes(speckled_png(name))
    with Meddler(place.images, names):
        process = start(place)
        out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, err.decode(errors="replace")[-2000:]
    (report,) = map(_json, out.splitlines())
    assert {entry["reason"] for entry in report["skipped"]} <= REASONS
    quiet = place.ingest("--prune")
    there = [name for name in names if os.path.lexists(place.images / name)]
    missing = find_lost(there, quiet)
    ledger.add("images: changed while they were read", len(names), len(missing))
    assert missing == []
    assert quiet.vectors.keys() | quiet.skipped.keys() == {*there}
    assert_nothing_new(quiet, place.ingest())


def test_queries_that_are_not_regular_files_are_refused_at_once(place: Place) -> None:
    """They exit 4 with the way to pipe an image in; other queries are answered."""
    drawing().save(place.images / "whole.png")
    place.ingest()
    os.mkfifo(place.root / "pipe.jpg")
    (place.root / "loop.jpg").symlink_to("loop.jpg")
    queries = ("pipe.jpg", "/dev/zero", "loop.jpg", "pictures/whole.png")
    done = place.shell.process("search", "query", *queries, "--json")
    assert done.code == ImageError.exit_code
    assert [answer.get("error") for answer in done.json] == [*["unreadable"] * 3, None]
    assert done.err.count("name it - ") == 1


def test_the_limit_of_pixels_is_an_option(place: Place) -> None:
    """Ingest and search have it; an image of exactly the limit is embedded."""
    drawing().save(place.images / "whole.png")
    drawing(161, 120).save(place.images / "one-column-more.png")
    limit = ("--max-pixels", str(160 * 120))
    done = place.ingest(*limit)
    assert (done.skipped, [*done.vectors]) == ({"one-column-more.png": "too-large"}, ["whole.png"])
    assert [*place.ingest().vectors.keys() - done.vectors.keys()] == ["one-column-more.png"]
    asked = place.shell.process("search", "query", "pictures/one-column-more.png", "--json", *limit)
    assert (asked.code, asked.json[0]["error"]) == (ImageError.exit_code, "too-large")


def test_a_missing_package_is_reported_once(place: Place) -> None:
    """A stand-in for `pillow_heif` that fails to import shadows the real one."""
    (place.root / "without").mkdir()
    (place.root / "without" / "pillow_heif.py").write_text("raise ImportError", encoding="utf-8")
    drawing().save(place.images / "whole.png")
    for name in ("1.heic", "2.HEIF"):
        (place.images / name).write_bytes(encode(drawing(), "HEIF"))
    path = os.pathsep.join((str(place.root / "without"), os.environ.get("PYTHONPATH", "")))
    done = place.ingest(PYTHONPATH=path)
    assert done.skipped == dict.fromkeys(("1.heic", "2.HEIF"), "unsupported-format")
    assert done.err.count("lookalike[heif]") == 1
    assert "warning: 2 of the skipped images can be read once this is installed" in done.err
    assert [*place.ingest().vectors] == ["1.heic", "2.HEIF", "whole.png"]


def find_lost(paths: Sequence[str], done: Ingested) -> list[str]:
    """Returns the paths that are neither in the collection nor skipped for one of our reasons."""
    return [path for path in paths if path not in done.vectors and done.skipped.get(path) not in REASONS]


def assert_nothing_new(first: Ingested, second: Ingested) -> None:
    """Asserts that the second run changed nothing; an image that became unreadable keeps its point."""
    assert second.counts == {"unchanged": len(first.vectors.keys() - first.skipped.keys())}
    assert second.skipped == first.skipped
    assert second.vectors.keys() == first.vectors.keys()


def start(place: Place) -> "subprocess.Popen[bytes]":
    """Starts an ingest without watching its memory."""
    return subprocess.Popen(
        [Path(sys.executable).parent / "ingest", "run", place.images, *place.shell.model, "--json"],
        cwd=place.root / "cwd",
        env=place.shell.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def _json(line: bytes) -> dict[str, Any]:
    import json

    return dict(json.loads(line))


# --- what is drawn ---


def drawing(width: int = 160, height: int = 120) -> Image.Image:
    """Returns an image that every rotation or reflection changes."""
    across, down = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    image = Image.fromarray(np.stack([across, down, 255 - across], axis=2).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    pen.rectangle((width // 8, height // 8, width // 2, height // 3), fill=(250, 240, 20))
    pen.ellipse((width // 2, height // 2, width - 8, height - 4), fill=(20, 30, 120))
    return image


def speckled_png(name: str) -> bytes:
    """Returns a small PNG that is different for each name."""
    random_ = np.random.default_rng(zlib.crc32(name.encode()))
    return encode(Image.fromarray(random_.integers(0, 256, (60, 80, 3), dtype=np.uint8)), "PNG")


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    """Returns the bytes of a file of this kind."""
    if kind == "HEIF":
        pillow_heif.register_heif_opener()
    file = io.BytesIO()
    if "append_images" in options:  # copies, since Pillow keeps one format's options for the next
        options["append_images"] = [frame.copy() for frame in options["append_images"]]
    image.copy().save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    """Returns a chunk of a PNG."""
    return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)


def make_png(width: int, height: int, *, depth: int, colour: int, pixels: bytes, extra: bytes = b"") -> bytes:
    """Returns a PNG with this header and these bytes, which may contradict it."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = (chunk(b"IHDR", header), extra, chunk(b"IDAT", pixels), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def insert_chunk(whole: bytes, kind: bytes, content: bytes) -> bytes:
    """Returns a PNG with one more chunk after its header."""
    return whole[:33] + chunk(kind, content) + whole[33:]


# --- damage ---


def make_valid() -> dict[str, bytes]:
    """Returns name -> a complete file, in every format and in its ways of being stored."""
    image, alpha = drawing(), drawing()
    alpha.putalpha(Image.linear_gradient("L").resize(alpha.size))
    frames = {"save_all": True, "append_images": [image.rotate(180), image.rotate(90)]}
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a description"
    return {
        "baseline.jpg": encode(image, "JPEG", quality=85, exif=exif),
        "progressive.jpg": encode(image, "JPEG", quality=85, progressive=True),
        "print.jpg": encode(image.convert("CMYK"), "JPEG"),
        "restarts.jpg": encode(image, "JPEG", restart_marker_blocks=2),
        "two.mpo.jpg": encode(image, "MPO", **frames),
        "rgb.png": encode(image, "PNG", exif=exif, icc_profile=b"x" * 200),
        "rgba.png": encode(alpha, "PNG"),
        "palette.png": encode(image.convert("P"), "PNG", transparency=3),
        "wide.png": encode(image.convert("I;16"), "PNG"),
        "moving.png": encode(image, "PNG", **frames),
        "lossy.webp": encode(image, "WEBP", exif=exif),
        "lossless.webp": encode(alpha, "WEBP", lossless=True),
        "moving.webp": encode(image, "WEBP", **frames),
        "still.gif": encode(image, "GIF"),
        "moving.gif": encode(image, "GIF", **frames),
        "raw.tif": encode(image, "TIFF", exif=exif),
        "lzw.tif": encode(image, "TIFF", compression="tiff_lzw"),
        "deflate.tif": encode(alpha, "TIFF", compression="tiff_adobe_deflate"),
        "jpeg.tif": encode(image, "TIFF", compression="jpeg"),
        "fax.tif": encode(image.convert("1"), "TIFF", compression="group4"),
        "pages.tif": encode(image, "TIFF", **frames),
        "rgb.bmp": encode(image, "BMP"),
        "palette.bmp": encode(image.convert("P"), "BMP"),
        "runs.bmp": run_length_bmp(),
        "still.avif": encode(image, "AVIF", speed=10),
        "still.heic": encode(image, "HEIF", quality=60),
    }


def run_length_bmp() -> bytes:
    """Returns a run-length encoded BMP, which Pillow does not write: 8 x 8 pixels in runs of 8."""
    rows = b"".join(bytes([8, row, 0, 0]) for row in range(8)) + b"\0\1"
    palette = b"".join(bytes([30 * i, 255 - 30 * i, 7 * i, 0]) for i in range(256) if i < 8) + bytes(4 * 248)
    offset = 14 + 40 + len(palette)
    header = struct.pack("<2sIHHI", b"BM", offset + len(rows), 0, 0, offset)
    return header + struct.pack("<IiiHHIIiiII", 40, 8, 8, 1, 8, 1, len(rows), 0, 0, 256, 0) + palette + rows


def flip_bits(data: bytes, dice: random.Random) -> bytes:
    """Flips one to forty bits, half the time near the beginning, where headers are."""
    damaged = bytearray(data)
    end = len(data) if dice.random() < 0.5 else min(len(data), 200)
    for _ in range(dice.choice((1, 2, 5, 40))):
        damaged[dice.randrange(end)] ^= 1 << dice.randrange(8)
    return bytes(damaged)


def cut(data: bytes, dice: random.Random) -> bytes:
    """Truncates a file at a boundary of its parts, or anywhere."""
    return data[: dice.choice([*boundaries(data), dice.randrange(len(data))])]


def boundaries(data: bytes) -> list[int]:
    """Returns where markers and parts of the formats begin, file system blocks, first and last bytes."""
    marks = (b"IHDR", b"IDAT", b"IEND", b"fcTL", b"VP8", b"ANMF", b"ALPH", b"meta", b"iprp", b"mdat")
    found = [data.find(mark) + shift for mark in marks for shift in (-4, 0, 4, 8) if mark in data]
    markers = [i for i in range(len(data) - 1) if data[i] == 0xFF and data[i + 1] not in {0, 0xFF}]
    found += [i + shift for i in markers[:40] for shift in (0, 1, 2, 4)]
    blocks = range(512, len(data), 512)
    ends = [len(data) - shift for shift in (1, 2, 4, 8, 12, 16, 20)]
    return [i for i in (*found, *blocks, *ends, *range(1, 64)) if 0 < i < len(data)]


def overwrite(data: bytes, dice: random.Random) -> bytes:
    """Overwrites a range with zeros, ones or noise."""
    start, length = dice.randrange(len(data)), dice.choice((2, 4, 16, 300))
    run = dice.choice((bytes(length), b"\xff" * length, dice.randbytes(length)))
    return (data[:start] + run + data[start + length :])[: len(data)]


def exaggerate(data: bytes, dice: random.Random) -> bytes:
    """Sets a number of the header to its maximum, to 0 or to a negative value."""
    width = dice.choice((2, 4))
    start = dice.randrange(4, min(len(data), 120) - width)
    number = dice.choice(
        (b"\xff" * width, bytes(width), b"\x7f" + b"\xff" * (width - 1), b"\x80" + bytes(width - 1))
    )
    return data[:start] + number + data[start + width :]


def shuffle(data: bytes, dice: random.Random) -> bytes:
    """Moves, doubles or removes a piece."""
    first, second = sorted(dice.randrange(len(data)) for _ in range(2))
    head, piece, tail = data[:first], data[first:second], data[second:]
    return dice.choice((head + tail, head + piece * 2 + tail, head + tail + piece, head + piece[::-1] + tail))


def splice(data: bytes, dice: random.Random) -> bytes:
    """Joins the beginning of a file to the end of another."""
    other = dice.choice(sorted(valid_files().values()))
    return data[: dice.randrange(len(data))] + other[dice.randrange(len(other)) :]


_VALID: dict[str, bytes] = {}


def valid_files() -> dict[str, bytes]:
    """Returns the files of `make_valid`, made once."""
    if not _VALID:
        _VALID.update(make_valid())
    return _VALID


DAMAGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "bits flipped": flip_bits,
    "cut short": cut,
    "overwritten": overwrite,
    "headers exaggerated": exaggerate,
    "pieces shuffled": shuffle,
    "spliced": splice,
    "wrong extension": lambda data, _: data,
}


def write_damaged(folder: Path, *, files: int) -> dict[str, list[str]]:
    """Returns damage -> the paths of the files that have it."""
    dice = random.Random(20_240_607)  # noqa: S311 - damage that can be repeated
    suffixes = sorted(SUFFIXES)
    written: dict[str, list[str]] = {damage: [] for damage in DAMAGES}
    sources = itertools.cycle(valid_files().items())
    for number, (damage, (name, data)) in enumerate(
        itertools.islice(((damage, source) for source in sources for damage in DAMAGES), files)
    ):
        suffix = dice.choice(suffixes) if damage == "wrong extension" else Path(name).suffix
        path = f"{damage}/{number:05}-{name.partition('.')[0]}{suffix}"
        file = folder / path
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(DAMAGES[damage](data, dice))
        written[damage].append(path)
    return written


class Meddler:
    """Changes the folder while it is ingested."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self._folder, self._names = folder, names
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._meddle)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _meddle(self) -> None:
        dice = random.Random(7)  # noqa: S311
        while not self._over.wait(0.002):
            file = self._folder / dice.choice(self._names)
            data = speckled_png(str(dice.random()))
            with_file: tuple[Callable[[], object], ...] = (
                lambda file=file: file.unlink(missing_ok=True),
                lambda file=file, data=data: file.write_bytes(data),
                lambda file=file, data=data: file.write_bytes(data[: len(data) // 2]),
                lambda file=file, data=data: file.write_bytes(data + data),
                lambda file=file: (file.unlink(missing_ok=True), os.mkfifo(file)),
                lambda file=file: (file.unlink(missing_ok=True), file.symlink_to("/dev/zero")),
                lambda file=file: (file.unlink(missing_ok=True), file.write_bytes(b"")),
            )
            if file.is_file() or not os.path.lexists(file):
                dice.choice(with_file)()
            else:
                file.unlink()


# --- hostile files ---


def write_hostile(place: Place, *, full_length: bool) -> dict[str, set[str]]:
    """Returns path -> the allowed outcomes: `embedded`, or a reason."""
    expected: dict[str, set[str]] = {}
    bombs = {**small_bombs(), **(large_images() if full_length else {})}
    for name, (data, outcomes) in {**other_contents(), **bombs, **odd_images()}.items():
        (place.images / name).write_bytes(data)
        expected[name] = outcomes
    expected |= write_names(place.images)
    expected |= write_links(place)
    expected |= write_special_files(place.images)
    return expected


EMBEDDED, TOO_LARGE, NO_IMAGE, UNREADABLE = {"embedded"}, {"too-large"}, {"not-an-image"}, {"unreadable"}


def other_contents() -> dict[str, tuple[bytes, set[str]]]:
    """Returns files that are no images, under names of images."""
    return {
        "nothing.jpg": (b"", {"empty"}),
        "zeros.png": (bytes(4096), NO_IMAGE),
        "text.jpg": (b"this is a note\n", NO_IMAGE),
        "page.webp": (b"<!DOCTYPE html><title>404</title>", NO_IMAGE),
        "script.jpg": (b"#!/bin/sh\nrm -rf /\n", NO_IMAGE),
        "program.jpg": (b"\x7fELF\x02\x01\x01" + bytes(4000), NO_IMAGE),
        "program.png": (b"MZ\x90\0" + bytes(4000), NO_IMAGE),
        "pickle.gif": (b"\x80\x04\x95cposix\nsystem\n(S'touch hacked'\ntR.", NO_IMAGE),
        "postscript.tif": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", NO_IMAGE),
        "archive.bmp": (b"PK\x03\x04" + bytes(400), NO_IMAGE),
        "drawing.png": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", {"unsupported-format"}),
        "letter.jpg": (b"%PDF-1.7\n", {"unsupported-format"}),
        "float.tif": (encode(Image.new("F", (9, 9), 0.5), "TIFF"), {"unsupported-format"}),
    }


def small_bombs() -> dict[str, tuple[bytes, set[str]]]:
    """Returns files of a few kilobytes that claim or decompress to gigabytes."""
    bmp = bytearray(encode(Image.new("1", (8, 8)), "BMP"))
    bmp[18:26] = struct.pack("<ii", 60_000, 60_000)
    gif = bytearray(encode(drawing(), "GIF"))
    gif[6:10] = b"\xff\xff\xff\xff"
    progressive = encode(drawing(), "JPEG", progressive=True)
    scan = progressive[progressive.rindex(b"\xff\xda") : -2]
    plain = encode(drawing(), "PNG")
    film = zlib.compress(bytes(50_000_000))
    tags = b"".join(struct.pack(">HHII", tag, 7, 50_000, 8) for tag in range(0xC000, 0xC000 + 4000))
    exif = b"MM\0*\0\0\0\x08" + struct.pack(">H", 4000) + tags + bytes(10_000)
    return {
        "claims.png": (make_png(100_000, 100_000, depth=8, colour=2, pixels=zlib.compress(b"")), TOO_LARGE),
        "claims.bmp": (bytes(bmp), TOO_LARGE),
        "claims.gif": (bytes(gif), TOO_LARGE),
        "unfolds.png": (make_png(20_000, 20_000, depth=1, colour=0, pixels=film), TOO_LARGE),
        "more-than-it-says.png": (
            make_png(8, 8, depth=1, colour=0, pixels=film),
            {"embedded", "no-embedding"},
        ),
        "text.png": (
            insert_chunk(plain, b"zTXt", b"Comment\0\0" + film),
            {"embedded", "unreadable", "truncated"},
        ),
        "profile.png": (insert_chunk(plain, b"iCCP", b"ICC\0\0" + film), {"embedded", "unreadable"}),
        "tile.tif": (tile_bomb(), TOO_LARGE),
        "scans.jpg": (progressive[:-2] + scan * 5000 + b"\xff\xd9", {"unsupported-format"}),
        "scans.mpo.jpg": (progressive[:-2] + scan * 200 + b"\xff\xd9", {"unsupported-format"}),
        "tags.png": (insert_chunk(plain, b"eXIf", exif), EMBEDDED),
    }


def tile_bomb() -> bytes:
    """Returns a TIFF of 100 x 100 pixels in one tile of 30,000 x 30,000."""
    packer = zlib.compressobj(9)
    tile = b"".join(packer.compress(b"\x55" * 10_000_000) for _ in range(40)) + packer.flush()
    entries = [
        (256, 4, 100), (257, 4, 100), (258, 3, 8), (259, 3, 8), (262, 3, 1), (277, 3, 1), (284, 3, 1),
        (322, 4, 30_000), (323, 4, 30_000), (324, 4, 8 + 2 + 11 * 12 + 4), (325, 4, len(tile)),
    ]  # fmt: skip
    table = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + table + bytes(4) + tile


def large_images() -> dict[str, tuple[bytes, set[str]]]:
    """Returns images just below the limits, several of which are decoded at once, and just above."""
    packer = zlib.compressobj(1)
    row = b"\0" + b"\x40\x80\xc0" * 14_400
    film = b"".join(packer.compress(row) for _ in range(14_400)) + packer.flush()
    square = Image.new("RGB", (7_200, 7_200), (64, 128, 192))
    return {
        "0-large.png": (make_png(14_400, 14_400, depth=8, colour=2, pixels=film), EMBEDDED),
        "0-large.webp": (encode(square, "WEBP", method=0), EMBEDDED),
        "0-large.avif": (encode(square, "AVIF", speed=10), EMBEDDED),
        "0-large.tif": (encode(square, "TIFF", compression="tiff_adobe_deflate"), EMBEDDED),
        "0-large-rgba.png": (encode(square.convert("RGBA"), "PNG", compress_level=1), EMBEDDED),
        "0-phone.jpg": (encode(Image.new("RGB", (16_384, 12_288), "teal"), "JPEG"), EMBEDDED),
        "0-over.webp": (encode(square.resize((7_300, 7_300)), "WEBP", method=0), TOO_LARGE),
        "0-over.jpg": (encode(Image.new("L", (16_400, 13_000)), "JPEG"), TOO_LARGE),
    }


def odd_images() -> dict[str, tuple[bytes, set[str]]]:
    """Returns unusual images that are complete."""
    image = drawing()
    return {
        "one-pixel.png": (encode(Image.new("RGB", (1, 1), "red"), "PNG"), EMBEDDED),
        "wide.png": (encode(image.resize((20_000, 1)), "PNG"), EMBEDDED),
        "tall.jpg": (encode(image.resize((1, 20_000)), "JPEG"), EMBEDDED),
        "two.gif": (encode(image, "GIF", save_all=True, append_images=[image.rotate(90)]), EMBEDDED),
        "profile.jpg": (encode(image, "JPEG", icc_profile=b"\0\0\2\x0cbroken" + bytes(500)), EMBEDDED),
        "exif.jpg": (encode(image, "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01"), EMBEDDED),
        "tail.jpg": (encode(image, "JPEG") + b"\xff\xda" * 100_000, EMBEDDED),
    }


def write_names(folder: Path) -> dict[str, set[str]]:
    """Writes one image under names that are difficult for shells, tables and file systems."""
    good = encode(drawing(), "JPEG")
    names = [
        *("with spaces .jpg", " leading.jpg", "'single' \"double\".jpg", "new\nline.jpg", "tab\t.jpg"),
        *("\U0001f431.jpg", "n" * 246 + ".jpg", "-rf.jpg", "--prune.jpg", "$(touch hacked).jpg", "`id`.jpg"),
        *("a;b&c|d.jpg", "back\\slash.jpg", "CON.jpg", "100%s%n.jpg", "\x1b[31mred.jpg", "*.jpg"),
        *("caf\u00e9.jpg", "cafe\u0301.jpg", "\u202egpj.jpg"),
    ]
    for name in names:
        (folder / name).write_bytes(good)
    expected = dict.fromkeys(names, EMBEDDED)
    with open(os.fsencode(folder) + b"/caf\xe9 \xff.jpg", "wb") as file:  # noqa: PTH123 - pathlib takes no bytes
        file.write(good)
    for hidden in ("._photo.jpg", ".hidden.jpg", ".trash/1.jpg"):
        (folder / hidden).parent.mkdir(exist_ok=True)
        (folder / hidden).write_bytes(good)
    return expected | {"caf\ufffd \ufffd.jpg": {"bad-name"}}


def write_links(place: Place) -> dict[str, set[str]]:
    """Writes loops, links out of the folder, and links to files that are no images."""
    folder = place.images
    (place.root / "elsewhere" / "fine.png").write_bytes(encode(drawing(), "PNG"))
    (place.root / "elsewhere" / "secret.txt").write_text("secret\n", encoding="utf-8")
    targets = {
        "self.jpg": "self.jpg",
        "this.jpg": "that.jpg",
        "that.jpg": "this.jpg",
        "gone.jpg": "nowhere.jpg",
        "out.jpg": str(place.root / "elsewhere" / "fine.png"),
        "secret.jpg": str(place.root / "elsewhere" / "secret.txt"),
        "passwords.png": "/etc/passwd",
        "zero.jpg": "/dev/zero",
        "random.png": "/dev/urandom",
        "memory.jpg": "/proc/self/mem",
        "folder.jpg": str(place.root / "elsewhere"),
        "up": "..",
        "again": ".",
    }
    for name, target in targets.items():
        (folder / name).symlink_to(target)
    reasons = {
        **dict.fromkeys(("self.jpg", "this.jpg", "that.jpg", "zero.jpg", "random.png"), UNREADABLE),
        **dict.fromkeys(("secret.jpg", "passwords.png"), NO_IMAGE),
        "gone.jpg": {"vanished"},
        "out.jpg": EMBEDDED,
        "memory.jpg": {"unreadable", "empty"},
        "folder.jpg": UNREADABLE,
    }
    return {name: reasons[name] for name in targets if name in reasons and _exists(targets[name])}


def _exists(target: str) -> bool:
    """Returns whether the system has this device."""
    return not target.startswith(("/dev", "/proc", "/etc")) or Path(target).exists()


def write_special_files(folder: Path) -> dict[str, set[str]]:
    """Writes pipes, sockets, devices, and unreadable files."""
    os.mkfifo(folder / "pipe.jpg")
    expected = {"pipe.jpg": {"unreadable"}}
    if os.geteuid() == 0:
        try:
            os.mknod(folder / "device.jpg", 0o20600, os.makedev(1, 5))
            expected["device.jpg"] = {"unreadable"}
        except OSError:
            pass  # not in this container
    else:
        (folder / "closed.jpg").write_bytes(encode(drawing(), "JPEG"))
        (folder / "closed.jpg").chmod(0)
        expected["closed.jpg"] = {"unreadable"}
    return expected


# --- one image in many forms ---

TURNS: dict[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: upright.transpose(1, 0, 2)[::-1],
    7: lambda upright: upright.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda upright: upright.transpose(1, 0, 2)[:, ::-1],
}
"""EXIF's orientation -> how the upright image is stored."""

FORMS = ("colour", "grey", "clear", "two-tone")


def write_forms(folder: Path, group: str) -> Iterator[str]:
    """Writes `upright.png`, an RGB image, and the forms that must look like it."""
    folder.mkdir()
    makers = {"colour": colours, "grey": greys, "clear": transparent_forms, "two-tone": two_tones}
    for name, data in makers[group]().items():
        (folder / name).write_bytes(data)
        yield name


def colours() -> dict[str, bytes]:
    """Returns RGB files: containers, modes, EXIF orientations, and files of several images."""
    image = drawing()
    frames = {"save_all": True, "append_images": [Image.new("RGB", image.size, "white")]}
    fine = {"quality": 95, "subsampling": "4:4:4"}
    wide = b"".join(b"\0" + row.astype(">u2").tobytes() for row in np.asarray(image).astype(np.uint16) * 257)
    files = {
        "upright.png": encode(image, "PNG"),
        "print.tif": encode(image.convert("CMYK"), "TIFF"),
        "print.jpg": encode(image.convert("CMYK"), "JPEG", quality=95),
        "television.tif": encode(image.convert("YCbCr"), "TIFF"),
        "wide.png": make_png(*image.size, depth=16, colour=2, pixels=zlib.compress(wide)),
        "progressive.jpg": encode(image, "JPEG", progressive=True, **fine),
        "stereo.jpg": encode(image, "MPO", quality=95, **frames),
        "runs.tif": encode(image, "TIFF", compression="packbits"),
        "still.bmp": encode(image, "BMP"),
        "still.avif": encode(image, "AVIF", quality=95),
        "still.heic": encode(image, "HEIF", quality=95),
        "opaque.png": encode(image.convert("RGBA"), "PNG"),
        "moving.png": encode(image, "PNG", **frames),
        "moving.webp": encode(image, "WEBP", lossless=True, **frames),
        "pages.tif": encode(image, "TIFF", **frames),
        "large.jpg": encode(image.resize((3200, 2400), Image.Resampling.BICUBIC), "JPEG", quality=90),
    }
    for (number, turn), (kind, options) in itertools.product(
        TURNS.items(),
        {"JPEG": fine, "PNG": {}, "WEBP": {"lossless": True}, "TIFF": {}, "HEIF": {"quality": 95}}.items(),
    ):
        exif = Image.Exif()
        exif[0x0112] = number
        stored = Image.fromarray(np.ascontiguousarray(turn(np.asarray(image))))
        suffix = {"JPEG": "jpg", "HEIF": "heic", "TIFF": "tif"}.get(kind, kind.lower())
        files[f"turned-{number}.{suffix}"] = encode(stored, kind, exif=exif.tobytes(), **options)
    return files


def greys() -> dict[str, bytes]:
    """Returns one channel of 8 or 16 bits, with and without alpha."""
    grey = drawing().convert("L")
    wide = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    opaque = grey.convert("LA")
    return {
        "upright.png": encode(grey.convert("RGB"), "PNG"),
        "grey.png": encode(grey, "PNG"),
        "grey.jpg": encode(grey, "JPEG", quality=95),
        "grey.tif": encode(grey, "TIFF", compression="tiff_lzw"),
        "grey.gif": encode(grey, "GIF"),
        "grey.bmp": encode(grey, "BMP"),
        "alpha.png": encode(opaque, "PNG"),
        "wide.png": encode(wide, "PNG"),
        "wide.tif": encode(wide, "TIFF"),
        "wide-lzw.tif": encode(wide, "TIFF", compression="tiff_lzw"),
    }


def transparent_forms() -> dict[str, bytes]:
    """Returns transparent images, which are composited on white."""
    image, alpha = drawing(), Image.linear_gradient("L").resize((160, 120))
    clear = image.copy()
    clear.putalpha(alpha)
    white = Image.new("RGB", image.size, "white")
    white.paste(image, mask=alpha)
    return {
        "upright.png": encode(white, "PNG"),
        "clear.png": encode(clear, "PNG"),
        "clear.webp": encode(clear, "WEBP", lossless=True),
        "clear.tif": encode(clear, "TIFF"),
        "clear-lzw.tif": encode(clear, "TIFF", compression="tiff_lzw"),
        "clear.avif": encode(clear, "AVIF", quality=95),
        "clear.heic": encode(clear, "HEIF", quality=95),
    }


def two_tones() -> dict[str, bytes]:
    """Returns images of one bit, palettes and colour keys, one colour of which is transparent."""
    mask = Image.new("1", (160, 120), 1)
    ImageDraw.Draw(mask).ellipse((20, 10, 90, 100), fill=0)
    grey = mask.convert("L")
    palette = mask.convert("RGB").quantize(2)
    shown = np.asarray(palette.convert("RGB"))
    first_is_white = bool((shown[0, 0] == 255).all())
    white_index = int(np.asarray(palette)[0, 0])
    assert first_is_white
    return {
        "upright.png": encode(mask.convert("RGB"), "PNG"),
        "bits.png": encode(mask, "PNG"),
        "bits.tif": encode(mask, "TIFF"),
        "fax.tif": encode(mask, "TIFF", compression="group4"),
        "bits.bmp": encode(mask, "BMP"),
        "palette.png": encode(palette, "PNG"),
        "palette-clear.png": encode(palette, "PNG", transparency=white_index),
        "palette-clear.gif": encode(palette, "GIF", transparency=white_index),
        "key.png": encode(grey, "PNG", transparency=255),
        "key-wide.png": insert_chunk(
            encode(Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), "PNG"), b"tRNS", b"\xff\xff"
        ),
    }
