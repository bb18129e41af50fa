"""The frame of an animation that is embedded: the first with visible content.

Animations often fade in from black or white, or begin with an empty frame. The search is bounded in frames
and pixels, not in seconds, so that a file gives the same image on every machine.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

MAX_FRAMES = 256
"""The most frames that are examined; some ten seconds of most animations."""

MAX_PIXELS_SEEN = 300_000_000
"""The most pixels, in all examined frames together."""

MAX_KEPT = 4
"""The most images of a HEIC file that are examined: its library keeps each one that it has decoded."""

MAX_FRAME_PIXELS = 20_000_000
"""Width times height above which the first frame is used if Pillow composes frames over each other."""

COPIES = 3
"""How many further copies of the image Pillow holds while it composes frames."""

VISIBLE = 24
"""Range of levels, of 255, from which a frame has visible content; coding noise has about six."""

_SIDE = 64
_FINE_SIDE = 256
_LAYERED = ("GIF", "PNG")
_ANIMATED = (*_LAYERED, "WEBP", "AVIF", "HEIF")
_CHOSEN = "lookalike.frame"


def may_be_animated(image: "Image.Image") -> bool:
    """Returns whether an image may be an animation; for a GIF only reading the second frame would tell."""
    return image.format == "GIF" or (image.format in _ANIMATED and getattr(image, "n_frames", 1) > 1)


def frame_bytes(image: "Image.Image") -> int:
    """Returns the bytes that examining the frames takes besides `load`; 0 if there is no animation."""
    is_layered = image.format in _LAYERED and image.width * image.height <= MAX_FRAME_PIXELS
    return 4 * COPIES * image.width * image.height if is_layered and may_be_animated(image) else 0


def find_frame(
    image: "Image.Image",
    *,
    sound: Callable[[], int],
    max_frames: int = MAX_FRAMES,
    max_pixels: int = MAX_PIXELS_SEEN,
    max_frame_pixels: int = MAX_FRAME_PIXELS,
) -> int | None:
    """Returns the number of the frame to embed, or None for the one at which `image` is open.

    At most `sound()` frames and `max_frames` are examined, and at most `max_pixels` in all; of an animation
    whose composed frames exceed `max_frame_pixels`, none. A damaged frame ends the search. If no frame has
    visible content, the first is used. If a number is returned, `image` has been moved and must be opened
    again.

    Raises:
        Exception: any error of Pillow if the first frame cannot be decoded.
    """
    if not may_be_animated(image):
        return None
    image.load()
    if _has_contrast(image):
        return None
    first = image.tell()
    most = min(sound(), max_frames, max_pixels // (image.width * image.height))
    for number in _list_candidates(image, most, max_frame_pixels):
        try:
            image.seek(number)
            image.load()
        except Exception:  # noqa: BLE001 - the end, or a dozen kinds of damage
            return first
        if _has_contrast(image):
            return number
    return first


def mark_choice(image: "Image.Image", *, is_first: bool) -> None:
    """Records on an open image whether it is the first one in its file."""
    image.info[_CHOSEN] = is_first


def is_first_frame(image: "Image.Image") -> bool:
    """Returns whether an open image was the first one in its file, before frames and pages were chosen."""
    return bool(image.info.get(_CHOSEN, True))


def _list_candidates(image: "Image.Image", most: int, max_frame_pixels: int) -> Sequence[int]:
    """Returns the numbers of the frames to examine after the first; none is larger than `sound()` allows."""
    pixels = image.width * image.height
    if image.format in _LAYERED and pixels > max_frame_pixels:
        return ()
    if image.format != "HEIF":
        return range(1, most)
    first, parts = image.tell(), getattr(image, "_heif_file", None) or ()
    sizes = [each.size[0] * each.size[1] for each in parts]
    return [number for number, size in enumerate(sizes) if number != first and size <= pixels][:MAX_KEPT]


def _has_contrast(image: "Image.Image") -> bool:
    """Returns whether a frame has visible content, on a black or on a white ground."""
    if max(image.size) > _FINE_SIDE and image.mode in {"P", "1"}:  # indices cannot be averaged
        scale = _FINE_SIDE / max(image.size)
        image = image.resize(_scale(image.size, scale), resample=0)
    if image.mode not in {"RGB", "RGBA"} or image.has_transparency_data:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    small = image.resize(_scale(image.size, min(1.0, _SIDE / max(image.size))), resample=4, reducing_gap=2.0)
    pixels = np.asarray(small, dtype=np.float32)
    if small.mode == "RGB":
        return _largest_range(pixels) >= VISIBLE
    alpha = pixels[..., 3:] / 255
    on_black = pixels[..., :3] * alpha
    return max(_largest_range(on_black), _largest_range(on_black + 255 * (1 - alpha))) >= VISIBLE


def _scale(size: tuple[int, int], scale: float) -> tuple[int, int]:
    return max(1, round(scale * size[0])), max(1, round(scale * size[1]))


def _largest_range(pixels: NDArray[np.floating]) -> float:
    """Returns the largest range of values, maximum less minimum, of any channel."""
    return float(np.ptp(pixels, axis=(0, 1)).max())
