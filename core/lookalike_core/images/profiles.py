"""ICC profiles built from the few numbers that a file gives instead of a profile."""

import struct
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Chromaticities = tuple[float, float, float, float, float, float, float, float]
"""x and y of white, red, green and blue, in the order of PNG's cHRM."""

SRGB_CHROMATICITIES: Chromaticities = (0.3127, 0.3290, 0.64, 0.33, 0.30, 0.60, 0.15, 0.06)

_D50 = (0.9642, 1.0, 0.8249)
"""The white point of every profile (ICC.1:2022, 7.2.16)."""

_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
"""The Bradford matrix, which adapts colours from one white point to another (ICC.1:2022, annex E)."""

_SRGB_CURVE = (3, 2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
"""sRGB's own curve as a parametric one of type 3 (ICC.1:2022, 10.18)."""


@lru_cache(maxsize=64)
def matrix_profile(exponent: float | None, chromaticities: Chromaticities) -> bytes | None:
    """Returns an ICC profile of RGB with a gamma curve of `exponent`, or sRGB's curve for None.

    None if the numbers describe no colour space.
    """
    try:
        columns = _columns(chromaticities)
        curve = _SRGB_CURVE if exponent is None else (0, exponent)
        return _file(columns, b"para" + struct.pack(">4xHxx", curve[0]) + _fixed(*curve[1:]))
    except (ArithmeticError, ValueError, np.linalg.LinAlgError, struct.error):
        return None


def _columns(chromaticities: Chromaticities) -> NDArray[np.float64]:
    """Returns XYZ of red, green and blue under D50, float64 `[3, 3]`, a row each."""
    white, *primaries = (_xyz(*chromaticities[i : i + 2]) for i in range(0, 8, 2))
    mixed = np.array(primaries)
    rows = mixed * np.linalg.solve(mixed.T, white)[:, np.newaxis]
    cones = (_BRADFORD @ _D50) / (_BRADFORD @ white)
    adapted = np.linalg.inv(_BRADFORD) @ np.diag(cones) @ _BRADFORD
    return np.asarray(rows @ adapted.T)


def _xyz(x: float, y: float) -> NDArray[np.float64]:
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _file(columns: NDArray[np.float64], curve: bytes) -> bytes:
    """Returns the bytes of a profile (ICC.1:2022, 7): header, table of tags, tags."""
    text = b"mluc" + struct.pack(">4xII2sHII", 1, 12, b"en", 0x5553, 2, 28) + b"\0-"
    tags = {b"desc": text, b"cprt": text, b"wtpt": _triple(*_D50)}
    tags |= {name: _triple(*row) for name, row in zip((b"rXYZ", b"gXYZ", b"bXYZ"), columns, strict=True)}
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    table, body = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(body), len(content))
        body += content + b"\0" * (-len(content) % 4)
    header = struct.pack(
        ">I4xI12s12x4s28x12s",
        start + len(body),
        0x04400000,
        b"mntrRGB XYZ ",
        b"acsp",
        _fixed(*_D50),
    )
    return header.ljust(128, b"\0") + table + body


def _triple(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(*values)


def _fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))
