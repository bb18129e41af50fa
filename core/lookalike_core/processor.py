"""Whether this machine's processor computes in bfloat16, which OpenVINO's plugin uses."""

import platform
import sys
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")

_BFLOAT16 = frozenset({"amx_bf16", "avx512_bf16"})
"""Linux' names of the features, as in its `arch/x86/include/asm/cpufeatures.h`."""


def gains_by_openvino(cpuinfo: Path = CPUINFO) -> bool | None:
    """Returns whether OpenVINO's plugin would embed several times as fast; None if that is not known.

    It would on Intel's processors with bfloat16. The plugin offers nothing for those of other makers, and
    there is none for other architectures.
    """
    if platform.machine().lower() not in ("x86_64", "amd64") or sys.platform == "darwin":
        return False
    try:
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").partition("\n\n")[0].splitlines()
    except OSError:
        return None  # Windows: its features are in no file
    fields = {name.strip(): value for name, _, value in (line.partition(":") for line in lines)}
    is_intel = fields.get("vendor_id", "").strip() == "GenuineIntel"
    return is_intel and not _BFLOAT16.isdisjoint(fields.get("flags", "").split())
