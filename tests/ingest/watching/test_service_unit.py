"""The systemd unit in the documentation."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "watch.md"


def test_systemd_accepts_every_line_of_the_documented_unit(tmp_path: Path) -> None:
    """With a program and a user that exist here, and without a word."""
    if (analyze := shutil.which("systemd-analyze")) is None:
        pytest.skip("there is no systemd-analyze")
    found = re.search(r"```ini\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    unit = found[1].replace("/opt/lookalike/bin/ingest", "/bin/true").replace("User=lookalike", "User=root")
    file = tmp_path / "lookalike-watch.service"
    file.write_text(unit, encoding="utf-8")
    done = subprocess.run([analyze, "verify", "--man=no", file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
