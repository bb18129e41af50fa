"""Runs a command that reports when it has come to a certain call, so that it can be killed there.

    python victim.py CONFIG COMMAND WORDS...

CONFIG is a JSON object: `trap` names a call below and `nth` which one of them, at whose beginning a line
goes to the file descriptor `fd`; with `stands_still` the process stops itself there; `acknowledged` is a
file that takes the ids of points whose upsert has returned; `calls` takes how often each trap was passed;
`index_above_kb` lowers the index threshold; `block` is how many points a copy takes at a time; `url` and
`md5` stand for VGG16's official weights.
"""

import functools
import importlib
import json
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

TRAPS = {
    "scan": "lookalike_core.images.folder_walk:FolderWalk._look_at",
    "read": "lookalike_ingest.reading:read_image",
    "embed": "lookalike_core.models.embedder:Embedder.embed",
    "create": "lookalike_core.stores.embedded:EmbeddedStore.create",
    "upsert": "lookalike_core.stores.embedded_collection:EmbeddedCollection.upsert",
    "payloads": "lookalike_core.stores.embedded_collection:EmbeddedCollection.replace_payloads",
    "delete": "lookalike_core.stores.embedded_collection:EmbeddedCollection.delete",
    "index": "lookalike_core.stores.edge_engine:_wait",
    "manifest": "lookalike_core.atomic:_sync",
    "flush": "lookalike_core.stores.edge_shard:Shard.close",
    "mark": "lookalike_core.stores.cache_mark:Mark.write",
    "leave": "lookalike_core.stores.embedded_collection:EmbeddedCollection.__exit__",
    "replace": "lookalike_core.stores.embedded:EmbeddedStore.replace",
    "finish": "lookalike_core.stores.embedded:EmbeddedStore._finish_replacement",
    "export": "lookalike_exporter.export:write_onnx",
    "create copy": "lookalike_core.stores.embedded:EmbeddedStore.create_copy",
    "copy file": "lookalike_core.stores.embedded:copy_sparse",
    "complete copy": "lookalike_core.stores.embedded_collection:EmbeddedCollection.complete_copy",
    "server upsert": "lookalike_core.stores.server_collection:ServerCollection.upsert",
    "server complete copy": "lookalike_core.stores.server_collection:ServerCollection.complete_copy",
    "back up file": "lookalike_core.stores.backup_file:_add",
    "read backup": "lookalike_core.stores.backup_file:BackupFile._read_member",
    "count restored": "lookalike_core.stores.embedded:EmbeddedStore.count_points_in",
    "sync": "lookalike_core.stores.embedded:sync_tree",
    "head": "lookalike_exporter.heads.fit:write_head",
    "download": "lookalike_exporter.weights_sources:_download",
}


def main() -> None:
    """Sets the traps and runs the command."""
    config: dict[str, Any] = json.loads(sys.argv[1])
    calls: Counter[str] = Counter()
    lock = threading.Lock()
    for name, place in TRAPS.items():
        wrap(place, functools.partial(pass_trap, name, calls, config, lock))
    if "acknowledged" in config:
        acknowledge(Path(config["acknowledged"]))
    if "index_above_kb" in config:
        embedded = importlib.import_module("lookalike_core.stores.embedded")
        tuning = embedded.EngineTuning(indexed_above_kb=config["index_above_kb"])
        embedded.EmbeddedStore.__init__.__kwdefaults__["tuning"] = tuning
    if "block" in config:
        importlib.import_module("lookalike_ingest.copying").BLOCK = config["block"]
        shorten_leases()
    if "url" in config:
        serve_weights_from(config["url"], config["md5"])
    sys.argv = sys.argv[2:]
    command = importlib.import_module(f"lookalike_{sys.argv[0]}.__main__")
    try:
        command.main()
    finally:
        if "calls" in config:
            Path(config["calls"]).write_text(json.dumps(calls), encoding="utf-8")


def pass_trap(name: str, calls: Counter[str], config: dict[str, Any], lock: threading.Lock) -> None:
    """Counts a call, and reports the configured one."""
    with lock:
        calls[name] += 1
        if (name, calls[name]) == (config.get("trap"), config.get("nth")):
            os.write(config["fd"], b"now\n")
            if config.get("stands_still"):
                os.kill(os.getpid(), signal.SIGSTOP)


def wrap(place: str, before: Callable[[], None]) -> None:
    """Makes `before` run at the beginning of each call of `module:name` or `module:Class.method`."""
    owner, name = owner_of(place)
    function = getattr(owner, name)

    @functools.wraps(function)
    def wrapped(*words: Any, **named: Any) -> Any:
        before()
        return function(*words, **named)

    setattr(owner, name, wrapped)


def owner_of(place: str) -> tuple[Any, str]:
    """Returns the object that has an attribute, and the attribute's name."""
    module, _, path = place.partition(":")
    *owners, name = path.split(".")
    return functools.reduce(getattr, owners, importlib.import_module(module)), name


def acknowledge(file: Path) -> None:
    """Appends the ids of points to a file once their upsert has returned."""
    from lookalike_core.stores.embedded_collection import EmbeddedCollection

    upsert = EmbeddedCollection.upsert
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def acknowledged(collection: Any, points: Any) -> None:
        upsert(collection, points)
        os.write(descriptor, "".join(f"{point.payload.id}\n" for point in points).encode())

    EmbeddedCollection.upsert = acknowledged  # type: ignore[method-assign]


def shorten_leases() -> None:
    """Makes a server's lease expire soon after a kill."""
    from lookalike_core.stores import connection
    from lookalike_core.stores.rebuild_lease import LeaseTimes
    from lookalike_core.stores.server_tuning import ServerTuning

    lease = LeaseTimes(beat_s=0.05, watch_s=0.5, settle_s=0.02, poll_s=0.02)
    connection.connect.__kwdefaults__["tuning"] = ServerTuning(lease=lease)


def serve_weights_from(url: str, md5: str) -> None:
    """Replaces VGG16's official weights by another file."""
    from lookalike_core.models.backbones import VGG16

    files = tuple(replace(file, url=url, md5=md5) for file in VGG16.weights)
    object.__setattr__(VGG16, "weights", files)


if __name__ == "__main__":
    main()
