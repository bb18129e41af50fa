"""Groups of subcommands: what Ctrl-C says of each."""

import sys
from pathlib import Path

import pytest
from lookalike_core.cli.console import run_command
from lookalike_core.cli.subcommands import lazy_app

ENDED = """
def {name}() -> None:
    raise KeyboardInterrupt
"""

GROUP = """
from lookalike_core.cli.subcommands import lazy_app

LINES = {{"copy": "Copy.", "verify": "Verify.", "search": "Search."}}
app = lazy_app("A group.", package="{package}", subcommands=LINES, continued=("copy",))
"""


@pytest.mark.parametrize(
    ("name", "said"), [("copy", "to continue"), ("verify", "to start over"), ("search", "to start over")]
)
def test_ctrl_c_says_whether_the_same_command_continues(
    name: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Only those that keep what they did continue; the exit code is the same, and so it is in a group."""
    package = f"interrupted_{name}"
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").touch()
    (tmp_path / package / f"{name}.py").write_text(ENDED.format(name=name), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "argv", ["program", name])
    lines = {"copy": "Copy.", "verify": "Verify.", "search": "Search."}
    app = lazy_app("A command for tests.", package=package, subcommands=lines, continued=("copy",))
    with pytest.raises(SystemExit) as ended:
        run_command(app)
    assert ended.value.code == 130
    assert capsys.readouterr().err == f"error: interrupted; run the same command again {said}\n"
    (tmp_path / package / "app.py").write_text(GROUP.format(package=package), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["umbrella", "group", name])
    groups = {"group": package}
    umbrella = lazy_app("All.", package="none", subcommands={"group": "One."}, groups=groups)
    with pytest.raises(SystemExit) as ended:
        run_command(umbrella)
    assert ended.value.code == 130
    assert capsys.readouterr().err == f"error: interrupted; run the same command again {said}\n"
