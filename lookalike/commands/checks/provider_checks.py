"""Checks whether CUDA and OpenVINO's plugin can be used, or why not."""

import ctypes
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from lookalike_core.models import providers
from lookalike_core.processor import gains_by_openvino

from lookalike.commands.checks.findings import Finding, ok, pip, warning
from lookalike.commands.versions import PLUGIN, installed_version

_DRIVER_ERRORS = {
    100: "it finds no GPU (is one in this container?)",
    803: "its parts are of different versions; restart the machine",
    804: "the GPU does not support this version of CUDA",
    999: "an unknown error; restart the machine, or see dmesg",
}
"""Results of `cuInit`; source: `CUresult` in NVIDIA's `cuda.h`."""


def check_cuda() -> Iterator[Finding]:
    """Yields whether images can be embedded on an NVIDIA GPU, or the first reason why not."""
    is_built_for_cuda = providers.CUDA in providers.load_runtime().get_available_providers()
    if not providers.has_cuda_driver():
        yield ok("not used: no NVIDIA driver is installed")
    elif not is_built_for_cuda:
        yield warning(
            "an NVIDIA driver is installed, and this ONNX Runtime is built for the CPU only",
            f"{pip('uninstall', '--yes', 'onnxruntime')} && {pip('install', 'lookalike[cuda]')}",
        )
    elif (fault := find_driver_fault(read_driver())) is not None:
        yield warning(*fault)
    elif (missing := providers.find_cuda_fault()) is not None:
        yield warning(
            f"CUDA's libraries do not load: {describe_library(missing)}", pip("install", "lookalike[cuda]")
        )
    else:
        driver = read_driver()
        yield ok(f"CUDA's libraries load; driver for CUDA {driver.supports}, {driver.gpus} GPU(s)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Driver:
    """NVIDIA's driver: the result of `cuInit`, the newest CUDA that it supports, the number of GPUs."""

    result: int
    version: int
    gpus: int

    @property
    def supports(self) -> str:
        """The newest version of CUDA, such as 12.4."""
        return f"{self.version // 1000}.{self.version % 1000 // 10}"


def read_driver(load: Callable[[str], Any] = ctypes.CDLL) -> Driver:
    """Asks NVIDIA's driver library, which must be there.

    Source: https://docs.nvidia.com/cuda/cuda-driver-api/
    """
    library = load("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    version, gpus = ctypes.c_int(0), ctypes.c_int(0)
    result = library.cuInit(0)
    library.cuDriverGetVersion(ctypes.byref(version))
    if result == 0:
        library.cuDeviceGetCount(ctypes.byref(gpus))
    return Driver(result=result, version=version.value, gpus=gpus.value)


def find_driver_fault(driver: Driver) -> tuple[str, str] | None:
    """Returns why the driver cannot be used, and the remedy; None if it can."""
    if driver.result != 0:
        why = _DRIVER_ERRORS.get(driver.result, f"error {driver.result} of cuInit")
        return f"the NVIDIA driver does not start: {why}", "nvidia-smi"
    if not driver.gpus:
        return "the NVIDIA driver finds no GPU", "nvidia-smi"
    needed = providers.cuda_version()
    if needed is not None and driver.version // 1000 < int(needed.partition(".")[0]):
        return (
            f"the NVIDIA driver supports CUDA {driver.supports}, and this ONNX Runtime needs {needed}",
            f"install a driver for CUDA {needed}: https://www.nvidia.com/drivers",
        )
    return None


def describe_library(error: str) -> str:
    """Returns what the dynamic loader says, with the missing library first."""
    missing = re.match(r"(\S+): cannot open shared object file", error)
    return f"{missing[1]} is missing" if missing else error


def check_openvino(find_version: Callable[[str], str | None] = installed_version) -> Iterator[Finding]:
    """Yields whether OpenVINO's plugin is used, and whether this processor would gain by it."""
    gains, version = gains_by_openvino(), find_version(PLUGIN)
    if version is None:
        yield _describe_missing(gains)
        return
    try:
        is_offered, pays = providers.has_openvino(), providers.openvino_pays()
    except Exception as error:  # noqa: BLE001 - whatever a broken plugin does
        again = pip("install", "--force-reinstall", "--no-deps", PLUGIN)
        yield warning(f"{PLUGIN} {version} does not load: {providers.first_line(error)}", again)
        return
    if pays:
        yield ok(f"{PLUGIN} {version} is used: this processor computes in bfloat16")
    elif is_offered:
        yield ok(f"{PLUGIN} {version} is installed; without bfloat16 the CPU is as fast, and is used")
    elif gains:
        yield warning(
            f"{PLUGIN} {version} is installed, and offers nothing for this processor",
            pip("install", "--upgrade", PLUGIN, providers_package()),
        )
    else:
        yield ok(f"{PLUGIN} {version} is installed, and not used: it offers nothing for this processor")


def providers_package() -> str:
    """Returns the installed build of ONNX Runtime."""
    return "onnxruntime-gpu" if installed_version("onnxruntime-gpu") is not None else "onnxruntime"


def _describe_missing(gains: bool | None) -> Finding:
    install = pip("install", "lookalike[openvino]")
    if gains:
        return warning(
            "this processor computes in bfloat16, with which OpenVINO's plugin embeds about five times as "
            "fast, and the plugin is not installed",
            install,
        )
    if gains is None:
        return ok(
            f"{PLUGIN} is not installed; it is not known whether this processor computes in bfloat16", install
        )
    return ok(f"{PLUGIN} is not installed, and this processor would not gain by it")
