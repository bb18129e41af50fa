"""Fixtures that tests of several packages share: a small real model, a home, drawn images, a shell."""

import gc
import json
import logging
import os
import shutil
import signal
import sys
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import h5py
import numpy as np
import pytest
from commands import can_run_here, run_as_process, run_here
from faulty_proxy import FaultyProxy, running_proxy
from hypothesis import HealthCheck, settings
from lookalike_core.hints import Notice
from lookalike_core.models import providers
from lookalike_core.models.calibration_curves import Calibration, Curve, Reliability, Threshold
from lookalike_core.models.conformal_scores import ConformalScores, Coverage
from lookalike_core.models.model_manifest import WeightsKind
from lookalike_core.settings import Settings
from lookalike_exporter.spec import ModelSpec
from lookalike_exporter.weights import fingerprint, read_arrays
from PIL import Image, ImageDraw

QDRANT_URL = os.environ.get("QDRANT_URL")

PROVIDER = "cpu"
"""The provider of every test that is not about providers."""

settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("random", derandomize=False, deadline=None, max_examples=1000, database=None)
settings.load_profile("repeatable")
"""Hypothesis' examples are the same in every run, but with `--hypothesis-profile=random`."""

os.environ.setdefault("OMP_WAIT_POLICY", "passive")
"""The value that commands set (`lookalike_core.own_process`)."""

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
"""Shells ignore SIGINT for background jobs, and tested commands would inherit that."""

MEMORY = Path("/dev/shm")  # noqa: S108 - where systems have it, a file system in memory
MEMORY_BYTES = 8 * 2**30
"""Twice the size of all tests' files at any time."""

SLOW = {
    "browser": "Chromium looks at pages",
    "contract": "both stores, call by call",
    "laws": "many examples of each",
    "parity": "Keras judges networks, with real weights where they are",
    "torture": "damaged files, kills, power cuts and races",
    "core/stores/test_faults.py": "a server's faults, and waits between tries",
    "core/stores/test_protocols.py": "the same fault over HTTP and gRPC, each with its tries",
    "core/stores/test_snapshots.py": "collections that are written to while snapshots are open",
    "core/stores/test_strict_mode.py": "each limit of a server's strict mode",
    "exporter/heads/test_fit.py": "last layers, fitted over and over",
    "exporter/heads/test_head_graph.py": "each graph of a head, in each precision",
    "ingest/test_backup.py": "backups of both stores, restored and compared",
    "ingest/test_copying.py": "copies between both stores, each compared in full",
    "ingest/engines/test_engine.py": "ingests by an engine, each compared with the ordinary one",
    "ingest/test_parts.py": "parts of a folder in turn, on both stores, each compared with one run",
    "ingest/test_rebuild.py": "collections that are made anew, interrupted and gone on with",
    "search/serving/test_jobs.py": "whole evaluations, as processes",
    "search/serving/test_servers.py": "several servers over a stand-in for Qdrant",
    "search/asking/test_pages_of_scenes.py": "pages of folded answers, on both stores",
    "search/evaluation/test_runs.py": "every setting, on both stores",
    "ingest/integrity/test_collection_check.py": "collections with a fault of each kind",
    "ingest/test_damage.py": "collections that were cut short or lost files",
    "core/models/test_graph_cache.py": "graphs that are optimized and loaded again",
    "exporter/test_graph.py": "first layers of both networks against NumPy",
    "exporter/test_verify.py": "every check of a model",
    "ingest/test_failures.py": "errors and interrupts in each stage of an ingest",
    "search/asking/test_pages.py": "pages of answers, on both stores",
    "search/evaluation/test_fused_ranking.py": "rankings of two networks over whole collections",
    "exporter/test_quantization.py": "models of fewer bits, made and compared",
    "lookalike/test_examples.py": "whole programs",
    "lookalike/test_notebook.py": "a notebook's kernel",
    "lookalike/test_records.py": "evaluations, audits, maps and pages of whole indexes",
    "lookalike/test_regions.py": "each form of an image, in each form of a region",
    "lookalike/test_removal.py": "an index of its own for each removal",
    "lookalike/test_verify.py": "indexes that are compared with their files",
    "lookalike/test_threads.py": "threads and processes that wait for each other",
    "search/analysis/test_verified_copies.py": "large images, compared in full",
    "search/reports/test_plots.py": "Matplotlib draws",
    "search/reports/test_vote_plots.py": "Matplotlib draws",
    "search/analysis/test_pixel_proof.py": "hundreds of pairs of images, compared on their pixels",
    "core/stores/test_private_view.py": "read-only stores, opened by copies of their own",
    "end_to_end/test_backup_command.py": "backups, restored to other homes",
    "end_to_end/test_calibrate_command.py": "collections that are large enough to be calibrated",
    "end_to_end/test_cold_commands.py": "every command as a process",
    "end_to_end/test_disks.py": "file systems that are full or read-only",
    "end_to_end/test_every_provider.py": "whole ingests on each provider, as processes",
    "end_to_end/test_exporter_command.py": "whole exports, and their verification",
    "end_to_end/test_former_names.py": "collections of older versions, on both stores",
    "end_to_end/test_heads.py": "a new last layer, fitted and ingested",
    "end_to_end/test_imagenet.py": "folders as ImageNet has them",
    "end_to_end/test_int8.py": "models of fewer bits, made and rebuilt",
    "end_to_end/test_interrupt.py": "processes that are interrupted at every moment",
    "end_to_end/test_json_reference.py": "every line of JSON that there is",
    "end_to_end/test_serve_command.py": "a server as a process, and an ingest beside it",
    "end_to_end/test_parts_command.py": "four processes at once on a server",
    "end_to_end/test_server_faults.py": "a server's faults, and waits between tries",
    "end_to_end/test_sources_command.py": "an S3 server, and whole ingests from it and from Parquet",
    "end_to_end/test_terminals.py": "every command as a process on a terminal",
    "end_to_end/test_watch_command.py": "watches as processes, which wait for quiet seconds",
    "test_clean_host.py": "whole processes, looked at before and after",
    "test_docs_site.py": "needs what the site is built with",
}
"""Folders and modules of `tests/` that only `make check` runs; other slow tests are marked one by one."""

