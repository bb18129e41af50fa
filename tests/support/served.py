"""Runs a server over a small real collection, in a thread of the tests' process; requests are real, too."""

import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from lookalike_core.settings import Settings
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.protocol import Store
from lookalike_search.commands.job_commands import job_command, job_words
from lookalike_search.serving.access import Access
from lookalike_search.serving.jobs import JobKind
from lookalike_search.serving.limits import ServingLimits
from lookalike_search.serving.query_fields import Fields
from lookalike_search.serving.run import Serving, open_serving
from lookalike_search.serving.server import listen, url_of
from PIL import Image
from waiting import wait_until

LOCAL = Access(host="127.0.0.1")

PATIENT = ServingLimits(refresh_s=0.1, head_s=120, body_s=120, queue_s=120)
"""Looks for changes often, and gives up nobody because a machine is busy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A running server: its URL, the folder of its images, and the store and home behind it."""

    url: str
    images: Path
    home: Path
    store: Store

    def client(self, **options: Any) -> httpx.Client:
        """Returns a client of the server."""
        # a connection that waits for longer might be closed by the server just when it is used again
        limits = httpx.Limits(keepalive_expiry=1.0)
        return httpx.Client(base_url=self.url, timeout=120, limits=limits, **options)


@contextmanager
def serving(
    home: Path,
    *,
    store: Store | None = None,
    access: Access = LOCAL,
    limits: ServingLimits | None = None,
    **options: Any,
) -> Iterator[Served]:
    """Serves a store, by default that of the home, until the block ends; waits for the server to end."""
    settings = Settings(home=home, provider="cpu", threads=2)
    store = store or EmbeddedStore(settings.qdrant_dir)
    options.setdefault("job_command", job_command(f"embedded:{settings.qdrant_dir}"))
    how = Serving(access=access, settings=settings, limits=limits or PATIENT, **options)
    with ExitStack() as stack:
        socket = stack.enter_context(listen(access.host, 0, limits=how.limits))
        server, _ = stack.enter_context(open_serving(how, store, ()))
        ready = threading.Event()
        thread = threading.Thread(target=server.run, args=(socket,), kwargs={"on_ready": ready.set})
        thread.start()
        assert ready.wait(60)
        try:
            yield Served(url=url_of(socket), images=home.parent / "album", home=home, store=store)
        finally:
            server.stop()
            thread.join(60)
            assert not thread.is_alive()


@pytest.fixture(scope="session")
def album(
    make_shell: Callable[[Path], Any], draw: Callable[..., object], tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """Returns a shell beside `album/`, whose images of two classes two collections hold."""
    shell = make_shell(tmp_path_factory.mktemp("served"))
    draw(shell.folder / "album", *(f"{name}/{number}.png" for name in ("cat", "dog") for number in range(8)))
    done = shell.ingest("album", "--distance", "cosine", "--distance", "euclid")
    assert done.code == 0, done.err
    return shell


@pytest.fixture(scope="session")
def doubled_album(
    make_shell: Callable[[Path], Any], draw: Callable[..., object], tmp_path_factory: pytest.TempPathFactory
) -> Any:
    """Returns a shell beside `album/`, where two images have exact duplicates in `copies/`."""
    shell = make_shell(tmp_path_factory.mktemp("doubled"))
    folder = shell.folder / "album"
    draw(folder, *(f"{name}/{number}.png" for name in ("cat", "dog") for number in range(5)))
    (folder / "copies").mkdir()
    for source, copies in {"cat": 2, "dog": 1}.items():
        for number in range(copies):
            shutil.copy(folder / source / "0.png", folder / "copies" / f"{source} {number}.png")
    done = shell.ingest("album", "--distance", "cosine")
    assert done.code == 0, done.err
    return shell


@pytest.fixture(scope="module")
def mislabelled_album(make_shell: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Returns a shell beside `album/`, noise of two colours; two images are in the wrong folder, too."""
    shell = make_shell(tmp_path_factory.mktemp("mislabelled"))
    folder = shell.folder / "album"
    for number, name in enumerate(("ant", "bee")):
        (folder / name).mkdir(parents=True)
        for image in range(12):
            random = np.random.default_rng(100 * number + image)
            pixels = random.integers(0, 60, (32, 32, 3))
            pixels[..., number] += random.integers(120, 190)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{image:02}.png")
    Image.new("RGB", (32, 32), (90, 90, 90)).save(folder / "ant/grey.png")
    shutil.copy(folder / "ant/00.png", folder / "bee/&ant.png")
    shutil.copy(folder / "bee/00.png", folder / "ant/bee.png")
    done = shell.ingest("album")
    assert done.code == 0, done.err
    return shell


def run_job(client: httpx.Client, address: str) -> None:
    """Starts the job of a view by its form, and waits until it is done."""
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert client.post(address, content="do=start", headers=form).status_code == 303
    (*_, started) = client.get("/api/v1/jobs").json()["jobs"]
    job = wait_for_job(client, f"/api/v1/jobs/{started['id']}")
    assert job["state"] == "done", job


def wait_for_job(client: httpx.Client, address: str) -> Any:
    """Returns a job once it has ended: it is a process, which starts slowly on a busy machine."""
    job: Any = {}

    def has_ended() -> bool:
        job.update(client.get(address).json())
        return job["state"] not in ("waiting", "running")

    wait_until(has_ended, timeout_s=300, every_s=0.1)
    return job


def hanging_command(_default: str) -> Callable[[JobKind, Fields], Sequence[str]]:
    """Returns commands of jobs that run until they are cancelled."""

    def command(kind: JobKind, fields: Fields) -> Sequence[str]:
        return [sys.executable, "-c", "import time; time.sleep(3600)", *job_words(kind, fields, default="")]

    return command
