"""Tests the checks of `make dist` on packages with faults; the target itself tries the real ones."""

import io
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterable
from pathlib import Path

import dist
import pytest
from packaging.metadata import Metadata

ROOT = Path(__file__).parents[1]
HEAD = "Metadata-Version: 2.4\nName: lookalike\nVersion: 0.1.0\n"
WHOLE = (
    HEAD
    + "Summary: Finds images.\nLicense-Expression: Apache-2.0\nLicense-File: LICENSE\n"
    + "Requires-Python: >=3.11\nKeywords: images\nDescription-Content-Type: text/markdown\n"
    + "".join(f"Classifier: {name}\n" for name in dist.CLASSIFIERS)
    + "\n# Lookalike\n"
)


def write_wheel(path: Path, names: Iterable[str]) -> Path:
    """Writes a wheel of empty files."""
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(name, "")
    return path


def write_archive(path: Path, names: Iterable[str]) -> Path:
    """Writes a source archive of empty files."""
    with tarfile.open(path, "w:gz") as tar:
        for name in names:
            tar.addfile(tarfile.TarInfo(f"lookalike-0.1.0/{name}"), io.BytesIO())
    return path


def test_complete_metadata_has_no_fault() -> None:
    """The project's own classifiers are those that are asked for."""
    assert list(dist.find_faults(Metadata.from_email(WHOLE, validate=True))) == []
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(dist.CLASSIFIERS) <= set(project["classifiers"])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("Summary: Finds images.\n", "no summary"),
        ("Classifier: Typing :: Typed\n", "no classifier Typing :: Typed"),
        ("Description-Content-Type: text/markdown\n", "the description is not Markdown"),
        ("License-Expression: Apache-2.0\n", "no license_expression"),
    ],
)
def test_missing_metadata_is_named(line: str, said: str) -> None:
    """Readers of a package index would miss it."""
    assert line in WHOLE
    metadata = Metadata.from_email(WHOLE.replace(line, ""), validate=True)
    assert list(dist.find_faults(metadata)) == [said]


def test_missing_and_superfluous_files_are_named(tmp_path: Path) -> None:
    """Templates and scripts of pages count as much as modules."""
    licence = "lookalike-0.1.0.dist-info/licenses/LICENSE"
    needed = sorted(dist.package_files())
    template = next(name for name in needed if name.endswith(".html"))
    sources = [f"lookalike/{name}" for name in ("__init__.py",)]
    texts = ["pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "requirements.lock"]
    archive = write_archive(tmp_path / "a.tar.gz", [*texts, *sources])
    whole = write_wheel(tmp_path / "whole.whl", [*needed, licence])
    assert list(dist.check_files(archive, whole)) == []
    faulty = write_wheel(
        tmp_path / "faulty.whl", [name for name in needed if name != template] + ["tests/x.py"]
    )
    assert list(dist.check_files(archive, faulty)) == [
        f"faulty.whl lacks {template}",
        "faulty.whl has tests/x.py",
        "faulty.whl lacks its licence",
    ]
    odd = write_archive(tmp_path / "odd.tar.gz", [*texts[1:], *sources, "tests/x.py"])
    assert list(dist.check_archive(odd)) == ["odd.tar.gz lacks pyproject.toml", "odd.tar.gz has tests/"]


def test_each_package_is_typed() -> None:
    """All five have the marker of PEP 561."""
    typed = {name.partition("/")[0] for name in dist.package_files() if name.endswith("/py.typed")}
    assert typed == dist.packages().keys()
    assert len(typed) == 5


def test_a_program_that_fails_shows_its_output(tmp_path: Path) -> None:
    """The error holds what the program printed."""
    with pytest.raises(subprocess.CalledProcessError) as failed:
        dist.run([sys.executable, "-c", "import sys; print('why'); sys.exit(3)"], cwd=tmp_path)
    assert (failed.value.returncode, failed.value.output.strip()) == (3, "why")


def test_the_environment_is_that_of_a_new_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of ours is passed on, nor where Python would look for the checkout."""
    for name in ("QDRANT_URL", "LOOKALIKE_TOKEN", "PYTHONPATH"):
        monkeypatch.setenv(name, "x")
    environment = dist.own_environment(tmp_path)
    ours = {name for name in environment if name.startswith(("LOOKALIKE_", "QDRANT_", "PYTHON"))}
    assert ours == {"LOOKALIKE_HOME", "LOOKALIKE_STORE"}
