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
from lookalike_core.models.external_data import list_external_files, read_metadata
from lookalike_core.models.graph_cache import entry_path, weights_path
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
    """Returns the graphs in the cache folder; each has its values there, and nothing else is."""
    files = set(model.parent.glob("optimized/*"))
    graphs = {file for file in files if file.suffix != ".weights"}
    assert files - graphs == {weights_path(graph) for graph in graphs}
    return sorted(graphs)


def test_a_cached_graph_gives_the_same_vectors(model: Path) -> None:
    """They are equal to the last bit, for a new and for an existing entry."""
    plain = Embedder.load(model, provider="cpu").embed(PIXELS)
    first, second = load(model), load(model)
    assert np.array_equal(first.embed(PIXELS), plain)
    assert np.array_equal(second.embed(PIXELS), plain)
    assert second.manifest == first.manifest


def test_the_cached_graph_is_the_one_opened(model: Path) -> None:
    """It is not written again."""
    load(model)
    assert_is_opened(model)


def test_values_are_beside_the_graph(model: Path) -> None:
    """The runtime maps them from there; the graph itself is small."""
    load(model)
    [entry] = entries(model)
    assert list_external_files(entry) == {weights_path(entry).name}
    assert entry.stat().st_size < weights_path(entry).stat().st_size / 10
    assert weights_path(entry).stat().st_size > model.stat().st_size / 2