SLOW_MARK = "mark.slow"
"""Where tests of other modules are slow, it is in the text of these, or of the fixtures of their folders."""

TESTS = Path(__file__).parent

TOGETHER = ("parity",)
"""Folders that one worker runs as a whole: their fixtures of the session take as long as their tests."""

LONGEST = (
    "parity",
    "end_to_end/test_ray_command.py",
    "lookalike/test_tutorial.py",
    "end_to_end/test_every_provider.py",
    "torture/test_damaged_images.py",
    "end_to_end/test_cold_commands.py",
    "lookalike/test_threads.py",
    "end_to_end/test_serve_command.py",
    "end_to_end/test_disks.py",
    "end_to_end/test_json_reference.py",
    "torture/test_kills.py",
    "end_to_end/test_backup_command.py",
    "lookalike/test_notebook.py",
    "torture/test_moves.py",
    "end_to_end/test_server_faults.py",
    "end_to_end/test_heads.py",
    "end_to_end/test_interrupt.py",
    "end_to_end/test_terminals.py",
    "end_to_end/test_audit_command.py",
    "lookalike/test_examples.py",
    "torture/test_power_cuts.py",
    "torture/test_fits.py",
    "search/serving/test_jobs.py",
)
"""What workers run first, so that none of it is left for one of them alone at the end."""

UNMEASURED = ("browser", "laws", "parity", "torture")
"""Folders whose tests run without a measurement of coverage: they look for rare faults in lines that tests of
their packages run, many times over, and take a third less time without it."""

WriteWeights = Callable[..., Path]
Draw = Callable[..., list[Path]]

