"""Draws the image of the README: a query and its ten nearest neighbours among what `ingest sample` draws.

    python scripts/readme_image.py docs/assets/ten-neighbours.png --weights vgg16_imagenet_notop.h5

The neighbours are those that the network finds, and are recorded in the image's text (`lookalike`, JSON) with
the collection that they are from; a test compares them with the README.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from lookalike_ingest.sample_images import draw_query, draw_sample
from PIL import Image, ImageDraw, ImageFont, ImageOps
from PIL.PngImagePlugin import PngInfo

import lookalike

CLASS_NAME = "apple"
WIDTH, HEIGHT = 1080, 430
MARGIN, GAP = 24, 16
THUMBNAIL, QUERY = 132, 250
PAPER, INK, GREY, EDGE = (247, 248, 250), (31, 35, 40), (89, 99, 110), (208, 215, 222)
COLOURS = 255
"""Of the palette, which keeps the file small."""

TEXT_KEY = "lookalike"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The neighbours of the query, in a collection."""

    collection: str
    query: Path
    hits: Sequence[lookalike.Hit]


def main(arguments: Sequence[str] | None = None) -> None:
    """Embeds the drawn set, searches, and writes the image."""
    parser = argparse.ArgumentParser(description="Draw the image of the README.")
    parser.add_argument("output", type=Path, help="the PNG to write")
    parser.add_argument("--weights", default="imagenet", help="imagenet, or a Keras .h5 file of VGG16")
    parser.add_argument("--layer", help="a Keras layer name")
    parser.add_argument("--folder", type=Path, help="where the set and the index are made, and used again")
    asked = parser.parse_args(arguments)
    model = lookalike.Model("vgg16", weights=asked.weights, layer=asked.layer)
    if asked.folder:
        asked.output.write_bytes(draw(search(asked.folder, model)))
    else:
        with tempfile.TemporaryDirectory() as folder:
            asked.output.write_bytes(draw(search(Path(folder), model)))


def search(folder: Path, model: lookalike.Model) -> Found:
    """Returns the ten nearest neighbours of an image that is not in the set."""
    query = folder / f"{CLASS_NAME}.jpg"
    if not query.exists():
        draw_sample(folder / "photos")
        draw_query(query, CLASS_NAME)
    with lookalike.open(folder / "photos.index", model=model) as index:
        index.add(folder / "photos")
        return Found(collection=index.collection, query=query, hits=list(index.search(query, limit=10)))


def draw(found: Found) -> bytes:
    """Returns the image as PNG."""
    image = Image.new("RGB", (WIDTH, HEIGHT), PAPER)
    pen = ImageDraw.Draw(image)
    small, large = ImageFont.load_default(15), ImageFont.load_default(17)
    top = (HEIGHT - QUERY) // 2 - GAP
    paste(image, found.query, (MARGIN, top), QUERY)
    pen.text((MARGIN, top + QUERY + 10), f"query: {found.query.name}", INK, large)
    left = MARGIN + QUERY + 3 * GAP
    step = THUMBNAIL + GAP
    for number, hit in enumerate(found.hits):
        x, y = left + number % 5 * step, MARGIN + 4 + number // 5 * (THUMBNAIL + 62)
        paste(image, hit.file, (x, y), THUMBNAIL)
        pen.text((x, y + THUMBNAIL + 7), f"{hit.rank}", INK, large)
        pen.text((x + THUMBNAIL, y + THUMBNAIL + 7), f"{hit.score:.4f}", INK, large, anchor="ra")
        pen.text((x, y + THUMBNAIL + 29), hit.path.rpartition("/")[2], GREY, small)
    out = BytesIO()
    flat = image.quantize(COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    flat.save(out, "PNG", optimize=True, pnginfo=text_of(found))
    return out.getvalue()


def paste(image: Image.Image, file: Path, place: tuple[int, int], side: int) -> None:
    """Pastes a square of an image, with an edge that is seen on a light and on a dark ground."""
    with Image.open(file) as opened:
        square = ImageOps.fit(opened.convert("RGB"), (side, side), Image.Resampling.LANCZOS)
    image.paste(square, place)
    x, y = place
    ImageDraw.Draw(image).rectangle((x - 1, y - 1, x + side, y + side), outline=EDGE)


def text_of(found: Found) -> PngInfo:
    """Returns what the image says of itself: how it was made, and its neighbours."""
    hits = [
        {"rank": hit.rank, "score": round(hit.score, 4), "class": hit.class_name, "path": hit.path}
        for hit in found.hits
    ]
    info = PngInfo()
    info.add_text(TEXT_KEY, json.dumps({"collection": found.collection, "hits": hits}))
    return info


if __name__ == "__main__":
    main()
