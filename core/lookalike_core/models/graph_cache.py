"""The cache of graphs that ONNX Runtime has optimized, so that the next process need not do it again.

    HOME/models/optimized/MODEL.KEY.onnx

An entry is a copy of the model with other nodes and about as many bytes, made for one processor and one
version of the runtime: `KEY` is a hash of all that it was made from, and is stored in the entry, too. There
is one for each model. If it is missing, broken or of another model, the model itself is used.
"""

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lookalike_core.atomic import atomic_path, sweep_partials
from lookalike_core.errors import ModelError
from lookalike_core.models.external_data import append_metadata, read_metadata

_MADE_OF = "lookalike-optimized"
"""The metadata key of an entry's own key."""

_RECIPE = 2
"""To be increased when sessions are opened with other options than entries were made with."""

_SPARE_BYTES = 2**30
"""Bytes to leave free on the disk: a copy that only saves time must not fill it."""

_ABANDONED_S = 3600


def entry_path(model: Path, folder: Path, *, runtime: str) -> Path:
    """Returns the path of the cached graph of a model in its present state, for this processor and runtime.

    Raises:
        OSError: the model does not exist.
    """
    stat = model.stat()
    file = [str(model.resolve()), stat.st_size, stat.st_mtime_ns, read_metadata(model)]
    made_of = [_RECIPE, runtime, _describe_processor(), *file]
    key = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:16]
    return folder / f"{model.stem}.{key}.onnx"


@contextmanager
def write_entry(entry: Path, model: Path) -> Iterator[Path]:
    """Yields the path to write an entry to, which is renamed when the block ends; older entries are removed.

    Raises:
        OSError: nothing can be written there, or less than a gigabyte would stay free.
    """
    with atomic_path(entry) as temporary:
        if shutil.disk_usage(entry.parent).free < _SPARE_BYTES + 2 * model.stat().st_size:
            raise OSError("too little disk space is free to cache a graph")
        yield temporary
        append_metadata(temporary, _MADE_OF, _key(entry))
    with suppress(OSError):
        _remove_stale(entry, model)


def require_own(entry: Path, model: Path) -> None:
    """Refuses an entry whose key is of another model, of other bytes of it, or of another runtime.

    Raises:
        ModelError: the key differs.
        ValueError: the file is not a complete ONNX file.
        OSError: the file does not exist.
    """
    if read_metadata(entry) != {**read_metadata(model), _MADE_OF: _key(entry)}:
        raise ModelError(f"{entry} was not made from {model}")


def _key(entry: Path) -> str:
    return entry.name.rsplit(".", 2)[1]


def _remove_stale(entry: Path, model: Path) -> None:
    """Removes entries of former states of the model, of deleted models, and of killed processes."""
    for other in entry.parent.glob("*.onnx"):
        name = other.name.rsplit(".", 2)[0]
        if other != entry and (name == model.stem or not model.with_name(f"{name}.onnx").exists()):
            other.unlink(missing_ok=True)
    sweep_partials(entry.parent, older_than_s=_ABANDONED_S)


def _describe_processor() -> str:
    """Returns what graphs are optimized for: on Linux the CPU's features, elsewhere this machine."""
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123 - not a file of ours
        for line in lines:
            if line.startswith(("flags", "Features")):
                return f"{platform.machine()} {line.partition(':')[2].strip()}"
    processor = os.environ.get("PROCESSOR_IDENTIFIER", "")
    return f"{platform.machine()} {processor} {platform.node()}"
