"""Checks Python and the installed packages."""

import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module

from lookalike.commands.checks.findings import Finding, ok, pip, problem, warning
from lookalike.commands.versions import RUNTIMES, installed_version

OLDEST_PYTHON = (3, 11)

OTHER_RUNTIMES = ("onnxruntime-openvino", "onnxruntime-directml", "onnxruntime-rocm")
"""Builds that Lookalike does not ask for; they have the same files, too."""

EXTRAS = {
    "heif": ("pillow_heif", "HEIC images"),
    "parquet": ("pyarrow", "tables in Parquet"),
    "ray": ("ray", "ingests on a Ray cluster"),
}
"""Extra -> the module that it brings, and what that reads or writes."""

_64_BIT = 2**63 - 1


def check_python(
    version: Sequence[int] = sys.version_info[:3], *, largest: int = sys.maxsize
) -> Iterator[Finding]:
    """Yields whether this Python is new enough, and one of 64 bits, for which the libraries are built."""
    shown = ".".join(map(str, version))
    where = f"Python {shown} on {platform.system()} {platform.machine()}, {sys.executable}"
    if tuple(version[:2]) < OLDEST_PYTHON:
        yield problem(f"{where}: too old", "install Python 3.11 or newer")
    elif largest < _64_BIT:
        yield problem(f"{where}: has 32 bits, and Qdrant's engine needs 64", "install a Python of 64 bits")
    else:
        yield ok(where)


def check_runtimes(find_version: Callable[[str], str | None] = installed_version) -> Iterator[Finding]:
    """Yields whether exactly one build of ONNX Runtime is installed: they overwrite each other's files."""
    wanted = wanted_runtime()
    found = [name for name in (*RUNTIMES, *OTHER_RUNTIMES) if find_version(name) is not None]
    shown = " and ".join(f"{name} {find_version(name)}" for name in found)
    if not found:
        yield problem("ONNX Runtime is not installed", pip("install", wanted))
    elif len(found) > 1:
        again = f"{pip('uninstall', '--yes', *found)} && {pip('install', wanted)}"
        yield problem(f"{shown} are both installed, and overwrite each other's files", again)
    elif found != [wanted]:
        again = f"{pip('uninstall', '--yes', *found)} && {pip('install', wanted)}"
        yield warning(f"{shown} is installed, where Lookalike is tested with {wanted}", again)
    else:
        yield ok(shown)


def wanted_runtime() -> str:
    """Returns the build that Lookalike requires on this platform, as pyproject.toml has it."""
    has_cuda = (sys.platform, platform.machine()) in (("linux", "x86_64"), ("win32", "AMD64"))
    return "onnxruntime-gpu" if has_cuda else "onnxruntime"


def check_extras(load: Callable[[str], object] = import_module) -> Iterator[Finding]:
    """Yields for each optional package whether it is installed and loads."""
    for extra, (module, what) in EXTRAS.items():
        install = pip("install", f"lookalike[{extra}]")
        try:
            load(module)
        except ModuleNotFoundError:
            yield ok(f"{module} is not installed: no {what}", install)
        except Exception as error:  # noqa: BLE001 - whatever a broken library raises
            again = pip("install", "--force-reinstall", "--no-deps", module.replace("_", "-"))
            yield warning(f"{module} is installed and does not load ({error}): no {what}", again)
        else:
            yield ok(f"{module} is installed: {what}")
