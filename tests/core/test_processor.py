"""Whether a processor gains by OpenVINO's plugin, by its features."""

import sys
from pathlib import Path

import pytest
from lookalike_core.processor import gains_by_openvino

INTEL, AMD = "GenuineIntel", "AuthenticAMD"


@pytest.mark.parametrize(
    ("vendor", "flags", "gains"),
    [
        (INTEL, "avx512f avx512_bf16", True),
        (INTEL, "avx512f amx_bf16 amx_tile", True),
        (INTEL, "avx2 avx512f", False),
        (INTEL, "amx_bf16_of_something_else", False),
        (AMD, "avx512f avx512_bf16", False),
    ],
)
def test_only_intel_s_processors_with_bfloat16_gain(
    vendor: str, flags: str, gains: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plugin offers nothing for processors of other makers."""
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(sys, "platform", "linux")
    one = f"processor\t: 0\nvendor_id\t: {vendor}\nflags\t\t: fpu {flags}\nbugs\t\t:\n\n"
    (tmp_path / "cpuinfo").write_text(one * 2, encoding="utf-8")
    assert gains_by_openvino(tmp_path / "cpuinfo") is gains


@pytest.mark.parametrize(("text", "gains"), [(None, None), ("", False), ("nonsense\n\n", False)])
def test_unreadable_features_are_no_error(
    text: str | None, gains: bool | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows has no such file: there it is not known."""
    monkeypatch.setattr("platform.machine", lambda: "AMD64")
    monkeypatch.setattr(sys, "platform", "win32")
    if text is not None:
        (tmp_path / "cpuinfo").write_text(text, encoding="utf-8")
    assert gains_by_openvino(tmp_path / "cpuinfo") is gains


@pytest.mark.parametrize(
    ("system", "machine"), [("darwin", "arm64"), ("linux", "aarch64"), ("darwin", "x86_64")]
)
def test_other_platforms_have_no_plugin(system: str, machine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to install for them."""
    monkeypatch.setattr("platform.machine", lambda: machine)
    monkeypatch.setattr(sys, "platform", system)
    assert gains_by_openvino() is False