TINY_LAYERS = {"block1_conv1": (3, 3, 3, 64), "block1_conv2": (3, 3, 64, 64)}
"""The kernels of VGG16's first two layers, `[height, width, in, out]`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A process that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> list[dict[str, Any]]:
        """Returns the lines of stdout, parsed as JSON."""
        return [json.loads(line) for line in self.out.splitlines()]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shell:
    """Runs the console commands in its own folder and environment."""

    folder: Path
    weights: Path
    environment: dict[str, str]

    def __call__(self, *words: str | Path, data: bytes | None = None, **variables: str) -> Done:
        """Runs one command to its end, in this process where that makes no difference."""
        return self._run(words, data=data, variables=variables, as_process=False)

    def process(self, *words: str | Path, data: bytes | None = None, **variables: str) -> Done:
        """Runs one command in a process of its own to its end, as a user's shell does."""
        return self._run(words, data=data, variables=variables, as_process=True)

    def _run(
        self,
        words: Sequence[str | Path],
        *,
        data: bytes | None,
        variables: Mapping[str, str],
        as_process: bool,
    ) -> Done:
        command, environment = [*map(str, words)], {**self.environment, **variables}
        is_here = not as_process and can_run_here(command, environment)
        run = run_here if is_here else run_as_process
        code, out, err = run(command, folder=self.folder, environment=environment, data=data)
        return Done(code=code, out=out.decode(), err=err.decode())

    @property
    def model(self) -> list[str]:
        """Returns the options that name the small model."""
        return ["--backbone", "vgg", "--layer", "block1_conv1", "--weights", str(self.weights)]

    def ingest(self, *words: str | Path) -> Done:
        """Runs `ingest run` with the small model."""
        return self("ingest", "run", *words, *self.model)


class Lines(logging.Handler):
    """Collects the logged messages with their hints."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Collects one message."""
        self.lines.append(Notice(record.getMessage(), hint=getattr(record, "hint", None)))


@pytest.fixture
def said() -> Iterator[list[str]]:
    """Returns the list of messages that the library logs from INFO on during the test: each a `Notice`."""
    logger, handler = logging.getLogger("lookalike"), Lines()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield handler.lines
    logger.removeHandler(handler)
    logger.setLevel(level)


def pytest_configure(config: pytest.Config) -> None:
    """Sets the provider of tests that name none, and puts their folders into memory where there is room.

    Vectors of another provider differ a little, and which one is there is no test's business but those of
    providers. Collections wait for a disk at each write.
    """
    if hasattr(config, "workerinput"):
        _measure_no_children()
    os.environ["LOOKALIKE_PROVIDER"] = PROVIDER
    _let_idle_threads_sleep()
    if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= MEMORY_BYTES:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def pytest_report_header() -> str:
    """Returns where tests' folders are: on a disk, tests that write collections wait for it."""
    if "PYTEST_DEBUG_TEMPROOT" in os.environ:
        return f"folders of tests: below {os.environ['PYTEST_DEBUG_TEMPROOT']}"
    return f"folders of tests: on a disk, for want of {MEMORY} with {MEMORY_BYTES // 2**30} GB free"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks the tests of `SLOW`; where several workers share the tests, orders them by `_turn`."""
    for item in items:
        if _is_slow(item.path):
            item.add_marker(pytest.mark.slow)
    if hasattr(config, "workerinput"):
        together = Counter(_run_together(item.nodeid) for item in items)
        items.sort(key=lambda item: _turn(_run_together(item.nodeid), together))


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves out what would be deselected as a whole, since its modules take long to import."""
    chosen = config.getoption("markexpr")
    is_left_out = (chosen == "not slow" and _is_slow(collection_path)) or (
        chosen == "slow" and collection_path.match("test_*.py") and not _may_be_slow(collection_path)
    )
    return True if is_left_out else None


def _is_slow(path: Path) -> bool:
    """Returns whether a folder, or a file itself or by its folder, is in `SLOW`."""
    below = path.relative_to(TESTS) if path.is_relative_to(TESTS) else path
    return below.as_posix() in SLOW or below.parts[:1] in {(each,) for each in SLOW}


def _may_be_slow(path: Path) -> bool:
    """Returns whether a module has slow tests: as a whole, or by marks of its own or of its fixtures."""
    folders = [folder for folder in path.parents if folder.is_relative_to(TESTS) and folder != TESTS]
    files = [path, *(folder / "conftest.py" for folder in folders)]
    marked = (SLOW_MARK in each.read_text(encoding="utf-8") for each in files if each.exists())
    return _is_slow(path) or any(marked)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Returns two workers more than cores: tests of processes, servers and clusters wait now and then."""
    return (os.cpu_count() or 1) + 2


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[object]:
    """Keeps the garbage collector from looking at what is collected, now and later.

    Thousands of tests and their modules stay to the end; one look at all of them takes most of a second.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def _measure_no_children() -> None:
    """Has a worker whose coverage is measured start commands as they are.

    To measure them as well takes them half as long again, for one line in a hundred that only they run.
    What is reported is the coverage by code that tests call themselves.
    """
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[object]:
    """Stops a measurement of coverage during the tests of `UNMEASURED`."""
    is_measured = _run_together(item.nodeid).partition("/")[0] not in UNMEASURED
    coverage = (
        None if is_measured or "coverage" not in sys.modules else sys.modules["coverage"].Coverage.current()
    )
    if coverage is None:
        return (yield)
    coverage.stop()
    try:
        return (yield)
    finally:
        coverage.start()


