"""The cache of graphs that ONNX Runtime has optimized, so that the next process need not do it again.

    HOME/models/optimized/MODEL.KEY.onnx       the graph's nodes
    HOME/models/optimized/MODEL.KEY.weights    their values, which the runtime maps instead of reading them

An entry takes about as many bytes as the model. It is made for one kind of processor and one version of the
runtime: `KEY` has a hash of the processor's features and one of all that the entry was made from, and is
stored in the graph, too. For each model and kind of processor there is one entry. If it is missing, broken or
of another model, the model itself is used.
"""

import hashlib
import json
import os
import platform
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lookalike_core.atomic import atomic_files, sweep_partials
from lookalike_core.errors import ModelError
from lookalike_core.models.external_data import append_metadata, list_external_files, read_metadata

_MADE_OF = "lookalike-optimized"
"""The metadata key of an entry's own key."""

_WEIGHTS = "lookalike-weights"
"""The metadata key of the size and the time of the file of values."""

_RECIPE = 3
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
    made_of = hashlib.sha256(json.dumps([_RECIPE, runtime, *file]).encode()).hexdigest()
    processor = hashlib.sha256(_describe_processor().encode()).hexdigest()
    return folder / f"{model.stem}.{processor[:8]}-{made_of[:16]}.onnx"


def weights_path(entry: Path) -> Path:
    """Returns the path of the values of a cached graph; a graph of few values has no such file."""
    return entry.with_suffix(".weights")


@contextmanager
def write_entry(entry: Path, model: Path) -> Iterator[Path]:
    """Yields a path to write an entry to, with its values beside it under their own name.

    If another process has written the entry meanwhile, that one stays: it may be mapped already. Entries that
    nobody needs any more are removed (`_remove_stale`).

    Raises:
        OSError: nothing can be written there, or too little disk space is free: a gigabyte and twice the
            model's size.
    """
    weights = weights_path(entry)
    with atomic_files(weights, entry) as folder:  # values first; `require_own` finds a graph of other ones
        if shutil.disk_usage(folder).free < _SPARE_BYTES + 2 * model.stat().st_size:
            raise OSError("too little disk space is free to cache a graph")
        graph = folder / entry.name
        yield graph
        append_metadata(graph, _MADE_OF, _key(entry))
        append_metadata(graph, _WEIGHTS, _describe_state(folder / weights.name))
        if _is_own(entry, model):
            for each in folder.iterdir():
                each.unlink()
    _remove_stale(entry, model)


def require_own(entry: Path, model: Path) -> None:
    """Refuses an entry whose key is of another model, of other bytes of it, or of another runtime.

    Raises:
        ModelError: the key differs, the values are not those that were written with the graph, or the graph
            takes some from another file.
        ValueError: the file is not a complete ONNX file.
        OSError: the file does not exist.
    """
    own = {_MADE_OF: _key(entry), _WEIGHTS: _describe_state(weights_path(entry))}
    if read_metadata(entry) != {**read_metadata(model), **own}:
        raise ModelError(f"{entry} was not made from {model}")
    if list_external_files(entry) - {weights_path(entry).name}:
        raise ModelError(f"{entry} reads values from other files than its own")


def _is_own(entry: Path, model: Path) -> bool:
    try:
        require_own(entry, model)
    except (ModelError, ValueError, OSError):
        return False
    return True


def _key(entry: Path) -> str:
    return entry.name.rsplit(".", 2)[1]


def _describe_state(weights: Path) -> str:
    """Returns the size and the time of a file of values; nothing of it is read, which would take as long."""
    try:
        stat = weights.stat()
    except FileNotFoundError:
        return "none"
    return f"{stat.st_size} bytes at {stat.st_mtime_ns}"


def _remove_stale(entry: Path, model: Path) -> None:
    """Removes entries of former states of the model, of deleted models, and of killed processes.

    Those of other processors stay: another machine that shares the folder may have mapped one, and its
    process ends when such a file is removed over the network. What cannot be removed is left.
    """
    processor, _, _ = _key(entry).partition("-")
    for other in [*entry.parent.glob("*.onnx"), *entry.parent.glob("*.weights")]:
        name, _, key = other.stem.rpartition(".")
        other_processor, _, made_of = key.partition("-")
        is_of_model = name == model.stem and (not made_of or other_processor == processor)
        if other.stem != entry.stem and (is_of_model or not model.with_name(f"{name}.onnx").exists()):
            with suppress(OSError):
                other.unlink(missing_ok=True)
    with suppress(OSError):
        sweep_partials(entry.parent, older_than_s=_ABANDONED_S)


def _describe_processor() -> str:
    """Returns what graphs are optimized for: on Linux the CPU's features, elsewhere this machine."""
    with suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123 - not a file of ours
        for line in lines:
            if line.startswith(("flags", "Features")):
                return f"{platform.machine()} {line.partition(':')[2].strip()}"
    processor = os.environ.get("PROCESSOR_IDENTIFIER", "")
    return f"{platform.machine()} {processor} {platform.node()}"
