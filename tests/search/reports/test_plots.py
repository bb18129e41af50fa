"""Plots as files: complete, of a sensible size, with names unchanged."""

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from lookalike_core.stores.points import Payload
from lookalike_search.evaluation.labelled_vectors import LabelledImages, LabelledVectors
from lookalike_search.evaluation.leave_one_out import leave_one_out
from lookalike_search.evaluation.summary import Evaluation, summarise
from lookalike_search.reports.plots import PLOT_SUFFIXES, is_plot, write_plot
from PIL import Image

MOST_PIXELS = 5_000


def evaluation(
    names: Sequence[str], *, title: str = "vgg16-cosine", noise: float = 0.5, each: int = 4
) -> Evaluation:
    """Returns an evaluation of clouds of a few images a class; noise makes confusion."""
    random = np.random.default_rng(0)
    classes = np.repeat(np.arange(len(names)), each)
    vectors = random.random((len(names), 16))[classes] + noise * random.random((len(classes), 16))
    images = LabelledImages(
        vectors=LabelledVectors(
            vectors=vectors,
            classes=classes,
            copies=np.arange(len(classes)),
            names=names,
            higher_is_nearer=True,
        ),
        payloads=[
            Payload(
                dataset="data",
                path=f"{number}.jpg",
                class_name=names[label],
                sha256=f"{number:064x}",
                width=1,
                height=1,
                bytes=1,
                mtime_ns=1,
                ingested_at="2026-01-01T00:00:00+00:00",
            )
            for number, label in enumerate(classes)
        ],
        unlabelled=0,
    )
    return summarise(title, images, leave_one_out(images.vectors))


def numbered(count: int) -> list[str]:
    """Returns names of classes."""
    return [f"class {number}" for number in range(count)]


def texts(file: Path) -> list[str]:
    """Returns the texts of an SVG, which is parsed as XML."""
    root = ET.parse(file).getroot()  # noqa: S314 - our own file
    return ["".join(each.itertext()).strip() for each in root.iter("{http://www.w3.org/2000/svg}text")]


def test_every_suffix_gives_its_format(tmp_path: Path) -> None:
    """PNG, SVG and PDF are written, in either case of the suffix, and no other file."""
    one = evaluation(numbered(3))
    for suffix in (*PLOT_SUFFIXES, ".PNG"):
        write_plot(tmp_path / f"plot{suffix}", [one])
    heads = {file.name: file.read_bytes()[:8] for file in tmp_path.iterdir()}
    assert heads.keys() == {"plot.png", "plot.svg", "plot.pdf", "plot.PNG"}
    assert heads["plot.png"] == heads["plot.PNG"] == b"\x89PNG\r\n\x1a\n"
    assert heads["plot.pdf"].startswith(b"%PDF-")
    assert heads["plot.svg"].startswith(b"<?xml")


def test_own_plots_are_recognised(tmp_path: Path) -> None:
    """A plot may be overwritten, any other image may not."""
    for suffix in PLOT_SUFFIXES:
        write_plot(tmp_path / f"plot{suffix}", [evaluation(numbered(3))])
        assert is_plot(tmp_path / f"plot{suffix}")
    Image.new("RGB", (9, 9)).save(tmp_path / "photo.png")
    assert not is_plot(tmp_path / "photo.png")


@pytest.mark.parametrize("count", [1, 2, 10, 15, 16, 60, pytest.param(150, marks=pytest.mark.slow)])
def test_a_plot_is_neither_empty_nor_huge(tmp_path: Path, count: int) -> None:
    """One class and more than have room for names are drawn, with a border that nothing touches."""
    write_plot(tmp_path / "plot.png", [evaluation(numbered(count))])
    with Image.open(tmp_path / "plot.png") as image:
        pixels = np.asarray(image.convert("RGB"))
    height, width, _ = pixels.shape
    assert 1_000 < width < MOST_PIXELS
    assert 500 < height < MOST_PIXELS
    assert 0.005 < (pixels != 255).any(axis=2).mean() < 0.6
    for border in (pixels[:20], pixels[-20:], pixels[:, :20], pixels[:, -20:]):
        assert (border == 255).all(), "something is cut off"


def test_names_are_not_parsed_as_formulas(tmp_path: Path) -> None:
    """In an SVG they are text, for search and screen readers; cells hold the shares."""
    one = evaluation(["ant", "bee"], noise=3, each=12)
    other = evaluation(["ant", "bee"], title="resnet101v2-cosine", each=12)
    write_plot(tmp_path / "plot.svg", [one, other])
    found = texts(tmp_path / "plot.svg")
    assert found.count("ant") == found.count("bee") == 2
    assert "vgg16-cosine" in found
    assert "resnet101v2-cosine" in found
    assert "resnet101v2-cosine, which has the highest precision@10 of 2 settings" in " ".join(found)
    row = one.confusion[0] / one.confusion[0].sum()
    write_plot(tmp_path / "plot.svg", [one])
    for share in row:
        assert f"{100 * share:.0f}" in texts(tmp_path / "plot.svg")


@pytest.mark.parametrize("suffix", PLOT_SUFFIXES)
def test_names_are_taken_as_they_are(tmp_path: Path, suffix: str) -> None:
    """Formulas, markup, missing glyphs and control characters do not stop a plot."""
    names = [
        "$\\frac{1}$",
        "$x^",
        "<b>&amp;",
        "\u732b\u3068\u72ac",
        "\u0645\u0631\u062d",
        "\U0001f600",
        "a\x07\n\x1b[31m",
        "_",
        "x" * 300,
        "\udcff",
    ]
    titles = ["_hidden $", "\u732b\n\x00"]
    file = tmp_path / f"plot{suffix}"
    write_plot(file, [evaluation(names, title=title) for title in titles])
    assert file.stat().st_size > 1_000
    if suffix == ".svg":
        found = texts(file)
        assert {"$\\frac{1}$", "$x^", "<b>&amp;", "\u732b\u3068\u72ac", "a\\x07\\n\\x1b[31m", "_"} <= set(
            found
        )
        assert "x" * 23 + "\u2026" in found


def test_many_settings_have_lines_of_their_own(tmp_path: Path) -> None:
    """Also more settings than colours are each in the legend."""
    titles = [f"resnet101v2-cosine + vgg16-cosine ({number})" for number in range(10)]
    write_plot(tmp_path / "plot.svg", [evaluation(numbered(3), title=title) for title in titles])
    assert set(titles) <= set(texts(tmp_path / "plot.svg"))


def test_plots_are_reproducible(tmp_path: Path) -> None:
    """The same evaluation gives the same bytes."""
    one = evaluation(numbered(3))
    for name in ("one.svg", "other.svg"):
        write_plot(tmp_path / name, [one])
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "other.svg").read_bytes()


def test_an_error_leaves_the_old_plot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No partial or temporary file is left."""
    from matplotlib.figure import Figure

    def fail(_: Figure, file: Path, **__: object) -> None:
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    file = tmp_path / "plot.png"
    file.write_bytes(b"old")
    monkeypatch.setattr(Figure, "savefig", fail)
    with pytest.raises(OSError, match="No space left"):
        write_plot(file, [evaluation(numbered(2))])
    assert file.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [file]


def test_plots_leave_global_state_alone(tmp_path: Path) -> None:
    """Other figures drawn in this process do not change."""
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    write_plot(tmp_path / "plot.png", [evaluation(numbered(2))])
    assert dict(mpl.rcParams) == before