def _let_idle_threads_sleep() -> None:
    """Has threads of ONNX Runtime sleep while they wait.

    By default they spin for up to 50 ms after each run, which is more than the small networks of tests take,
    and keeps other workers from the processor.
    """
    make = providers._make_options  # noqa: SLF001 - vectors are the same, and no option of ours sets it

    def make_options(threads: int | None = None) -> Any:
        options = make(threads)
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return options

    providers._make_options = make_options  # noqa: SLF001


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Returns what gives tests to workers with `--dist loadfile`: see `TOGETHER` and `LONGEST`."""
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class LongestFirst(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _run_together(nodeid)

    config.option.loadscopereorder = False
    return LongestFirst(config, log)


def _run_together(nodeid: str) -> str:
    """Returns the file below `tests/`, or the folder of `TOGETHER`, whose tests one worker runs."""
    path = nodeid.partition("::")[0].removeprefix("tests/")
    folder = path.partition("/")[0]
    return folder if folder in TOGETHER else path


def _turn(place: str, tests: Mapping[str, int]) -> tuple[int, int, str]:
    """Returns a key that puts the `LONGEST` first, and after them files with many tests before others."""
    return LONGEST.index(place) if place in LONGEST else len(LONGEST), -tests[place], place


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds options here and not in the folders that read them, so that a plain `pytest` knows them too."""
    parser.addoption(
        "--all-photos", action="store_true", help="compare neighbours on every photo, not on three a class"
    )
    parser.addoption("--torture", action="store_true", help="do the damage of tests/torture at full length")


@pytest.fixture(scope="session")
def write_weights() -> WriteWeights:
    """Returns a function that writes VGG16's first two layers in the layout of Keras' `.h5` files."""

    def write(path: Path, *, seed: int = 0, kernel: float | None = None) -> Path:
        """Writes random values, or the same value in every kernel and no bias."""
        random = np.random.default_rng(seed)
        with h5py.File(path, "w") as file:
            file.attrs["layer_names"] = [name.encode() for name in TINY_LAYERS]
            for name, shape in TINY_LAYERS.items():
                values, bias = random.normal(0, 0.05, shape), random.normal(0, 0.05, shape[-1:])
                if kernel is not None:
                    values, bias = np.full(shape, kernel), np.zeros(shape[-1:])
                group = file.create_group(name)
                group.attrs["weight_names"] = [f"{name}_W_1:0".encode(), f"{name}_b_1:0".encode()]
                group[f"{name}_W_1:0"] = values.astype(np.float32)
                group[f"{name}_b_1:0"] = bias.astype(np.float32)
        return path

    return write


