"""An opened image as it is shown: its samples on their scale, its colours as sRGB, on its ground.

What is decided of the whole image is decided once; a part of it is then rendered like all the others.
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
"""Size of an image up to which its profile is converted before it is scaled, whatever the profile."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rendering:
    """How the parts of one loaded image become RGB; `ground` is None where nothing is seen through."""

    conversion: Conversion | None = None
    scale: samples.Scale | None = None
    ground: int | None = None
    is_plain: bool = False
    """RGB or grey that may be scaled first and rendered by `finish` afterwards."""

    def rgb(self, part: "Image.Image") -> "Image.Image":
        """Returns a part of the image, of whatever mode, as RGB."""
        shown = self._coloured(part)
        if self.ground is None or shown.mode != "RGBA":
            return shown.convert("RGB")
        return transparency.lay_on(shown, self.ground)

    def finish(self, scaled: "Image.Image") -> "Image.Image":
        """Returns a plain image that is scaled already as RGB."""
        rgb = scaled.convert("RGB")
        return rgb if self.conversion is None else self.conversion.apply(rgb)

    def _coloured(self, part: "Image.Image") -> "Image.Image":
        """Returns RGBA where something is seen through, else L, RGB or what has no profile."""
        if self.scale is not None:
            part = self.scale.levels(part)
        if self.ground is not None and part.mode != "RGBA":
            part = _with_alpha(part)
        if self.conversion is None:
            return part
        return self.conversion.apply(part if part.mode in _AS_THEY_ARE else part.convert("RGB"))


_AS_THEY_ARE = ("L", "RGB", "RGBA", "CMYK", "LAB")


def render(image: "Image.Image") -> "tuple[Image.Image, Rendering]":
    """Loads an opened image, and says how to go on with it: the image itself, or a plain one in its place."""
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
    """Whether an opened image gives the pixels that it gave under `crop-bicubic-224`; in doubt it does not.

    Decoded only where something of it may be seen through.
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
    """Returns the level of grey that an image is laid on, judged on a sample of its pixels."""
    if not image.has_transparency_data or transparency.is_blank_alpha(image):
        return None
    judged = transparency.judged_part(image)
    return transparency.ground_for(replace(rendering, ground=transparency.WHITE)._coloured(judged))  # noqa: SLF001


def _with_alpha(image: "Image.Image") -> "Image.Image":
    return (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
