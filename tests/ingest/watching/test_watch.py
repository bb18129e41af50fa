"""Watches of real folders by the system; a stand-in ingests them unless a test says otherwise."""

import errno
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from lookalike_core.errors import (
    LookalikeError,
    ModelError,
    StoreError,
    StoreLockedError,
    StoreRefusedError,
    UsageError,
)
from lookalike_core.images.folder_rules import DEFAULT_RULES, FolderRules
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_core.stores.points import PointFilter
from lookalike_exporter.spec import ModelSpec
from lookalike_ingest.embedders import Embedders
from lookalike_ingest.request import Dataset, IngestRequest, StopRequest
from lookalike_ingest.run import run_ingest
from lookalike_ingest.watching.schedule import Trigger, WatchTiming
from lookalike_ingest.watching.watch import WatchedFolders, WatchRun, watch_folders

QUICK = WatchTiming(quiet_s=0.2, first_retry_s=0.2, longest_retry_s=0.2)

DEADLINE_S = 120


@dataclass(kw_only=True)
class Bench:
    """A folder that is watched; `ingested` has the image names of each run, and `errors` are raised first."""

    root: Path
    errors: list[Exception] = field(default_factory=list)
    ingested: list[list[str]] = field(default_factory=list)
    rules: FolderRules = DEFAULT_RULES
    is_local: bool = True
    poll_s: float | None = None
    tables: list[Path] = field(default_factory=list)

    def watch(self, *more: Path) -> Iterator[WatchRun[list[str]]]:
        """Starts a watch that ends at the latest when a test has taken too long."""
        until = time.monotonic() + DEADLINE_S
        return watch_folders(
            WatchedFolders(
                roots=[self.root, *more],
                ingest=self._ingest,
                rules_of=lambda _: self.rules,
                is_stopped=lambda: time.monotonic() > until,
                is_local=self.is_local,
                tables=self.tables,
                poll_s=self.poll_s,
                timing=QUICK,
            )
        )

    def _ingest(self, root: Path) -> list[str]:
        if self.errors:
            raise self.errors.pop(0)
        found = sorted(str(path.relative_to(root)) for path in root.rglob("*.png"))
        self.ingested.append(found)
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Returns a folder with one image."""
    (tmp_path / "data/cat").mkdir(parents=True)
    (tmp_path / "data/cat/1.png").touch()
    return Bench(root=tmp_path / "data")


def wait_for(runs: Iterator[WatchRun[list[str]]], found: Callable[[WatchRun[list[str]]], bool]) -> Any:
    """Returns the first run that fits; further ones may come before, of events that were late."""
    return next(run for run in runs if found(run))


def has(name: str) -> Callable[[WatchRun[list[str]]], bool]:
    """Tells whether a run has ingested an image."""
    return lambda run: name in (run.folders[0].report or ())


def test_a_run_follows_each_change(bench: Bench, tmp_path: Path) -> None:
    """New files, folders that are created or moved in, files in them, renamed and deleted ones."""
    runs = bench.watch()
    assert next(runs).trigger is Trigger.START
    (bench.root / "2.png").touch()
    assert wait_for(runs, has("2.png")).trigger is Trigger.CHANGE
    (bench.root / "new/deep").mkdir(parents=True)
    (bench.root / "new/deep/3.png").touch()
    wait_for(runs, has("new/deep/3.png"))
    (bench.root / "new/deep/4.png").touch()
    wait_for(runs, has("new/deep/4.png"))
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/5.png").touch()
    (tmp_path / "outside").rename(bench.root / "inside")
    wait_for(runs, has("inside/5.png"))
    (bench.root / "inside/6.png").touch()
    wait_for(runs, has("inside/6.png"))
    (bench.root / "2.png").rename(bench.root / "7.png")
    wait_for(runs, lambda run: has("7.png")(run) and not has("2.png")(run))
    shutil.rmtree(bench.root / "new")
    wait_for(runs, lambda run: not has("new/deep/3.png")(run))


def test_changes_during_a_run_cause_another_one(bench: Bench) -> None:
    """Their events wait until it has ended."""
    runs = bench.watch()
    next(runs)
    bench.errors = [StoreLockedError("in use")]  # a run in which the image is not seen
    (bench.root / "2.png").touch()
    wait_for(runs, has("2.png"))


def test_what_is_behind_a_new_link_is_watched(bench: Bench, tmp_path: Path) -> None:
    """The link itself has an event; the files behind it only once they are watched."""
    (tmp_path / "linked").mkdir()
    runs = bench.watch()
    next(runs)
    (bench.root / "link").symlink_to(tmp_path / "linked", target_is_directory=True)
    next(runs)
    (tmp_path / "linked/1.png").touch()
    assert next(runs).trigger is Trigger.CHANGE


def test_a_root_that_goes_away_is_waited_for(bench: Bench, tmp_path: Path, said: list[str]) -> None:
    """Nothing is ingested meanwhile, which is said once; the other folders go on."""
    (tmp_path / "other").mkdir()
    runs = bench.watch(tmp_path / "other")
    next(runs)
    bench.root.rename(tmp_path / "away")
    run = wait_for(runs, lambda run: run.folders[0].is_waiting)
    assert run.folders[1].report == []
    (tmp_path / "other/2.png").touch()
    run = wait_for(runs, lambda run: run.folders[1].report == ["2.png"])
    assert (run.folders[0].is_waiting, run.folders[0].report) == (True, None)
    (tmp_path / "away").rename(bench.root)
    wait_for(runs, has("cat/1.png"))
    (bench.root / "3.png").touch()
    wait_for(runs, has("3.png"))
    assert said == [
        f"{bench.root} is not there; it is waited for, and nothing is removed",
        f"{bench.root}: ingested again",
    ]


def test_a_change_of_a_table_of_classes_is_a_change(bench: Bench, tmp_path: Path) -> None:
    """Written in place, or replaced as editors do."""
    bench.tables = [tmp_path / "labels.csv"]
    bench.tables[0].write_text("path,class\n")
    runs = bench.watch()
    next(runs)
    bench.tables[0].write_text("path,class\n1.png,cat\n")
    assert next(runs).trigger is Trigger.CHANGE
    (tmp_path / "new.csv").write_text("path,class\n1.png,dog\n")
    (tmp_path / "new.csv").replace(bench.tables[0])
    assert next(runs).trigger is Trigger.CHANGE


@pytest.mark.parametrize(
    ("error", "is_local"),
    [(StoreLockedError("in use by process 7"), True), (StoreError("no answer"), False)],
)
def test_a_store_that_is_in_use_or_away_is_tried_again(
    bench: Bench, said: list[str], error: Exception, is_local: bool
) -> None:
    """From the first run on, and said once."""
    bench.is_local, bench.errors = is_local, [error] * 3
    runs = bench.watch()
    assert [run.folders[0].problem for run in (next(runs), next(runs), next(runs))] == [str(error)] * 3
    assert next(runs).trigger is Trigger.RETRY
    assert said == [
        f"warning: {bench.root} was not ingested, tried again in 0.2 s: {error}",
        f"{bench.root}: ingested again",
    ]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "/store"),
        MemoryError(),
        LookalikeError("anything else"),
    ],
)
def test_an_error_of_one_run_is_said_and_the_next_change_tries_again(
    bench: Bench, said: list[str], error: Exception
) -> None:
    """A disk may be full, and memory short, for a time."""
    bench.errors = [error]
    runs = bench.watch()
    problem = next(runs).folders[0].problem
    assert said == [f"warning: {bench.root} was not ingested, tried again when something changes: {problem}"]
    (bench.root / "2.png").touch()
    assert wait_for(runs, has("2.png")).trigger is Trigger.CHANGE


@pytest.mark.parametrize(
    ("error", "is_local"),
    [
        (UsageError("another root"), True),
        (ModelError("no model"), True),
        (StoreError("read-only"), True),
        (StoreRefusedError("no permission"), False),
    ],
)
def test_what_cannot_work_ends_a_watch_at_once(bench: Bench, error: Exception, is_local: bool) -> None:
    """Only if it never has: later the same error may be that of a table that is being written."""
    bench.is_local, bench.errors = is_local, [error]
    with pytest.raises(type(error)):
        next(bench.watch())
    runs = bench.watch()
    next(runs)
    bench.errors = [error]
    (bench.root / "2.png").touch()
    assert wait_for(runs, lambda run: run.folders[0].problem is not None).folders[0].problem == str(error)
    (bench.root / "3.png").touch()
    wait_for(runs, has("3.png"))


def test_a_folder_can_be_looked_through_at_intervals(bench: Bench) -> None:
    """Where changes have no events, as on network file systems."""
    bench.poll_s = 0.2
    runs = bench.watch()
    next(runs)
    (bench.root / "new").mkdir()
    (bench.root / "new/2.png").touch()
    wait_for(runs, has("new/2.png"))


def test_names_that_are_no_unicode_do_not_end_a_watch(bench: Bench) -> None:
    """The library for events cannot pass them on, and the run after them finds what there is."""
    runs = bench.watch()
    next(runs)
    try:
        Path(os.fsdecode(os.fsencode(bench.root) + b"/\xff.png")).touch()
    except OSError:
        pytest.skip("the file system refuses such names")
    assert next(runs).trigger is Trigger.CHANGE
    (bench.root / "2.png").touch()
    wait_for(runs, has("2.png"))


LIMITED = """
import sys, logging
from pathlib import Path
from lookalike_ingest.watching.folder_events import FolderEvents
logging.basicConfig(stream=sys.stdout, format="%(message)s")
root = Path(sys.argv[1])
events = FolderEvents([root], [], poll_s=None, is_stopped=lambda: False)
events.start()
events._poll_s = 0.2
events._watch_again()
(root / "new.png").touch()
print(events.wait(60))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limits are Linux' own")
@pytest.mark.parametrize(
    ("limit", "remedy"),
    [("max_inotify_watches", "max_user_watches"), ("max_inotify_instances", "max_user_instances")],
)
def test_reached_limits_of_the_system_are_said_and_folders_looked_through(
    bench: Bench, limit: str, remedy: str
) -> None:
    """With a limit of none, in a namespace of its own."""
    inside = f'echo 0 > /proc/sys/user/{limit} && exec "$@"'
    words = ["unshare", "--user", "--map-root-user", "sh", "-c", inside, "sh"]
    try:
        if subprocess.run([*words, "true"], capture_output=True, check=False).returncode:
            pytest.skip("this system allows no namespaces")
    except FileNotFoundError:
        pytest.skip("there is no unshare")
    done = subprocess.run(
        [*words, sys.executable, "-c", LIMITED, bench.root], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert f"sysctl fs.inotify.{remedy}=" in done.stdout
    assert "every 60 s instead" in done.stdout
    assert done.stdout.splitlines()[-1] == "True"


def test_a_collection_in_use_is_waited_for_and_the_model_stays_loaded(
    home: Settings, tmp_path: Path, tiny_spec: ModelSpec, draw: Callable[..., list[Path]], said: list[str]
) -> None:
    """With real ingests: the lock is released between runs, and the session opened once."""
    root = tmp_path / "data"
    draw(root, "cat/1.png")
    request = IngestRequest(
        dataset=Dataset(name="data", root=root), specs=[tiny_spec], distances=[Distance.COSINE]
    )
    store, embedders = EmbeddedStore(home.qdrant_dir, lock_timeout_s=0.05), Embedders(home)
    bench = Bench(root=root)

    def ingest(_: Path) -> Any:
        return run_ingest(request, store=store, settings=home, stop=StopRequest(), embedders=embedders)

    watched = WatchedFolders(
        roots=[root],
        ingest=ingest,
        rules_of=lambda report: report.dataset.rules,
        is_stopped=lambda: False,
        is_local=True,
        timing=replace(QUICK, at_least_every_s=DEADLINE_S),
    )
    runs = watch_folders(watched)
    next(runs)
    [name] = store.names()
    with EmbeddedStore(home.qdrant_dir).open(name) as opened:
        draw(root, "cat/2.png")
        assert "in use by" in str(next(runs).folders[0].problem)
        assert opened.count(PointFilter(classes=frozenset({"cat"}))) == 1
    run = next(run for run in runs if run.folders[0].report is not None)
    assert run.folders[0].report.collections[0].counts["added"] == 1
    assert bench.errors == []
    assert sum("runs on" in line for line in said) == 1
