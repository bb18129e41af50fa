"""Builds the packages and tries them where a user would have them: `make dist`.

    python scripts/dist.py DIST

A source archive is built, and of it a wheel, into DIST. Their metadata and files are checked. Then the wheel
is installed, with the locked versions of what it needs, into a new environment outside the checkout, whose
commands index and search images with a small model.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parents[1]

SMALL_MODEL = """
import sys
import h5py, numpy as np
random = np.random.default_rng(0)
with h5py.File(sys.argv[1], "w") as file:
    file.attrs["layer_names"] = [b"block1_conv1"]
    group = file.create_group("block1_conv1")
    group.attrs["weight_names"] = [b"block1_conv1_W_1:0", b"block1_conv1_b_1:0"]
    group["block1_conv1_W_1:0"] = random.normal(0, 0.05, (3, 3, 3, 64)).astype("float32")
    group["block1_conv1_b_1:0"] = random.normal(0, 0.05, 64).astype("float32")
"""
"""A program that writes weights of VGG16's first layer."""

LARGEST = 15
"""How many packages are listed by size."""


CLASSIFIERS = (
    *(f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)),
    "Typing :: Typed",
)
FIELDS = ("summary", "description", "license_expression", "license_files", "requires_python", "keywords")
"""What the metadata must have."""

SUFFIXES = {".py", ".typed", ".html", ".css", ".js"}
"""Kinds of files that the packages are made of."""


class DistError(Exception):
    """A package is not what it should be."""


def main() -> int:
    """Builds, checks, installs and tries the packages; returns the exit code."""
    if sys.argv[1:2] == ["--sizes"]:
        print_sizes()
        return 0
    begun = time.monotonic()
    folder = Path(sys.argv[1]).resolve()
    try:
        archive, wheel = build(folder)
        require_none([*check_metadata(archive, wheel), *check_files(archive, wheel)])
        say(begun, f"built and checked {archive.name} and {wheel.name}")
        with tempfile.TemporaryDirectory(prefix="lookalike-dist-") as temporary:
            try_out(wheel, Path(temporary), begun)
    except (DistError, subprocess.CalledProcessError) as error:
        output = getattr(error, "output", None)
        print(f"error: {error}" + (f"\n{output}" if output else ""), file=sys.stderr)
        return 1
    say(begun, "done")
    return 0


def require_none(faults: Sequence[str]) -> None:
    """Raises an error that lists the faults, if there are any."""
    if faults:
        raise DistError("\n".join(faults))


def say(begun: float, text: str) -> None:
    """Prints what was done, and the seconds since the beginning."""
    print(f"{time.monotonic() - begun:5.0f} s  {text}", flush=True)


# Building


