"""Cached graphs: they give the same vectors, and a bad entry never does harm."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from lookalike_core.errors import ModelError
from lookalike_core.models import graph_cache as optimized
from lookalike_core.models.embedder import Embedder
from lookalike_core.models.graph_cache import entry_path
from lookalike_core.models.providers import load_runtime
from lookalike_core.settings import Settings
from lookalike_exporter.export import ensure_exported
from lookalike_exporter.spec import ModelSpec

PIXELS = np.random.default_rng(5).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def exported(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Yields VGG16's first block, exported from random weights."""
    settings = Settings(home=tmp_path_factory.mktemp("home"), provider="cpu")
    spec = ModelSpec.of("vgg", layer="block1_pool", weights=str(tiny_weights))
    return ensure_exported(spec, settings=settings).path


@pytest.fixture
def model(exported: Path, tmp_path: Path) -> Path:
    """Yields a copy of the model for each test."""
    return Path(shutil.copy2(exported, tmp_path))


def load(model: Path) -> Embedder:
    """Loads a model as the commands do, with the cache beside it."""
    return Embedder.load(model, provider="cpu", cache_dir=model.parent / "optimized")


def entries(model: Path) -> list[Path]:
    """Returns the files in the cache folder."""
    return sorted(model.parent.glob("optimized/*"))


def test_a_cached_graph_gives_the_same_vectors(model: Path) -> None:
    """They are equal to the last bit, for a new and for an existing entry."""
    plain = Embedder.load(model, provider="cpu").embed(PIXELS)
    first, second = load(model), load(model)
    assert np.array_equal(first.embed(PIXELS), plain)
    assert np.array_equal(second.embed(PIXELS), plain)
    assert second.manifest == first.manifest


def test_the_cached_graph_is_the_one_opened(model: Path) -> None:
    """Replacing the entry by another model's graph changes the vectors."""
    load(model)
    [entry] = entries(model)
    written = entry.stat().st_mtime_ns
    load(model)
    assert entries(model) == [entry]
    assert entry.stat().st_mtime_ns == written


def truncate(entry: Path) -> None:
    """Halves a file."""
    os.truncate(entry, entry.stat().st_size // 2)


@pytest.mark.parametrize(
    "harm",
    [
        truncate,
        Path.unlink,
        lambda entry: entry.write_bytes(b""),
        lambda entry: entry.write_bytes(bytes(1000)),
        lambda entry: entry.write_bytes(os.urandom(1000)),
    ],
)
def test_a_broken_entry_is_replaced(model: Path, harm: Callable[[Path], object]) -> None:
    """The model itself is loaded, without an error."""
    plain = load(model).embed(PIXELS)
    [entry] = entries(model)
    whole = entry.read_bytes()
    harm(entry)
    assert np.array_equal(load(model).embed(PIXELS), plain)
    assert entry.read_bytes() == whole


def test_an_entry_of_another_model_is_replaced(model: Path, tiny_weights: Path, home: Settings) -> None:
    """Copied under this model's name, it is intact but has another key."""
    plain = load(model).embed(PIXELS)
    [entry] = entries(model)
    own = entry.read_bytes()
    spec = ModelSpec.of("vgg", layer="block1_pool", pooling="max", weights=str(tiny_weights))
    other = ensure_exported(spec, settings=home).path
    load(other)
    shutil.copyfile(entries(other)[0], entry)
    assert np.array_equal(load(model).embed(PIXELS), plain)
    assert entry.read_bytes() == own


def test_an_entry_of_another_runtime_is_replaced(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is stored under this runtime's name, but its key is for another."""
    load(model)
    [here] = entries(model)
    own = here.read_bytes()
    monkeypatch.setattr(optimized, "_describe_processor", lambda: "x86_64 sse2")
    load(model)
    [there] = entries(model)
    monkeypatch.undo()
    there.rename(here)
    load(model)
    assert here.read_bytes() == own


def test_an_entry_that_names_other_files_is_not_opened(model: Path) -> None:
    """The rule for models applies to cached graphs too."""
    import onnx

    load(model)
    [entry] = entries(model)
    whole = entry.read_bytes()
    graph = onnx.load(entry)
    onnx.save(graph, entry, save_as_external_data=True, location="weights.bin", size_threshold=0)
    with pytest.raises(ModelError, match="from other files"):
        Embedder.load(entry, provider="cpu")
    load(model)
    assert entry.read_bytes() == whole


def test_the_entry_of_a_replaced_model_is_removed(model: Path) -> None:
    """Size and time identify the model; one entry per model is kept."""
    load(model)
    [old] = entries(model)
    os.utime(model, ns=(1, 1))
    load(model)
    [new] = entries(model)
    assert new != old


def test_entries_of_deleted_models_are_removed(model: Path) -> None:
    """So are old temporary files of killed processes, but not a new one of another process."""
    folder = model.parent / "optimized"
    folder.mkdir()
    (folder / "gone.0123.onnx").touch()
    left, being_written = folder / ".a.1.partial", folder / ".b.2.partial"
    left.touch()
    os.utime(left, (0, 0))
    being_written.touch()
    load(model)
    assert {entry.name.partition(".")[0] for entry in entries(model)} == {"", model.stem}
    assert not left.exists()
    assert being_written.exists()


def test_another_processor_or_runtime_has_another_entry(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs are optimized for one processor's vector width and one version's kernels."""
    here = entry_path(model, model.parent, runtime="1.0")
    assert entry_path(model, model.parent, runtime="1.0") == here
    assert entry_path(model, model.parent, runtime="1.1") != here
    monkeypatch.setattr(optimized, "_describe_processor", lambda: "x86_64 sse2")
    assert entry_path(model, model.parent, runtime="1.0") != here


def test_an_unwritable_graph_cache_is_ignored(model: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A file is in the place of the folder."""
    (model.parent / "optimized").write_text("in the way")
    plain = Embedder.load(model, provider="cpu").embed(PIXELS)
    assert np.array_equal(load(model).embed(PIXELS), plain)
    assert capfd.readouterr() == ("", "")


def test_no_graph_is_cached_on_a_nearly_full_disk(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in reports the free space."""
    usage = shutil.disk_usage(model.parent)._replace(free=2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage)
    load(model)
    assert entries(model) == []


def test_an_invalid_model_is_refused_and_not_cached(tmp_path: Path) -> None:
    """No entry is written."""
    model = tmp_path / "model.onnx"
    model.write_bytes(b"\x0a\x02hi")
    with pytest.raises(ModelError, match="cannot be loaded"):
        load(model)
    assert entries(model) == []


@pytest.mark.parametrize("threads", [1, 2])
def test_the_session_uses_the_requested_threads(model: Path, threads: int) -> None:
    """The session reports the number."""
    session = Embedder.load(model, provider="cpu", threads=threads)._session  # noqa: SLF001 - read back
    assert session.get_session_options().intra_op_num_threads == threads


def test_a_process_with_fewer_cores_starts_fewer_threads(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runtime's default counts all cores of the machine."""
    monkeypatch.setattr(os, "cpu_count", lambda: 1000)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: {0}, raising=False)
    session = Embedder.load(model, provider="cpu")._session  # noqa: SLF001
    assert session.get_session_options().intra_op_num_threads == 1
    assert load_runtime().SessionOptions().intra_op_num_threads == 0
