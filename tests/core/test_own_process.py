"""What a command's own process does differently from a host application's."""

import gc
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lookalike_core import own_process

SEEN = "import gc\nwas_enabled = gc.isenabled()\n"


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Yields the name of a module that notes whether garbage is collected while it is imported."""
    (tmp_path / "noting_collections.py").write_text(SEEN, encoding="utf-8")
    (tmp_path / "failing_import.py").write_text("raise ImportError('broken')", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    yield "noting_collections"
    sys.modules.pop("noting_collections", None)
    gc.unfreeze()


@pytest.mark.parametrize("is_own", [True, False])
def test_a_command_imports_without_collections(
    module: str, monkeypatch: pytest.MonkeyPatch, *, is_own: bool
) -> None:
    """A host application's setting stays as it is; afterwards garbage is collected again."""
    monkeypatch.setattr(own_process, "_is_own", is_own)
    assert own_process.load_module(module).was_enabled is not is_own
    assert gc.isenabled()


def test_collections_that_are_off_stay_off(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has disabled them enables them."""
    monkeypatch.setattr(own_process, "_is_own", True)
    gc.disable()
    try:
        own_process.load_module(module)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_a_failed_import_enables_collections_again(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is the module's."""
    monkeypatch.setattr(own_process, "_is_own", True)
    assert module
    with pytest.raises(ImportError, match="broken"):
        own_process.load_module("failing_import")
    assert gc.isenabled()
