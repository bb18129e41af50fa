"""TIFFs with planar samples, or with reversed bit order.

Pillow misreads these if they are uncompressed: it takes bytes of 16-bit planes for samples, and white for
black if 0 is white. libtiff supports both, so Pillow is made to use it.
"""

from typing import TYPE_CHECKING

from lookalike_core.images.tiff_tags import Tag, tags_of

if TYPE_CHECKING:
    from PIL import Image
    from PIL.TiffImagePlugin import TiffImageFile

_SEPARATE, _LOWEST_FIRST = 2, 2


def is_planar(image: "Image.Image") -> bool:
    """Returns whether an opened image is a TIFF with planar samples."""
    return bool(tags_of(image).get(Tag.PLANAR_CONFIGURATION) == _SEPARATE)


def is_misread(image: "Image.Image") -> bool:
    """Returns whether Pillow's own reader would misread an opened image."""
    if image.format != "TIFF" or image.info.get("compression") != "raw":
        return False
    return is_planar(image) or tags_of(image).get(Tag.FILL_ORDER) == _LOWEST_FIRST


def mend_layout(image: "Image.Image") -> None:
    """Makes Pillow read an opened image, not loaded yet, by libtiff if its own reader would misread it."""
    from PIL import ImageFile, TiffImagePlugin

    if not (is_misread(image) and isinstance(image, TiffImagePlugin.TiffImageFile)):
        return
    if (raw_mode := _raw_mode(image)) is None:
        return
    width, height = image._tile_size  # noqa: SLF001 - as stored, before it is turned
    layout = (raw_mode, False, image.tag_v2.offset)
    image.tile = [ImageFile._Tile("libtiff", (0, 0, width, height), 0, layout)]  # noqa: SLF001
    image.use_load_libtiff = True


def _raw_mode(image: "TiffImageFile") -> str | None:
    """Returns the mode in which libtiff returns samples, by Pillow's table: in this machine's byte order."""
    from PIL.TiffImagePlugin import OPEN_INFO

    tags = image.tag_v2
    per_pixel, extra = tags.get(Tag.SAMPLES_PER_PIXEL, 1), tags.get(Tag.EXTRA_SAMPLES, ())
    bits, kinds = tags.get(Tag.BITS_PER_SAMPLE, (1,)), tags.get(Tag.SAMPLE_FORMAT, (1,))
    if is_planar(image) and extra and max(extra) == 0:
        bits, per_pixel, extra = bits[: -len(extra)], per_pixel - len(extra), ()
    bits = bits * per_pixel if len(bits) == 1 else bits[:per_pixel]
    kinds = kinds[:1] if len(set(kinds)) == 1 else kinds
    found = OPEN_INFO.get((tags.prefix, tags.get(Tag.PHOTOMETRIC, 0), kinds, 1, bits, extra))
    if found is None:
        return None
    _, raw_mode = found
    if raw_mode == "I;16":
        return "I;16N"
    return raw_mode[:-1] + "N" if raw_mode.endswith((";16B", ";16L")) else raw_mode