@pytest.fixture(scope="session")
def tiny_weights(write_weights: WriteWeights, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Writes weights of VGG16's layers `block1_conv1`, `block1_conv2` and `block1_pool`: 64 values each.

    Collections are called by them, so on a real server each process of the tests has its own.
    """
    seed = os.getpid() if QDRANT_URL or os.environ.get("QDRANT_CLUSTER_URLS") else 0
    return write_weights(tmp_path_factory.mktemp("weights") / "tiny.h5", seed=seed)


@pytest.fixture(scope="session")
def own_names(tiny_weights: Path) -> str:
    """Returns the prefix of `tiny_spec`'s collection names on a shared server, without the distance."""
    network = ModelSpec.of("vgg", layer="block1_conv1", weights=str(tiny_weights)).network
    arrays = read_arrays(tiny_weights, WeightsKind.FILE, network)
    return f"vgg16-block1_conv1-w{fingerprint(network, arrays)[:8]}-"


@pytest.fixture
def tiny_spec(tiny_weights: Path) -> ModelSpec:
    """Returns VGG16 up to its first layer: a real model that takes milliseconds."""
    return ModelSpec.of("vgg", layer="block1_conv1", weights=str(tiny_weights))


@pytest.fixture(scope="session")
def calibration() -> Calibration:
    """Returns a calibration of made-up figures, each different, so that a lost one is noticed."""
    curve = Curve(knots=(0.1 + 0.2, 0.5, 0.9), chances=(0.25, 0.25, 2 / 3))
    return Calibration(
        identity="0123456789abcdef",
        distance="cosine",
        created_at="2026-01-02T03:04:05+00:00",
        points=3,
        images=2,
        classes=2,
        k=10,
        pairs=20,
        depth=100,
        neighbours=curve,
        candidates=Curve(knots=(0.2,), chances=(0.5,)),
        verdicts={"majority": curve},
        threshold=Threshold(nearness=0.4, refused=0.01, caught=0.8),
        reliability=Reliability(
            bins=10, neighbours=0.01, neighbours_equal_mass=0.02, verdicts={"majority": 0.03}
        ),
        conformal=ConformalScores(
            images=40,
            ranks=(20, 30, 40),
            scores=(0.1 + 0.2, 0.5, 0.75),
            coverages=(Coverage(confidence=0.9, coverage=0.91, mean_classes=1.5, one_class=0.6),),
        ),
    )


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    """Returns settings with their own home, on the CPU."""
    return Settings(home=tmp_path / "home", provider="cpu")


@pytest.fixture(scope="session")
def draw() -> Draw:
    """Returns a function that draws images: shapes on one colour, different for each path and seed."""

    def draw_all(root: Path, *paths: str, seed: int = 0, size: tuple[int, int] = (64, 48)) -> list[Path]:
        files = [root / path for path in paths]
        for file, path in zip(files, paths, strict=True):
            file.parent.mkdir(parents=True, exist_ok=True)
            _drawing(zlib.crc32(f"{path} {seed}".encode()), size).save(file)
        return files

    return draw_all


@pytest.fixture(scope="session")
def make_shell(tiny_weights: Path) -> Callable[[Path], Shell]:
    """Returns a function that makes a shell in a folder, with its own home and default settings."""

    def make(folder: Path) -> Shell:
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("LOOKALIKE_", "QDRANT_"))
        }
        own = {
            "LOOKALIKE_HOME": str(folder / "home"),
            "LOOKALIKE_STORE": "embedded",
            "LOOKALIKE_PROVIDER": PROVIDER,
            "HOME": str(folder),
        }
        return Shell(folder=folder, weights=tiny_weights, environment=kept | own)

    return make


@pytest.fixture
def shell(make_shell: Callable[[Path], Shell], tmp_path: Path) -> Shell:
    """Returns a shell in an empty folder."""
    return make_shell(tmp_path)


def _drawing(seed: int, size: tuple[int, int]) -> Image.Image:
    random = np.random.default_rng(seed)
    colours = [tuple(map(int, random.integers(0, 256, 3))) for _ in range(3)]
    left, top, right, bottom = (int(random.integers(low, low + 20)) for low in (2, 2, 30, 24))
    image = Image.new("RGB", size, colours[0])
    pen = ImageDraw.Draw(image)
    pen.rectangle((left, top, right, bottom), fill=colours[1])
    pen.ellipse((left + 4, top + 4, right + 12, bottom), fill=colours[2])
    return image


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """A Qdrant server behind the faulty proxy; `client` reaches its data without the proxy."""

    host: str
    port: int
    client: Any
    is_real: bool


@pytest.fixture
def qdrant() -> Iterator[Backend]:
    """Returns the server that `QDRANT_URL` names, else a stand-in: see `support/qdrant_stand_in.py`."""
    from qdrant_client import QdrantClient
    from qdrant_stand_in import running_stand_in

    if QDRANT_URL is None:
        with running_stand_in() as one:
            yield Backend(host="127.0.0.1", port=one.port, client=one.client, is_real=False)
        return
    parts = urlsplit(QDRANT_URL)
    if parts.scheme != "http" or parts.hostname is None:
        pytest.skip("QDRANT_URL is not plain HTTP, which the proxy needs")
    client = QdrantClient(url=QDRANT_URL, api_key=os.environ.get("QDRANT_API_KEY"))
    yield Backend(host=parts.hostname, port=parts.port or 6333, client=client, is_real=True)
    client.close()


@pytest.fixture
def proxy(qdrant: Backend) -> Iterator[FaultyProxy]:
    """Starts a proxy before the server, which passes everything on until a test plans a fault."""
    with running_proxy((qdrant.host, qdrant.port)) as one:
        yield one
