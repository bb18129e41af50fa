"""The versions of Lookalike and of what it runs on."""

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

from lookalike_core import __version__

RUNTIMES = ("onnxruntime-gpu", "onnxruntime")
"""The two builds of ONNX Runtime, whose files have the same names; exactly one should be installed."""

PLUGIN = "onnxruntime-ep-openvino"


def version_lines() -> Iterator[str]:
    """Yields a line for Lookalike, for Python, and for each library that decides what works."""
    yield f"lookalike {__version__}"
    yield f"Python {platform.python_version()} on {platform.system()} {platform.machine()}"
    providers = f" with {available_providers()}"
    for name in (*RUNTIMES, PLUGIN, "qdrant-client", "qdrant-edge-py"):
        if (found := installed_version(name)) is not None:
            yield f"{name} {found}{providers if name in RUNTIMES else ''}"
    if not any(map(installed_version, RUNTIMES)):
        yield "ONNX Runtime is not installed"


def installed_version(name: str) -> str | None:
    """Returns the version of an installed distribution; None if there is none."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def available_providers() -> str:
    """Returns the execution providers that ONNX Runtime was built with, or why it does not load."""
    try:
        from lookalike_core.models.providers import first_line, load_runtime
    except ImportError as error:
        return f"no provider: {error}"
    try:
        return ", ".join(load_runtime().get_available_providers())
    except Exception as error:  # noqa: BLE001 - whatever is broken, the other versions are wanted
        return f"no provider: {first_line(error)}"