def truncate(entry: Path) -> None:
    """Halves a file."""
    os.truncate(entry, entry.stat().st_size // 2)


def flip_in_place(entry: Path) -> None:
    """Changes bytes of a file, whose size stays."""
    with entry.open("r+b") as file:
        file.write(bytes(byte ^ 255 for byte in file.read(1000)))
        file.seek(0)
        file.write(os.urandom(1000))


@pytest.mark.parametrize("of", ["graph", "values"])
@pytest.mark.parametrize(
    "harm",
    [
        truncate,
        flip_in_place,
        Path.unlink,
        lambda file: file.write_bytes(b""),
        lambda file: file.write_bytes(bytes(1000)),
        lambda file: file.write_bytes(os.urandom(1000)),
    ],
)
def test_a_broken_entry_is_replaced(model: Path, harm: Callable[[Path], object], of: str) -> None:
    """The model itself is loaded, without an error."""
    plain = load(model).embed(PIXELS)
    [entry] = entries(model)
    values = weights_path(entry)
    whole = values.read_bytes()
    harm(entry if of == "graph" else values)
    assert np.array_equal(load(model).embed(PIXELS), plain)
    assert entries(model) == [entry]
    assert values.read_bytes() == whole
    assert_is_opened(model)


def assert_is_opened(model: Path) -> None:
    """Asserts that the entry is opened and not written again."""
    [entry] = entries(model)
    written = entry.stat().st_mtime_ns
    load(model)
    assert entry.stat().st_mtime_ns == written


def test_a_damaged_graph_with_whole_metadata_is_replaced(model: Path) -> None:
    """Its key and the state of its values are right, and the runtime cannot open it."""
    plain = load(model).embed(PIXELS)
    [entry] = entries(model)
    content = entry.read_bytes()
    assert content.count(b"ReduceMean") > 0
    entry.write_bytes(content.replace(b"ReduceMean", b"ReduceNone"))
    optimized.require_own(entry, model)
    assert np.array_equal(load(model).embed(PIXELS), plain)
    assert b"ReduceNone" not in entry.read_bytes()
    assert_is_opened(model)


def test_of_two_processes_that_write_an_entry_the_first_one_counts(model: Path, tmp_path: Path) -> None:
    """Others may have mapped its values, which are the same; on a file system of a network they must stay."""
    load(model)
    [entry] = entries(model)
    again = copy_entry(entry, to=tmp_path / "copies")
    entry.unlink()
    with optimized.write_entry(entry, model) as late:
        load(model)
        before = [file.stat().st_ino for file in (entry, weights_path(entry))]
        shutil.copyfile(again, late)
        shutil.copyfile(weights_path(again), weights_path(late))
    assert [file.stat().st_ino for file in (entry, weights_path(entry))] == before
    assert_is_opened(model)


def test_an_open_session_keeps_its_values(model: Path) -> None:
    """They are mapped; another process that writes the entry again or removes it does not change them."""
    load(model)
    opened = load(model)
    expected = opened.embed(PIXELS)
    [entry] = entries(model)
    entry.write_bytes(b"")
    load(model)
    assert np.array_equal(opened.embed(PIXELS), expected)
    weights_path(entry).unlink()
    assert np.array_equal(opened.embed(PIXELS), expected)


def test_an_entry_of_another_model_is_replaced(model: Path, tiny_weights: Path, home: Settings) -> None:
    """Copied under this model's name, it is intact but has another key."""
    plain = load(model).embed(PIXELS)
    [entry] = entries(model)
    spec = ModelSpec.of("vgg", layer="block1_pool", pooling="max", weights=str(tiny_weights))
    other = ensure_exported(spec, settings=home).path
    load(other)
    [others] = entries(other)
    copy_entry(others, to=entry.parent, name=entry.name)
    assert np.array_equal(load(model).embed(PIXELS), plain)
    assert_is_opened(model)


def copy_entry(entry: Path, *, to: Path, name: str | None = None) -> Path:
    """Copies graph and values to a folder, with their times; returns the path of the copied graph."""
    to.mkdir(exist_ok=True)
    copied = to / (name or entry.name)
    shutil.copy2(entry, copied)
    shutil.copy2(weights_path(entry), weights_path(copied))
    return copied


def test_an_entry_of_another_runtime_is_replaced(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is stored under this processor's name, but its key is for another."""
    load(model)
    [here] = entries(model)
    monkeypatch.setattr(optimized, "_describe_processor", lambda: "x86_64 sse2")
    load(model)
    [there] = [entry for entry in entries(model) if entry != here]
    monkeypatch.undo()
    copy_entry(there, to=here.parent, name=here.name)
    before = here.stat().st_mtime_ns
    load(model)
    assert here.stat().st_mtime_ns != before
    assert_own(here)


def assert_own(entry: Path) -> None:
    """Asserts that an entry has the key of its name."""
    assert entry.name.rsplit(".", 2)[1] in read_metadata(entry).values()


def test_an_entry_that_names_other_files_is_not_opened(model: Path) -> None:
    """Values are taken from the entry's own file only; it is made again."""
    import onnx

    plain = load(model).embed(PIXELS)
    [entry] = entries(model)
    graph = onnx.load(entry, load_external_data=False)
    shutil.copy2(weights_path(entry), model.parent / "other.weights")
    for tensor in graph.graph.initializer:
        for each in tensor.external_data:
            each.value = "../other.weights" if each.key == "location" else each.value
    entry.write_bytes(graph.SerializeToString())
    assert list_external_files(entry) == {"../other.weights"}
    with pytest.raises(ModelError, match="from other files"):
        Embedder.load(entry, provider="cpu")
    with pytest.raises(ModelError, match="from other files than its own"):
        optimized.require_own(entry, model)
    assert np.array_equal(load(model).embed(PIXELS), plain)
    assert list_external_files(entry) == {weights_path(entry).name}


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
    for name in (
        "gone.0123.onnx",
        "gone.4567-0123.onnx",
        "gone.4567-0123.weights",
        f"{model.stem}.0123.onnx",
    ):
        (folder / name).touch()
    left, left_folder, being_written = (folder / f".{name}.1.partial" for name in "abc")
    left.touch()
    left_folder.mkdir()
    (left_folder / "gone.0123.weights").touch()
    for each in (left, left_folder):
        os.utime(each, (0, 0))
    being_written.mkdir()
    load(model)
    assert {each.name.partition(".")[0] for each in folder.iterdir()} == {"", model.stem}
    assert list(folder.glob(".*")) == [being_written]
    being_written.rmdir()
    assert len(entries(model)) == 1


def test_one_that_cannot_be_removed_does_not_keep_the_others(model: Path) -> None:
    """A folder has the name of an entry."""
    folder = model.parent / "optimized"
    (folder / "dir.onnx").mkdir(parents=True)
    left = folder / ".a.partial"
    left.mkdir()
    os.utime(left, (0, 0))
    for name in ("gone.0123.onnx", "zz.weights"):
        (folder / name).touch()
    load(model)
    (folder / "dir.onnx").rmdir()
    assert {each.name.partition(".")[0] for each in folder.iterdir()} == {model.stem}
    assert len(entries(model)) == 1


def test_another_processor_or_runtime_has_another_entry(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs are optimized for one processor's vector width and one version's kernels."""
    here = entry_path(model, model.parent, runtime="1.0")
    assert entry_path(model, model.parent, runtime="1.0") == here
    assert entry_path(model, model.parent, runtime="1.1") != here
    monkeypatch.setattr(optimized, "_describe_processor", lambda: "x86_64 sse2")
    assert entry_path(model, model.parent, runtime="1.0") != here


def test_entries_of_other_processors_are_kept(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines that share a folder do not remove what others have mapped; each removes its own old ones."""
    load(model)
    [here] = entries(model)
    monkeypatch.setattr(optimized, "_describe_processor", lambda: "x86_64 sse2")
    load(model)
    assert len(entries(model)) == 2
    os.utime(model, ns=(1, 1))
    load(model)
    assert here in entries(model)
    assert len(entries(model)) == 2


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
    assert list((model.parent / "optimized").iterdir()) == []


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
