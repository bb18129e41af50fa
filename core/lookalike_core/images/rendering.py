"""Rendering of an opened image as RGB: samples scaled, colours in sRGB, transparency on a ground.

Decisions about the whole image are made once, and then apply to every part of it.
"""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from lookalike_core.images import samples, transparency
from lookalike_core.images.colour import Conversion, find_conversion
from lookalike_core.images.frames import is_first_frame
from lookalike_core.images.tiff_tags import Tag, tags_of

if TYPE_CHECKING:
    from PIL import Image

EXACT_PIXELS = 500_000
"""The size of an image up to which its profile is always converted before scaling."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rendering:
    """How the parts of a loaded image become RGB; `ground` is None if the image is opaque."""

    conversion: Conversion | None = None
    scale: samples.Scale | None = None
    ground: int | None = None
    is_plain: bool = False
    """Whether the image is RGB or grey, so that it may be scaled first and rendered by `finish`."""

    def rgb(self, part: "Image.Image") -> "Image.Image":
        """Returns a part of the image, of any mode, as RGB."""
        shown = self._coloured(part)
        if self.ground is None or shown.mode != "RGBA":
            return shown.convert("RGB")
        return transparency.lay_on(shown, self.ground)

    def finish(self, scaled: "Image.Image") -> "Image.Image":
        """Returns a plain image that was scaled before as RGB."""
        rgb = scaled.convert("RGB")
        return rgb if self.conversion is None else self.conversion.apply(rgb)

    def _coloured(self, part: "Image.Image") -> "Image.Image":
        """Returns RGBA for a transparent image, else L, RGB, or the mode of an image without a profile."""
        if self.scale is not None:
            part = self.scale.levels(part)
        if self.ground is not None and part.mode != "RGBA":
            part = _with_alpha(part)
        if self.conversion is None:
            return part
        return self.conversion.apply(part if part.mode in _AS_THEY_ARE else part.convert("RGB"))


_AS_THEY_ARE = ("L", "RGB", "RGBA", "CMYK", "LAB")


def render(image: "Image.Image") -> "tuple[Image.Image, Rendering]":
    """Loads an opened image; returns it, or a plain one in its place, and its rendering."""
    samples.mend_header(image)
    image.load()
    conversion = find_conversion(image)
    if image.mode in ("RGB", "L") and not image.has_transparency_data and samples.scale_of(image) is None:
        is_small = image.width * image.height <= EXACT_PIXELS
        if conversion is not None and (is_small or not conversion.is_late):
            return conversion.apply(image, in_place=image.mode == "RGB"), Rendering(is_plain=True)
        return image, Rendering(conversion=conversion, is_plain=True)
    rendering = Rendering(conversion=conversion, scale=samples.scale_of(image))
    return image, replace(rendering, ground=_ground(image, rendering))


def is_as_before(image: "Image.Image") -> bool:
    """Returns whether an opened image gives the same pixels as under `crop-bicubic-224`; False if unsure.

    It is decoded only if some of it may be transparent.
    """
    tags = tags_of(image)
    has_pages = getattr(image, "is_animated", False) and image.format not in ("JPEG", "MPO")
    if not is_first_frame(image) or has_pages or Tag.SUB_IFDS in tags or tags.get(Tag.NEW_SUBFILE_TYPE, 0):
        return False
    if find_conversion(image) is not None or not samples.is_ordinary(image):
        return False
    if not image.has_transparency_data:
        return True
    _, rendering = render(image)
    return rendering.ground == transparency.WHITE


def _ground(image: "Image.Image", rendering: Rendering) -> int | None:
    """Returns the grey level of the ground, chosen from a sample of the image's pixels."""
    if not image.has_transparency_data or transparency.is_blank_alpha(image):
        return None
    judged = transparency.judged_part(image)
    return transparency.ground_for(replace(rendering, ground=transparency.WHITE)._coloured(judged))  # noqa: SLF001


def _with_alpha(image: "Image.Image") -> "Image.Image":
    return (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
