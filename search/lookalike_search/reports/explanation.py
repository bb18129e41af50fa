"""The page of `search explain`: what cells add to a similarity, drawn over both images."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lookalike_core.models.backbones import get_backbone

from lookalike_search.analysis.attribution import FloatMatrix, Focus, find_focus, strongest_pairs
from lookalike_search.analysis.explanation import Explained, SeenImage
from lookalike_search.reports.page import Page

PAIRS = 8
PART_UNIT = 1e-6
"""Parts of pairs stand on the page as whole numbers of this, or a fine map's pairs would fill it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """The scale of colours, in shares of the cosine: from `low` over `even` to `high`."""

    low: float
    even: float
    high: float

    def heat(self, share: float) -> float:
        """Returns the position of a share between `low` and `high`, 0 to 1."""
        return (share - self.low) / (self.high - self.low) if self.high > self.low else 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A cell to draw: its place on the displayed image, its share and the strength of its colour."""

    row: int
    column: int
    x: float
    y: float
    width: float
    height: float
    share: float
    heat: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two images; `cells` are in rows, `square` is what the network sees: left, top, side."""

    role: str
    image: SeenImage
    square: tuple[float, float, float]
    cells: Sequence[Sequence[Cell]]
    focus: Focus


def explanations_page(images: Sequence[SeenImage], explained: Sequence[Explained]) -> Page:
    """Returns the page: both images once for each network."""
    return Page("explained.html", sections=[explained_section(each, images) for each in explained])


def explained_section(explained: Explained, images: Sequence[SeenImage]) -> dict[str, object]:
    """Returns what `templates/explanation.html` shows of an explanation: both images with their cells."""
    explanation = explained.explanation
    maps = (explanation.query, explanation.neighbour)
    scale = _scale(maps, explanation.cosine)
    return {
        "explained": explained,
        "network": get_backbone(explained.manifest.identity.backbone).title,
        "scale": scale,
        "is_even": scale.high < 2 * scale.even,
        "unit": (100 / explanation.cosine, " %") if explanation.cosine > 0 else (1, ""),
        "sides": [
            _side(role, image, shares, scale)
            for role, image, shares in zip(("query", "neighbour"), images, maps, strict=True)
        ],
        "strongest": strongest_pairs(explanation, PAIRS),
        "parts": [[round(part / PART_UNIT) for part in row] for row in explanation.pairs.tolist()],
    }


def _scale(maps: Sequence[FloatMatrix], cosine: float) -> Scale:
    """Returns one scale for both images, so that a colour means the same share in both."""
    return Scale(
        low=min(float(shares.min()) for shares in maps),
        even=cosine / maps[0].size,
        high=max(float(shares.max()) for shares in maps),
    )


def _side(role: str, image: SeenImage, shares: FloatMatrix, scale: Scale) -> Side:
    width, height = image.shown.width, image.shown.height
    edge = min(width, height)
    square = ((width - edge) / 2, (height - edge) / 2, float(edge))
    cells = list(_cells(shares, square, scale))
    return Side(role=role, image=image, square=square, cells=cells, focus=find_focus(shares))


def _cells(shares: FloatMatrix, square: tuple[float, float, float], scale: Scale) -> Iterator[Sequence[Cell]]:
    """Yields rows of cells, which divide the centre square of an image, the part that the network sees."""
    left, top, side = square
    height, width = side / shares.shape[0], side / shares.shape[1]
    for row, values in enumerate(shares.tolist()):
        yield [
            Cell(
                row=row,
                column=column,
                x=left + column * width,
                y=top + row * height,
                width=width,
                height=height,
                share=share,
                heat=scale.heat(share),
            )
            for column, share in enumerate(values)
        ]
