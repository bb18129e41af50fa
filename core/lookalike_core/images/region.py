"""Regions: parts of an image as it is shown, in pixels or in percent of its sides. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from lookalike_core.errors import ImageError, SkipReason, UsageError
from lookalike_core.hints import Argument

EXAMPLES = "40,30,200,150 in pixels, or 10%,20%,50%,50%"
"""How a region is written: left, top, width and height."""


class Unit(StrEnum):
    """The unit of a region's numbers."""

    PIXELS = "pixels"
    PERCENT = "percent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A rectangle of whole pixels of an upright image, at least one in each direction."""

    left: int
    top: int
    width: int
    height: int

    @property
    def right(self) -> int:
        """The first column behind it."""
        return self.left + self.width

    @property
    def bottom(self) -> int:
        """The first line below it."""
        return self.top + self.height

    def is_all_of(self, size: tuple[int, int]) -> bool:
        """Returns whether it is an image of this width and height."""
        return (self.left, self.top, self.width, self.height) == (0, 0, *size)

    def __str__(self) -> str:
        return f"{self.left},{self.top},{self.width},{self.height}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The part of an upright image, of `width` x `height` pixels, that is used of it."""

    box: Box
    width: int
    height: int

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the image."""
        return self.box.is_all_of((self.width, self.height))


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A part of an upright image by its left and upper edge, width and height; make one by `of` or `parse`.

    Pixels are counted in the full size of the file, percentages of the image's own width and height.
    """

    x: float
    y: float
    width: float
    height: float
    unit: Unit = Unit.PIXELS

    @classmethod
    def of(cls, numbers: Sequence[float], unit: Unit = Unit.PIXELS) -> "Region":
        """Returns the region of left, top, width and height.

        Raises:
            UsageError: they are not four finite numbers, the region is empty, or it reaches beyond any image.
        """
        _require_four(numbers)
        x, y, width, height = map(float, numbers)
        region = cls(x=x, y=y, width=width, height=height, unit=unit)
        if not all(map(math.isfinite, (x + width, y + height))):
            raise _refusal(f"{region} has a number that is not finite")
        if x < 0 or y < 0:
            raise _refusal(f"{region} begins outside of the image")
        if width <= 0 or height <= 0:
            raise _refusal(f"{region} is empty")
        if unit is Unit.PERCENT and max(x + width, y + height) > _WHOLE + _ROUNDING:
            raise _refusal(f"{region} reaches beyond 100 % of the image")
        return region

    @classmethod
    def parse(cls, text: str) -> "Region":
        """Returns the region that a text means: `40,30,200,150`, or `10%,20%,50%,50%`.

        Raises:
            UsageError: the text is no region, or as `of`.
        """
        parts = [part.strip() for part in text.split(",")]
        _require_four(parts)
        relative = [part.endswith("%") for part in parts]
        if any(relative) and not all(relative):
            raise _refusal(f"{text} mixes pixels and percent")
        try:
            numbers = [float(part.removesuffix("%")) for part in parts]
        except ValueError:
            raise _refusal(f"{text} is no region") from None
        return cls.of(numbers, Unit.PERCENT if all(relative) else Unit.PIXELS)

    def __str__(self) -> str:
        sign = "%" if self.unit is Unit.PERCENT else ""
        return ",".join(f"{number:.10g}{sign}" for number in (self.x, self.y, self.width, self.height))

    def locate(self, size: tuple[int, int], name: str) -> Box:
        """Returns the box in an upright image of this width and height.

        Edges are rounded to whole pixels; of a region below one pixel the pixel around its centre remains.

        Raises:
            ImageError: the region reaches beyond the image `name`.
        """
        (left, right), (top, bottom) = (
            self._edges(start, length, side)
            for start, length, side in zip((self.x, self.y), (self.width, self.height), size, strict=True)
        )
        if right > size[0] or bottom > size[1]:
            raise ImageError(
                f"{name} has {size[0]} x {size[1]} pixels, and the region {self} reaches beyond them",
                reason=SkipReason.OUTSIDE,
            )
        return Box(left=left, top=top, width=right - left, height=bottom - top)

    def _edges(self, start: float, length: float, side: int) -> tuple[int, int]:
        """Returns the first pixel of a region along one side, and the first one behind it."""
        first, last = start, start + length
        if self.unit is Unit.PERCENT:
            first, last = first * side / _WHOLE, min(last * side / _WHOLE, side)
        if (low := _round(first)) < (high := _round(last)):
            return low, high
        low = max(0, min(math.floor((first + last) / 2), math.ceil(last) - 1))
        return low, low + 1


_NUMBERS = 4
_WHOLE = 100.0
_ROUNDING = 1e-9
"""What sums of percentages such as 33.3 and 66.7 may exceed 100 by."""


def _round(edge: float) -> int:
    """Returns the nearest whole number; `round` would send half of the halves down."""
    return math.floor(edge + 0.5)


def _require_four(numbers: Sequence[object]) -> None:
    if len(numbers) != _NUMBERS:
        raise _refusal(f"a region has 4 numbers, x, y, width and height, not {len(numbers)}")


def _refusal(problem: str) -> UsageError:
    return UsageError(f"{problem}; give x,y,width,height, as {EXAMPLES}", argument=Argument.REGION)
