"""Measures what colour profiles and transparency cost in decoding, and what late conversion does to vectors.

    python benchmarks/colours.py PHOTOS [--before CHECKOUT] [--rounds 9] [--model MODEL.onnx]

PHOTOS holds one folder for each class; eight photos are written as small files (about 640 x 480) and as
large ones (4000 x 3000), without a profile and with several. In each round, a process of this checkout
decodes each kind of file, and then one of CHECKOUT, if named. It prints the processor time, as the median
of the rounds, and the median of their ratios. With a model, the vectors of small files, whose profile is
converted before scaling, are compared with those of converting after scaling.

The short form (`--short`) compares the decoding of small JPEGs without a profile with Pillow's.
"""

import argparse
import io
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from commands import draw
from lookalike_core.images.decoding import decode
from PIL import Image, ImageCms
from short import Duel, run_either

BICUBIC = Image.Resampling.BICUBIC
FILES = 8
ADOBE = (0.3127, 0.3290, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
DISPLAY_P3 = (0.3127, 0.3290, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)
PROPHOTO = (0.3457, 0.3585, 0.7347, 0.2653, 0.1596, 0.8404, 0.0366, 0.0001)
SMALL, LARGE = (640, 480), (4000, 3000)


def main() -> None:
    """Prints a line for each kind of file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--before", type=Path, help="another checkout to compare with")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--model", type=Path)
    arguments = parser.parse_args()
    here = Path(__file__).resolve().parents[1]
    photos = sorted(arguments.photos.glob("*/*"))[
        :: max(1, len(list(arguments.photos.glob("*/*"))) // FILES)
    ][:FILES]
    with tempfile.TemporaryDirectory(prefix="lookalike-benchmark-") as folder:
        kinds = dict(write_kinds(photos, Path(folder)))
        sides = [here] if arguments.before is None else [arguments.before.resolve(), here]
        workers = [Worker(side) for side in sides]
        for kind, files in kinds.items():
            print(format_row(kind, measure_rounds(workers, files, arguments.rounds)), flush=True)
    if arguments.model is not None:
        compare_vectors(photos, arguments.model)


class Worker:
    """A process that decodes images with the code of a checkout."""

    def __init__(self, checkout: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(checkout / "core")},
            cwd=checkout,
        )

    def seconds(self, files: list[Path]) -> float:
        """Returns the processor time of decoding each file once."""
        assert self._process.stdin is not None  # noqa: S101
        assert self._process.stdout is not None  # noqa: S101
        self._process.stdin.write("\t".join(map(str, files)) + "\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())


_WORKER = """
import io, sys, time
from pathlib import Path
from lookalike_core.images.decoding import decode
for line in sys.stdin:
    files = [io.BytesIO(Path(name).read_bytes()) for name in line.rstrip("\\n").split("\\t")]
    started = time.process_time()
    for file in files:
        decode(file, "file")
    print(time.process_time() - started, flush=True)
"""


def measure_rounds(workers: list[Worker], files: list[Path], rounds: int) -> list[list[float]]:
    """Returns seconds by round and worker; a first round, which loads libraries, is not counted."""
    return [[worker.seconds(files) for worker in workers] for _ in range(rounds + 1)][1:]


def format_row(kind: str, rounds: list[list[float]]) -> str:
    """Returns a line of the table: milliseconds a file."""
    times = [1000 * statistics.median(column) / FILES for column in zip(*rounds, strict=True)]
    said = "  ".join(f"{ms:7.2f} ms" for ms in times)
    ratio = statistics.median(after / before for before, *_, after in rounds) if len(times) > 1 else None
    return f"{kind:34} {said}" + (f"  ratio {ratio:.2f}" if ratio is not None else "")


def profiles() -> Mapping[str, bytes | None]:
    """Returns the name of each profile -> its bytes; None is no profile."""
    from lookalike_core.images.profiles import SRGB_CHROMATICITIES, matrix_profile

    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return {
        "no profile": None,
        "sRGB": srgb,
        "Display P3": matrix_profile(None, DISPLAY_P3),
        "AdobeRGB": matrix_profile(563 / 256, ADOBE),
        "ProPhoto": matrix_profile(1.8, PROPHOTO),
        "linear": matrix_profile(1.0, SRGB_CHROMATICITIES),
    }


def write_kinds(photos: list[Path], folder: Path) -> Iterator[tuple[str, list[Path]]]:
    """Yields the name of each kind of file, and its files."""
    for size in (SMALL, LARGE):
        images = [Image.open(photo).convert("RGB").resize(size, Image.Resampling.BICUBIC) for photo in photos]
        for name, icc in profiles().items():
            kind = f"JPEG {size[0]} x {size[1]}, {name}"
            yield kind, [_written(image, folder / f"{kind} {i}.jpg", icc) for i, image in enumerate(images)]
        for image in images:
            image.putalpha(Image.radial_gradient("L").resize(size))
        kind = f"PNG {size[0]} x {size[1]}, transparent"
        yield kind, [_written(image, folder / f"{kind} {i}.png", None) for i, image in enumerate(images)]


def _written(image: Image.Image, path: Path, icc: bytes | None) -> Path:
    options = {"icc_profile": icc} if icc else {}
    if path.suffix == ".jpg":
        image.save(path, quality=90, **options)
    else:
        image.save(path, compress_level=1, **options)
    return path


def compare_vectors(photos: list[Path], model: Path) -> None:
    """Prints the lowest and the mean cosine between converting before and after scaling."""
    from lookalike_core.images import rendering
    from lookalike_core.images.decoding import decode
    from lookalike_core.models.embedder import Embedder

    embedder = Embedder.load(model)
    for name, icc in profiles().items():
        if icc is None or name == "sRGB":
            continue
        files = [io.BytesIO(encode_png(Image.open(photo).convert("RGB"), icc)) for photo in photos]
        vectors = []
        for limit in (10**9, 0):
            rendering.EXACT_PIXELS = limit
            pixels = np.stack([decode(file, "file").pixels for file in files])
            found = embedder.embed(pixels).astype(np.float64)
            vectors.append(found / np.linalg.norm(found, axis=1, keepdims=True))
        cosines = (vectors[0] * vectors[1]).sum(axis=1)
        print(f"{name:12} before and after: cosine {cosines.min():.6f} at the lowest, {cosines.mean():.6f}")


def encode_png(image: Image.Image, icc: bytes) -> bytes:
    """Returns an image as PNG with a colour profile."""
    file = io.BytesIO()
    image.save(file, "PNG", icc_profile=icc, compress_level=1)
    return file.getvalue()


def short(folder: Path) -> Iterator[Duel]:
    """Yields our decoding of 40 JPEGs beside Pillow's, to the same size."""
    draw(folder, 5 * FILES)
    files = [path.read_bytes() for path in sorted(folder.rglob("*.jpg"))]

    def ours() -> object:
        return [decode(io.BytesIO(file), "file").pixels for file in files]

    def pillow() -> object:
        return [
            np.asarray(Image.open(io.BytesIO(file)).convert("RGB").resize((224, 224), BICUBIC))
            for file in files
        ]

    yield Duel(name="colours: decoding JPEGs / by Pillow alone", ours=ours, peer=pillow)


if __name__ == "__main__":
    run_either(main, short)