def build(folder: Path) -> tuple[Path, Path]:
    """Builds into an empty folder, with the locked build backend of this environment."""
    shutil.rmtree(folder, ignore_errors=True)
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT)])
    (archive,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return archive, wheel


def packages() -> dict[str, Path]:
    """Returns the import name of each package -> its folder in the checkout."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    folders = tomllib.loads(text)["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    return {PurePosixPath(folder).name: ROOT / folder for folder in folders}


# Checking


def check_metadata(archive: Path, wheel: Path) -> Iterator[str]:
    """Yields what is wrong with the metadata of either."""
    from packaging.metadata import Metadata

    texts = {archive: _read_archive(archive, "PKG-INFO"), wheel: _read_wheel(wheel, ".dist-info/METADATA")}
    for path, text in texts.items():
        try:
            metadata = Metadata.from_email(text, validate=True)
        except ExceptionGroup as group:
            yield from (f"{path.name}: {error}" for error in group.exceptions)
            continue
        yield from (f"{path.name}: {fault}" for fault in find_faults(metadata))


def find_faults(metadata: object) -> Iterator[str]:
    """Yields what a reader of the package index would miss."""
    classifiers = getattr(metadata, "classifiers", None) or []
    yield from (f"no classifier {name}" for name in CLASSIFIERS if name not in classifiers)
    yield from (f"no {name}" for name in FIELDS if not getattr(metadata, name, None))
    if getattr(metadata, "description_content_type", None) != "text/markdown":
        yield "the description is not Markdown"


def check_files(archive: Path, wheel: Path) -> Iterator[str]:
    """Yields files that are missing or that nobody needs: what is in the packages, and the licence."""
    wanted = set(package_files())
    in_wheel = set(zipfile.ZipFile(wheel).namelist())
    yield from (f"{wheel.name} lacks {name}" for name in sorted(wanted - in_wheel))
    further = {name for name in in_wheel - wanted if ".dist-info/" not in name}
    strange = {name for name in wanted if PurePosixPath(name).suffix not in SUFFIXES}
    yield from (f"{wheel.name} has {name}" for name in sorted(further | strange))
    if not any(name.endswith(".dist-info/licenses/LICENSE") for name in in_wheel):
        yield f"{wheel.name} lacks its licence"
    yield from check_archive(archive)


def package_files() -> Iterator[str]:
    """Yields what the wheel has to hold: every file of the packages, as a wheel names it."""
    for name, folder in packages().items():
        if not (folder / "py.typed").is_file():
            raise DistError(f"{name} has no py.typed")
        for file in folder.rglob("*"):
            if file.is_file() and file.parent.name != "__pycache__":
                yield f"{name}/{file.relative_to(folder).as_posix()}"


def check_archive(archive: Path) -> Iterator[str]:
    """Yields files that the source archive lacks, and folders that it should not have."""
    with tarfile.open(archive) as tar:
        names = {member.name.partition("/")[2] for member in tar.getmembers() if member.isfile()}
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "requirements.lock"):
        if name not in names:
            yield f"{archive.name} lacks {name}"
    folders = {folder.relative_to(ROOT).parts[0] for folder in packages().values()}
    others = {name.split("/")[0] for name in names if "/" in name} - folders
    yield from (f"{archive.name} has {name}/" for name in sorted(others))


def _read_archive(archive: Path, ending: str) -> bytes:
    with tarfile.open(archive) as tar:
        member = next(each for each in tar.getmembers() if each.name.endswith(ending))
        file = tar.extractfile(member)
        return file.read() if file else b""


def _read_wheel(wheel: Path, ending: str) -> bytes:
    with zipfile.ZipFile(wheel) as file:
        return file.read(next(name for name in file.namelist() if name.endswith(ending)))


# Trying


def try_out(wheel: Path, folder: Path, begun: float) -> None:
    """Installs the wheel into a new environment, and runs its commands there."""
    environment = own_environment(folder)
    run([sys.executable, "-m", "venv", str(folder / "venv")])
    binaries = folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
    pip = [str(binaries / "python"), "-m", "pip", "--disable-pip-version-check"]
    lock = str(ROOT / "requirements.lock")
    install = [*pip, "install", "--quiet", "--no-compile"]  # of most modules none is imported here
    run([*install, "--require-hashes", "--requirement", lock], cwd=folder)
    run([*install, "--no-deps", str(wheel)], cwd=folder)
    run([*pip, "check"], cwd=folder)
    say(begun, "installed with the locked versions")
    python, weights = str(binaries / "python"), str(folder / "small.h5")
    run([python, "-c", SMALL_MODEL, weights], cwd=folder)
    model = ["--backbone", "vgg", "--layer", "block1_conv1", "--weights", weights]
    image = "query.jpg"
    for words in (
        [python, "-c", "import lookalike; lookalike.Index; print(lookalike.__version__)"],
        ["lookalike", "--version"],
        ["lookalike", "doctor", "--offline"],
        ["ingest", "sample", "images", "--query", image],
        ["lookalike", "ingest", "run", "images", *model],
        ["lookalike", "search", "query", image, "--html", "answer.html"],
        ["exporter", "list"],
        ["search", "evaluate", "--plot", "plot.png"],
    ):
        program = words[0] if words[0] == python else str(binaries / words[0])
        run([program, *words[1:]], cwd=folder, environment=environment)
        say(begun, f"$ {' '.join(words[:3])}" if words[0] != python else "import lookalike")
    print_sizes_of(python, folder)


def print_sizes_of(python: str, folder: Path) -> None:
    """Prints the sizes of the packages of another environment."""
    print(run([python, str(Path(__file__).resolve()), "--sizes"], cwd=folder), end="")


def own_environment(folder: Path) -> Mapping[str, str]:
    """Returns the environment of a new user: without our variables, with a home in `folder`."""
    left = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("LOOKALIKE_", "QDRANT_", "PYTHON", "VIRTUAL_ENV", "COVERAGE"))
    }
    return left | {"LOOKALIKE_HOME": str(folder / "home"), "LOOKALIKE_STORE": "embedded"}


def run(words: Sequence[str], *, cwd: Path = ROOT, environment: Mapping[str, str] | None = None) -> str:
    """Runs a program to its end and returns its stdout.

    Raises:
        CalledProcessError: it failed; its output is that of the error.
    """
    done = subprocess.run(
        words,
        cwd=cwd,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise subprocess.CalledProcessError(done.returncode, list(words), output=done.stdout + done.stderr)
    return done.stdout


# Sizes


def print_sizes() -> None:
    """Prints the largest packages of this environment, in MB on the disk, as a table of Markdown."""
    sizes = {each.metadata["Name"]: size_of(each) for each in distributions()}
    largest = sorted(sizes.items(), key=lambda item: -item[1])
    print("| package | MB |\n|---|---|")
    for name, size in largest[:LARGEST]:
        print(f"| {name} | {size / 10**6:.0f} |")
    rest = largest[LARGEST:]
    print(f"| {len(rest)} others | {sum(size for _, size in rest) / 10**6:.0f} |")
    print(f"| all | {sum(sizes.values()) / 10**6:.0f} |")


def size_of(distribution: Distribution) -> int:
    """Returns the bytes of a package's files on the disk, compiled modules included."""
    total = 0
    for file in distribution.files or []:
        path = Path(str(file.locate()))
        total += path.stat().st_size if path.is_file() else 0
    return total


if __name__ == "__main__":
    sys.exit(main())
