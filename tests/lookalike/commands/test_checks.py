"""The checks of the doctor, each in good and in bad circumstances."""

import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from lookalike_core.errors import StoreError, WeightsError
from lookalike_core.models import providers
from lookalike_core.models.backbones import VGG16
from lookalike_core.settings import VARIABLES, Settings
from lookalike_core.stores.embedded import EmbeddedStore
from lookalike_exporter.export import ensure_exported
from lookalike_exporter.spec import ModelSpec
from made_collections import collection_of, manifest_of, point_of
from qdrant_stand_in import running_stand_in

from lookalike.commands.checks import (
    home_check,
    package_checks,
    provider_checks,
    self_tests,
    store_check,
    weights_check,
)
from lookalike.commands.checks.environment_check import check_environment
from lookalike.commands.checks.findings import Finding, Status, pip

OK, WARNING, PROBLEM = Status.OK, Status.WARNING, Status.PROBLEM


def statuses(findings: Any) -> list[Status]:
    """Returns the status of each finding."""
    return [finding.status for finding in findings]


# Environment


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("LOOKALIKE_HOME", __file__, "is not a folder"),
        ("LOOKALIKE_STORE", "embedded:", "names no folder"),
        ("LOOKALIKE_STORE", "qdrant", "not the URL of a server"),
        ("QDRANT_URL", "localhost:6333", "not the URL of a server"),
        ("QDRANT_API_KEY", "secret\n", "cannot be sent"),
        ("LOOKALIKE_PROVIDER", "gpu", "use one of auto, cuda, openvino, cpu"),
        ("LOOKALIKE_TOKEN", "two words", "use letters and digits"),
    ],
)
def test_a_malformed_variable_is_a_problem(name: str, value: str, said: str) -> None:
    """The message names it, and not what is secret in it."""
    (found,) = check_environment({name: value})
    assert (found.status, found.variable, found.remedy) == (PROBLEM, name, f"unset {name}")
    assert name in found.message
    assert said in found.message
    assert "secret" not in found.message


def test_well_formed_variables_are_listed(tmp_path: Path) -> None:
    """Empty ones count as unset."""
    environment = {
        "LOOKALIKE_HOME": str(tmp_path),
        "LOOKALIKE_STORE": f"embedded:{tmp_path}",
        "QDRANT_API_KEY": "secret",
        "LOOKALIKE_PROVIDER": "CPU",
        "LOOKALIKE_TOKEN": "",
    }
    (found,) = check_environment(environment)
    assert (found.status, found.message) == (
        OK,
        "LOOKALIKE_HOME, LOOKALIKE_STORE, QDRANT_API_KEY, LOOKALIKE_PROVIDER can be used",
    )
    assert statuses(check_environment({})) == [OK]
    assert statuses(check_environment(dict.fromkeys(("LOOKALIKE_STORE",), "auto"))) == [OK]


def test_variables_without_effect_are_named() -> None:
    """A misspelt one, and one that another overrides."""
    found = list(check_environment({"LOOKALIKE_STOER": "x"}))
    assert (found[0].status, found[0].remedy) == (WARNING, "unset LOOKALIKE_STOER")
    assert all(name in found[0].message for name in VARIABLES)
    both = {"LOOKALIKE_STORE": "embedded", "QDRANT_URL": "http://127.0.0.1:1"}
    assert statuses(check_environment(both)) == [WARNING, OK]


# Packages


@pytest.mark.parametrize(
    ("version", "largest", "status"),
    [((3, 11, 0), 2**63 - 1, OK), ((3, 10, 9), 2**63 - 1, PROBLEM), ((3, 12, 1), 2**31 - 1, PROBLEM)],
)
def test_python_is_checked(version: tuple[int, ...], largest: int, status: Status) -> None:
    """It must be 3.11 or newer, and of 64 bits."""
    assert statuses(package_checks.check_python(version, largest=largest)) == [status]


