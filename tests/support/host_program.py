"""Runs as a host's process: prints which of its settings changed by the use of the library.

Run by tests/test_clean_host.py with a folder of images, an empty one, and a weights file.
"""

import faulthandler
import gc
import hashlib
import importlib
import json
import locale
import logging
import os
import random
import signal
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

USED = (
    *("numpy", "PIL.Image", "PIL.ImageCms", "PIL.ImageFile", "onnxruntime", "onnx", "h5py", "matplotlib"),
    *("matplotlib.figure", "sklearn.manifold", "sklearn.linear_model", "scipy.ndimage", "qdrant_edge"),
    *("filelock", "jinja2", "rich", "typer", "threadpoolctl", "platformdirs"),
)
"""Libraries whose import changes global state; here the host itself imports them."""


def main() -> None:
    """Prints a JSON object: changed setting -> its values before and after."""
    images, empty, weights = map(Path, sys.argv[1:])
    for name in USED:
        importlib.import_module(name)
    set_own_state()
    loggers = [None, *logging.root.manager.loggerDict]
    before = read_state(loggers)
    use_library(images, empty, weights)
    after = read_state(loggers)
    changed = {name: [before[name], after[name]] for name in before if before[name] != after[name]}
    json.dump(changed, sys.stdout, default=repr)


def set_own_state() -> None:
    """Sets what a host may set, each to an unusual value."""
    import matplotlib as mpl
    import numpy as np
    from PIL import Image

    Image.init()
    Image.MAX_IMAGE_PIXELS = 1_000
    warnings.simplefilter("error")
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    mpl.rcParams["font.size"] = 23.0
    np.seterr(under="warn")
    np.random.seed(5)  # noqa: NPY002 - sets the global state
    random.seed(5)
    os.environ["OWN"] = "value"
    sys.path.append("/nowhere")


def read_state(loggers: list[str | None]) -> dict[str, Any]:
    """Returns the global state of the process."""
    import matplotlib as mpl
    import numpy as np
    import threadpoolctl
    from PIL import Image, ImageFile

    def digest(data: object) -> str:
        return hashlib.sha256(repr(data).encode()).hexdigest()

    streams = (sys.stdin, sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)
    hooks = (sys.excepthook, sys.displayhook, threading.excepthook, sys.unraisablehook, warnings.showwarning)
    named = [logging.getLogger(name) for name in loggers]
    return {
        "signals": {number.name: repr(signal.getsignal(number)) for number in signal.Signals},
        "Pillow": [Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES, ImageFile.MAXBLOCK],
        "Pillow's formats": [list(Image.ID), list(Image.SAVE), dict(Image.EXTENSION), dict(Image.MIME)],
        "warnings": list(map(repr, warnings.filters)),
        "loggers": {one.name: [one.level, repr(one.handlers), one.propagate, one.disabled] for one in named},
        "our logger": [type(handler).__name__ for handler in logging.getLogger("lookalike").handlers],
        "all logging": [logging.root.manager.disable, logging.raiseExceptions, repr(logging.lastResort)],
        "environment": dict(os.environ),
        "folder": str(Path.cwd()),
        "streams": list(map(id, streams)),
        "hooks": list(map(id, hooks)),
        "path": list(sys.path),
        "locale": locale.setlocale(locale.LC_ALL),
        "matplotlib": {key: repr(value) for key, value in mpl.rcParams.items()},
        "numpy": [np.geterr(), digest(np.random.get_state())],  # noqa: NPY002 - as above
        "random": digest(random.getstate()),
        "collector": [gc.isenabled(), gc.get_threshold()],
        "limits": [sys.getrecursionlimit(), sys.get_int_max_str_digits(), sys.getswitchinterval()],
        "faulthandler": faulthandler.is_enabled(),
        "threads of libraries": {
            pool["filepath"]: pool["num_threads"] for pool in threadpoolctl.threadpool_info()
        },
        "threads": [thread.name for thread in threading.enumerate()],
    }


def use_library(images: Path, empty: Path, weights: Path) -> None:
    """Calls all that a host of the library calls: export, ingest, query, duplicates, evaluation and pages."""
    import numpy as np
    from lookalike_core.settings import Settings
    from lookalike_core.stores.collection_manifest import Distance
    from lookalike_core.stores.embedded import EmbeddedStore
    from lookalike_exporter.spec import ModelSpec
    from lookalike_ingest.request import Dataset, IngestRequest, StopRequest
    from lookalike_ingest.run import run_ingest
    from lookalike_search.analysis.duplicates import find_duplicates
    from lookalike_search.analysis.projection import project
    from lookalike_search.asking.query import Answer, QueryOptions, Searcher
    from lookalike_search.asking.query_batch import answer_all
    from lookalike_search.evaluation.runs import EvaluationOptions, Plan, evaluate_settings
    from lookalike_search.reports.query import query_page

    spec = ModelSpec.of("vgg", layer="block1_conv1", weights=str(weights))
    settings, store = Settings(home=empty, provider="cpu"), EmbeddedStore(empty / "store")
    request = IngestRequest(
        dataset=Dataset(name="data", root=images), specs=[spec], distances=[Distance.COSINE]
    )
    report = run_ingest(request, store=store, settings=settings, stop=StopRequest())
    assert report.collections[0].counts["added"] == report.found, report.skipped
    (name,) = store.names()
    with Searcher.opened(name, store=store, settings=settings) as searcher:
        (answer,) = answer_all(searcher, [next(images.rglob("*.png"))], QueryOptions())
        manifests = [network.manifest for network in searcher.networks]
    assert isinstance(answer, Answer)
    assert answer.hits
    query_page([answer], manifests, QueryOptions()).write(empty / "page.html")
    with store.open(name) as collection:
        find_duplicates(collection)
    list(
        evaluate_settings(
            store, Plan(collections=[name], pairs=[], rules=[]), EvaluationOptions(), settings=settings
        )
    )
    project(np.random.default_rng(0).normal(size=(40, 8)), seed=0)


if __name__ == "__main__":
    main()
