"""Colours as a colour-managed viewer shows them: embedded profiles and PNG's gamma become sRGB.

docs/adr/0018-colours-as-shown.md says why colours are converted at this step, and what is assumed of a file
without a profile.
"""

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from lookalike_core.images.profiles import SRGB_CHROMATICITIES, matrix_profile

if TYPE_CHECKING:
    from PIL import Image, ImageCms

MAX_PROFILE_BYTES = 4 * 2**20
"""Larger profiles are ignored; printing presses' have up to three million bytes."""

SAME_LEVELS = 2
"""Levels of 255: a profile that moves no colour further counts as sRGB, of which there are many versions."""

LATE_LEVELS = 10
"""Levels of 255: a profile that moves no grey further is converted after scaling, since mixing neighbours in
its colours or in sRGB's is the same."""

_GREYS = ("L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N")
_RGBS = ("RGB", "RGBA", "RGBa", "RGBX", "P", "PA", "YCbCr")
_CLASSES = ("mntr", "scnr", "prtr", "spac")
"""Profile classes that describe what a file's numbers mean; Lab's own is an abstract one."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Conversion:
    """The conversion of a file's colours to sRGB.

    For greys it is a `curve` of 256 levels, for other modes a transform each, created on first use. `is_late`
    says that the image may be scaled before it is converted.
    """

    profile: bytes
    curve: tuple[int, ...] | None = None
    is_late: bool = False

    def apply(self, image: "Image.Image", *, in_place: bool = False) -> "Image.Image":
        """Returns RGB or RGBA for RGB, RGBA, CMYK or Lab, and L for L; RGB may be changed `in_place`."""
        if self.curve is not None:
            alpha = range(256) if image.mode == "RGBA" else ()
            return image.point([*(self.curve * min(3, len(image.getbands()))), *alpha])
        transform = _cached_transform(self.profile, image.mode)
        return transform.apply_in_place(image) if in_place else transform.apply(image)


def find_conversion(image: "Image.Image") -> Conversion | None:
    """Returns the conversion of a file's colours to sRGB; None if they are sRGB, or assumed to be.

    They are assumed to be without a profile, or with one that is broken, too large or for another colour
    model.
    """
    profile = image.info.get("icc_profile")
    if profile is None and image.format == "PNG" and not image.info.keys() & {"icc_profile", "srgb"}:
        profile = _make_png_profile(image.info)
    if not isinstance(profile, bytes) or not 0 < len(profile) <= MAX_PROFILE_BYTES:
        return None
    for kind, modes in (("L", _GREYS), ("RGB", _RGBS), ("CMYK", ("CMYK",)), ("LAB", ("LAB",))):
        if image.mode in modes:
            return _make_conversion(profile, kind)
    return None


def _make_png_profile(info: dict[Any, Any]) -> bytes | None:
    """Returns the profile that gAMA and cHRM describe, together or alone (PNG, third edition, 11.3.2).

    Nearly all gAMA chunks say 1 / 2.2, which approximates sRGB's curve.
    """
    gamma, chromaticities = info.get("gamma"), info.get("chromaticity")
    if gamma is None and chromaticities is None:
        return None
    if gamma is not None and not _LEAST_GAMMA <= gamma <= 1 / _LEAST_GAMMA:
        return None
    is_usual = gamma is None or abs(gamma * 2.2 - 1) <= _USUAL
    if is_usual and chromaticities is None:
        return None
    exponent = None if gamma is None or is_usual else 1 / gamma
    return matrix_profile(exponent, chromaticities or SRGB_CHROMATICITIES)


_LEAST_GAMMA = 0.1
"""The least plausible gamma; a gAMA chunk below it, or above its inverse, is ignored."""

_USUAL = 0.02
"""How far a gamma may be from 1 / 2.2 to count as sRGB: programs write 45454, 45455, 45000 or 46000."""


@lru_cache(maxsize=16)
def _make_conversion(profile: bytes, mode: str) -> Conversion | None:
    """Returns the conversion of a mode: L for all greys, RGB for all that Pillow converts to RGB itself."""
    from PIL import ImageCms

    try:
        described = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile
        space, is_matrix = described.xcolor_space.strip().upper(), described.is_matrix_shaper
        if mode == "L" and space in ("GRAY", "RGB"):
            return _convert_greys(profile, space)
        if space != mode or not (mode == "LAB" or described.device_class.strip() in _CLASSES):
            return None
        if mode != "RGB":
            _cached_transform(profile, mode)
            return Conversion(profile=profile)
        if _largest_shift(profile, _make_cube()) <= SAME_LEVELS:
            return None
        return Conversion(
            profile=profile, is_late=is_matrix and _largest_shift(profile, _make_ramp()) <= LATE_LEVELS
        )
    except (OSError, TypeError, ValueError, ImageCms.PyCMSError):
        return None


def _convert_greys(profile: bytes, space: str) -> Conversion | None:
    """Returns the curve of greys, from a grey profile or from the greys of an RGB profile."""
    ramp = _make_ramp().convert("L")
    source = ramp if space == "GRAY" else ramp.convert("RGB")
    transform = _build_transform(profile, source.mode)
    curve = np.asarray(transform.apply(source).convert("L"))[0]
    if np.abs(curve.astype(int) - np.arange(256)).max() <= SAME_LEVELS:
        return None
    return Conversion(profile=profile, curve=tuple(curve.tolist()))


def _largest_shift(profile: bytes, image: "Image.Image") -> int:
    """Returns the largest shift, in levels, that a profile applies to any colour."""
    there = np.asarray(image).astype(int)
    return int(np.abs(np.asarray(_cached_transform(profile, "RGB").apply(image)).astype(int) - there).max())


def _make_ramp() -> "Image.Image":
    """Returns all greys as RGB, 256 x 1 pixels."""
    from PIL import Image

    return Image.fromarray(np.arange(256, dtype=np.uint8)[np.newaxis, :, np.newaxis].repeat(3, axis=2))


def _make_cube() -> "Image.Image":
    """Returns a grid of colours across the RGB cube."""
    from PIL import Image

    levels = np.array([0, 8, 16, 32, 64, 96, 128, 160, 192, 224, 255], dtype=np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1)
    return Image.fromarray(colours.reshape(len(levels), -1, 3))


@lru_cache(maxsize=16)
def _cached_transform(profile: bytes, mode: str) -> "ImageCms.ImageCmsTransform":
    """Returns a cached transform; LittleCMS' transforms may be used by several threads at once."""
    return _build_transform(profile, mode)


def _build_transform(profile: bytes, mode: str) -> "ImageCms.ImageCmsTransform":
    from PIL import ImageCms

    return ImageCms.ImageCmsTransform(
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")),
        mode,
        "RGBA" if mode == "RGBA" else "RGB",
    )