def test_python_s_bound_is_that_of_the_package() -> None:
    """The doctor says what pip says."""
    text = (Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8")
    assert f'requires-python = ">={".".join(map(str, package_checks.OLDEST_PYTHON))}"' in text


@pytest.mark.parametrize(
    ("installed", "status"),
    [
        (["onnxruntime-gpu"], OK),
        (["onnxruntime"], WARNING),
        (["onnxruntime-openvino"], WARNING),
        (["onnxruntime-gpu", "onnxruntime"], PROBLEM),
        ([], PROBLEM),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else value,
)
def test_exactly_one_runtime_must_be_installed(
    installed: list[str], status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two builds overwrite each other's files; the remedy removes both, and installs the right one."""
    monkeypatch.setattr(package_checks, "wanted_runtime", lambda: "onnxruntime-gpu")
    (found,) = package_checks.check_runtimes(dict.fromkeys(installed, "1.31").get)
    assert found.status is status
    if status is not OK:
        assert found.remedy is not None
        assert found.remedy.endswith(pip("install", "onnxruntime-gpu"))
        assert all(name in found.remedy for name in installed)


def test_extras_that_are_missing_or_broken_are_told_apart() -> None:
    """A missing one is no fault: it is optional."""

    def load(name: str) -> object:
        raise ModuleNotFoundError(name) if name == "pyarrow" else OSError("libheif.so.1: undefined symbol")

    heif, parquet, ray = package_checks.check_extras(load)
    assert (heif.status, parquet.status, ray.status) == (WARNING, OK, WARNING)
    assert "undefined symbol" in heif.message
    assert parquet.remedy == pip("install", "lookalike[parquet]")
    assert statuses(package_checks.check_extras(lambda _: None)) == [OK, OK, OK]


# Providers


def cuda(
    monkeypatch: pytest.MonkeyPatch,
    *,
    driver: provider_checks.Driver | None = None,
    built: bool = True,
    fault: str | None = None,
) -> Finding:
    """Returns what is found on a machine with this driver, runtime and libraries."""
    available = ["CUDAExecutionProvider"] if built else []
    runtime = SimpleNamespace(get_available_providers=lambda: available, cuda_version="13.0")
    monkeypatch.setattr(providers, "load_runtime", lambda: runtime)
    monkeypatch.setattr(providers, "has_cuda_driver", lambda: driver is not None)
    monkeypatch.setattr(providers, "find_cuda_fault", lambda: fault)
    monkeypatch.setattr(provider_checks, "read_driver", lambda: driver)
    (found,) = provider_checks.check_cuda()
    return found


DRIVER = provider_checks.Driver(result=0, version=13010, gpus=1)
MISSING = "libcublasLt.so.13: cannot open shared object file: No such file or directory"


@pytest.mark.parametrize(
    ("circumstances", "status", "said"),
    [
        ({"driver": None}, OK, "no NVIDIA driver"),
        ({"driver": DRIVER}, OK, "driver for CUDA 13.1, 1 GPU"),
        ({"driver": DRIVER, "built": False}, WARNING, "built for the CPU only"),
        ({"driver": DRIVER, "fault": MISSING}, WARNING, "libcublasLt.so.13 is missing"),
        ({"driver": DRIVER, "fault": "undefined symbol: x"}, WARNING, "do not load: undefined symbol: x"),
        ({"driver": replace(DRIVER, result=100)}, WARNING, "finds no GPU"),
        ({"driver": replace(DRIVER, result=7)}, WARNING, "error 7 of cuInit"),
        ({"driver": replace(DRIVER, gpus=0)}, WARNING, "finds no GPU"),
        (
            {"driver": replace(DRIVER, version=12040)},
            WARNING,
            "CUDA 12.4, and this ONNX Runtime needs 13.0",
        ),
    ],
)
def test_the_reason_why_cuda_cannot_be_used_is_named(
    circumstances: Mapping[str, Any], status: Status, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stand-ins for a driver, a runtime and CUDA's libraries; each fault has a remedy."""
    found = cuda(monkeypatch, **circumstances)
    assert (found.status, found.remedy is not None) == (status, status is not OK)
    assert said in found.message


def test_the_driver_is_asked_for_its_version_and_gpus() -> None:
    """A stand-in for the library writes through the pointers that it is given."""

    def write(value: int) -> Callable[[Any], int]:
        def call(pointer: Any) -> int:
            pointer._obj.value = value  # noqa: SLF001 - what ctypes.byref points to
            return 0

        return call

    library = SimpleNamespace(cuInit=lambda _: 0, cuDriverGetVersion=write(12040), cuDeviceGetCount=write(2))
    driver = provider_checks.read_driver(lambda _: library)
    assert (driver.result, driver.supports, driver.gpus) == (0, "12.4", 2)


def test_the_libraries_of_cuda_are_loaded_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first that does not load is named."""
    if providers.has_cuda_driver():
        pytest.skip("a driver is here, and perhaps CUDA")
    if providers.CUDA not in providers.load_runtime().get_available_providers() or sys.platform == "win32":
        pytest.skip("this runtime is built for the CPU only, or its libraries have other names")
    assert ".so" in (providers.find_cuda_fault() or "")
    loaded: list[str] = []
    monkeypatch.setattr("ctypes.CDLL", lambda name, **_: loaded.append(name))
    assert providers.find_cuda_fault() is None
    assert [Path(name).name.partition(".")[0] for name in loaded[-3:]] == [
        "libonnxruntime_providers_shared",
        "libonnxruntime_providers_cuda",
        "libcudnn",
    ]


@pytest.mark.parametrize(
    ("gains", "status", "has_remedy"), [(True, WARNING, True), (None, OK, True), (False, OK, False)]
)
def test_a_missing_plugin_is_named_where_it_would_gain(
    gains: bool | None, status: Status, has_remedy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where that is not known, the remedy is shown too."""
    monkeypatch.setattr(provider_checks, "gains_by_openvino", lambda: gains)
    (found,) = provider_checks.check_openvino(lambda _: None)
    assert (found.status, found.remedy is not None) == (status, has_remedy)


@pytest.mark.parametrize(
    ("gains", "offered", "pays", "status", "said"),
    [
        (True, True, True, OK, "is used"),
        (False, True, False, OK, "the CPU is as fast"),
        (False, False, False, OK, "not used"),
        (True, False, False, WARNING, "offers nothing for this processor"),
    ],
)
def test_an_installed_plugin_is_described(
    gains: bool, offered: bool, pays: bool, status: Status, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is used where it is offered and the processor computes in bfloat16."""
    monkeypatch.setattr(provider_checks, "gains_by_openvino", lambda: gains)
    monkeypatch.setattr(providers, "has_openvino", lambda: offered)
    monkeypatch.setattr(providers, "openvino_pays", lambda: pays)
    (found,) = provider_checks.check_openvino(lambda _: "1.8")
    assert found.status is status
    assert said in found.message


def test_a_broken_plugin_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Images are embedded on the CPU then."""

    def fail() -> bool:
        raise RuntimeError("no such library\nand more")

    monkeypatch.setattr(providers, "has_openvino", fail)
    (found,) = provider_checks.check_openvino(lambda _: "1.8")
    assert found.status is WARNING
    assert found.message.endswith("does not load: no such library")


# Home and weights


@pytest.mark.parametrize(("free_bytes", "status"), [(10**11, OK), (10**9, WARNING), (10**6, PROBLEM)])
def test_the_disk_of_the_home_needs_room(free_bytes: int, status: Status, home: Settings) -> None:
    """The home need not exist, and is not created."""
    assert statuses(home_check.check_home(home, free_bytes=free_bytes)) == [status]
    assert not home.home.exists()


def test_a_home_that_cannot_be_written_to_is_a_problem(
    home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its permissions, or by what the disk says when a file is made; a stand-in refuses."""

    def refuse(**_: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    (found,) = home_check.check_home(home)
    assert (found.status, found.remedy) == (PROBLEM, "export LOOKALIKE_HOME=FOLDER")
    assert "Read-only file system" in found.message
    monkeypatch.setattr(home_check, "may_write", lambda _: False)
    assert statuses(home_check.check_home(home)) == [PROBLEM]


def unreachable(url: str, _timeout_s: float) -> None:
    """Stands in for a host that does not answer."""
    raise WeightsError(f"the official weights cannot be fetched from {url} (no answer); do something")


def unreachable_but_vgg(url: str, timeout_s: float) -> None:
    """Stands in for a host that has one file of two."""
    if "vgg16" not in url:
        unreachable(url, timeout_s)


@pytest.mark.parametrize(
    ("reach", "expected"),
    [
        (lambda *_: None, [OK, OK]),
        (unreachable_but_vgg, [WARNING, OK]),
        (unreachable, [PROBLEM, PROBLEM]),
    ],
    ids=["reachable", "one", "none"],
)
def test_weights_must_be_within_reach(
    reach: weights_check.Reach, expected: list[Status], home: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a problem if no network can be had; the remedy says where to put the file."""
    monkeypatch.setenv("HOME", str(home.home))
    found = list(weights_check.check_weights(home, reach))
    assert statuses(found) == expected
    for finding in found:
        if finding.status is not OK:
            assert finding.message.endswith("(no answer)")
            assert str(home.weights_dir) in (finding.remedy or "")


def test_weights_that_are_here_are_not_asked_for(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file counts only with its checksum."""
    monkeypatch.setenv("HOME", str(home.home))
    file = home.weights_dir / VGG16.official(with_top=False).file_name
    file.parent.mkdir(parents=True)
    file.write_bytes(b"something else")
    assert statuses(weights_check.check_weights(home, unreachable)) == [PROBLEM, PROBLEM]
    md5 = {each.file_name: each.md5 for each in VGG16.weights}[file.name]
    monkeypatch.setattr("lookalike_exporter.weights_sources._checksum", lambda *_: md5)
    resnet, vgg = weights_check.check_weights(home, unreachable)
    assert (resnet.status, vgg.status) == (WARNING, OK)
    assert str(file) in vgg.message


def test_a_model_of_other_weights_does_not_replace_the_official_ones(
    home: Settings, monkeypatch: pytest.MonkeyPatch, tiny_spec: ModelSpec
) -> None:
    """A command that names no weights exports the official ones, and could not be run."""
    monkeypatch.setenv("HOME", str(home.home))
    ensure_exported(tiny_spec, settings=home)
    assert statuses(weights_check.check_weights(home, unreachable)) == [PROBLEM, PROBLEM]
    monkeypatch.setattr(weights_check, "find_by_spec", lambda models, _: models[0])
    found = list(weights_check.check_weights(home, unreachable))
    assert all("a model exported from the official weights is in" in each.message for each in found)


def test_offline_nothing_is_fetched(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not here is said."""
    monkeypatch.setenv("HOME", str(home.home))
    monkeypatch.setattr(socket, "create_connection", lambda *_, **__: pytest.fail("the network was used"))
    found = list(weights_check.check_local_weights(home))
    assert [each.message.endswith("was not checked") for each in found] == [True, True]


# Stores


def store_settings(home: Settings, store: str) -> Settings:
    """Returns settings with a store."""
    return replace(home, store=store)


def test_collections_that_open_are_counted(home: Settings) -> None:
    """The first finding names the store."""
    settings = store_settings(home, "embedded")
    with collection_of(EmbeddedStore(home.qdrant_dir), [point_of("a.png", [1.0, 0.0])]) as collection:
        name = collection.name
        store, locked = store_check.check_store(settings)
        assert (store.status, locked.status) == (OK, WARNING)
        assert f"{name} was not opened: it is in use by process" in locked.message
        collection.flush()
    assert str(home.qdrant_dir) in store.message
    assert store.message.endswith(": 1 collection")
    manifest = manifest_of()
    EmbeddedStore(home.qdrant_dir).create(manifest)
    _, found = store_check.check_store(settings)
    assert (found.status, found.message) == (OK, f"{manifest.collection} opens: 0 points")
    _, left = store_check.check_store(settings, open_for_s=0)
    assert left.message.startswith("1 more collections were not opened")


@pytest.mark.parametrize("error", [None, OSError(5, "Input/output error")])
def test_a_damaged_collection_is_a_problem(
    home: Settings, monkeypatch: pytest.MonkeyPatch, error: OSError | None
) -> None:
    """The others open, also where the disk is what is damaged."""
    settings, store = store_settings(home, "embedded"), EmbeddedStore(home.qdrant_dir)
    for _ in range(2):
        store.create(manifest_of())
    damaged, _ = store.names()
    open_it = EmbeddedStore.open

    def fail(self: EmbeddedStore, name: str) -> Any:
        if error is not None and name == damaged:
            raise error
        return open_it(self, name)

    monkeypatch.setattr(EmbeddedStore, "open", fail)
    if error is None:
        (home.qdrant_dir / damaged / "manifest.json").write_text("{", encoding="utf-8")
    found = {each.message.split()[0]: each for each in store_check.check_store(settings)}
    assert found.pop("the").status is OK
    assert found.pop(damaged).status is PROBLEM
    assert statuses(found.values()) == [OK]


def test_a_server_is_named_with_its_version(home: Settings) -> None:
    """A stand-in is asked; nothing listens at the other address."""
    with running_stand_in() as server:
        (found,) = store_check.check_store(store_settings(home, server.url))
        assert found.status is OK
        assert server.url in found.message
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(StoreError):
            list(store_check.check_store(store_settings(home, url)))


# Self-tests


def test_the_model_is_computed_as_numpy_does(home: Settings) -> None:
    """On the CPU they agree to five digits."""
    (found,) = self_tests.check_model(home)
    assert found.status is OK
    assert found.message.startswith("CPUExecutionProvider")
    assert found.message.endswith("cosine 1.00000")


@pytest.mark.parametrize(("turned", "status"), [(0.001, OK), (0.2, PROBLEM), (np.nan, PROBLEM)])
def test_a_wrong_embedding_is_a_problem(turned: float, status: Status) -> None:
    """A provider that computes nonsense says nothing of it."""
    one, other = np.eye(2, dtype=np.float32)
    assert self_tests.compare(one + np.float32(turned) * other, one, "it").status is status
    assert self_tests.compare(0 * one, one, "it").status is PROBLEM


def test_a_notice_of_the_provider_is_a_warning(home: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in reports a driver whose GPU is not used."""
    monkeypatch.setattr(providers, "has_cuda_driver", lambda: True)
    monkeypatch.setattr(providers, "_open_on_cuda", lambda _: None)
    found = list(self_tests.check_model(replace(home, provider="auto")))
    assert found[1].status is WARNING
    assert "its GPU is not used" in found[1].message


def test_the_store_is_written_and_searched() -> None:
    """It returns the neighbours that numpy finds."""
    assert statuses(self_tests.check_embedded_store()) == [OK]


def test_wrong_neighbours_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for an engine that finds nothing."""
    monkeypatch.setattr(
        "lookalike_core.stores.embedded_collection.EmbeddedCollection.query", lambda *_, **__: []
    )
    assert statuses(self_tests.check_embedded_store()) == [PROBLEM]
