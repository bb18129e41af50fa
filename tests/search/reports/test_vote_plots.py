"""Plots and pages of studied votes: every rule, level and k is there, and nothing is cut off."""

import base64
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lookalike_search.evaluation.leave_one_out import Ballot, leave_one_out
from lookalike_search.evaluation.runs import Setting
from lookalike_search.evaluation.summary import Evaluation
from lookalike_search.evaluation.vote_study import (
    StudiedRule,
    StudyPart,
    VoteCounter,
    make_study,
    measure_votes,
)
from lookalike_search.reports.evaluation import evaluation_page
from lookalike_search.reports.plots import is_plot
from lookalike_search.reports.vote_plots import vote_plot_url, write_vote_plot
from page_rules import read_page
from PIL import Image
from report_pages import Collection, Draw, make_collection


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory, draw: Draw) -> Collection:
    """Returns a `Collection`."""
    return make_collection(tmp_path_factory.mktemp("pictures"), draw)


def studied(evaluation: Evaluation, *, ks: tuple[int, ...], levels: tuple[float, ...]) -> Evaluation:
    """Returns an evaluation with a study of its vectors, moved by each level."""
    images, random = evaluation.images.vectors, np.random.default_rng(0)

    def part(noise: float | None) -> StudyPart:
        moved = replace(
            images, vectors=images.vectors + (noise or 0) / 20 * random.random(images.vectors.shape)
        )
        counter = VoteCounter(Ballot.of(moved), ks)
        results = leave_one_out(moved, on_block=counter.add)
        return measure_votes(
            counter.votes(),
            np.arange(len(images.classes)),
            classes=images.classes,
            relevant=results.relevant,
            noise=noise,
        )

    study = make_study(part(None), [part(level) for level in levels], provider="CPUExecutionProvider")
    return replace(evaluation, vote_study=study)


def texts(file: Path) -> list[str]:
    """Returns the texts of an SVG, which is parsed as XML."""
    root = ET.parse(file).getroot()  # noqa: S314 - our own file
    return ["".join(each.itertext()).strip() for each in root.iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize(
    ("ks", "levels", "axis"),
    [((1, 5, 10), (0.0, 10.0, 20.0), "k"), ((3,), (0.0, 10.0), "noise"), ((2, 3), (), "k")],
)
def test_each_rule_has_a_panel(
    collection: Collection, tmp_path: Path, ks: tuple[int, ...], levels: tuple[float, ...], axis: str
) -> None:
    """Lines are over k, or over noise where there is one k, and each is named."""
    evaluation = studied(collection.evaluation, ks=ks, levels=levels)
    write_vote_plot(tmp_path / "plot.svg", [evaluation])
    found = texts(tmp_path / "plot.svg")
    for rule in StudiedRule:
        assert found.count(rule) == 1
    assert found.count(axis) == len(StudiedRule)
    ticks = [f"{level:g}" for level in levels] if axis == "noise" else [str(k) for k in ks]
    assert all(found.count(tick) == len(StudiedRule) for tick in ticks)
    count = len(evaluation.images.payloads)
    names = [f"noise {level:g}, {count} images" for level in levels]
    names = [f"a sample of {count} images, 3 voters"] if axis == "noise" else names
    assert all(found.count(name) == 1 for name in names)


def test_a_plot_is_recognised_and_whole(collection: Collection, tmp_path: Path) -> None:
    """It may be overwritten, has a row for each studied evaluation, and nothing touches its border."""
    one = studied(collection.evaluation, ks=(1, 5), levels=(0.0, 10.0))
    heights = []
    for evaluations in ([one], [one, collection.evaluation, replace(one, collection="other " * 60)]):
        write_vote_plot(tmp_path / "plot.png", evaluations)
        assert is_plot(tmp_path / "plot.png")
        with Image.open(tmp_path / "plot.png") as image:
            pixels = np.asarray(image.convert("RGB"))
        heights.append(len(pixels))
        for border in (pixels[:20], pixels[-20:], pixels[:, :20], pixels[:, -20:]):
            assert (border == 255).all(), "something is cut off"
    assert heights[1] > 1.5 * heights[0]
    assert max(heights) < 3_000


def test_the_same_study_gives_the_same_bytes(collection: Collection, tmp_path: Path) -> None:
    """As the plots of an evaluation do."""
    one = studied(collection.evaluation, ks=(1, 5), levels=())
    for suffix in ("svg", "png", "pdf"):
        write_vote_plot(tmp_path / f"a.{suffix}", [one])
        write_vote_plot(tmp_path / f"b.{suffix}", [one])
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_too_few_queries_are_drawn_without_intervals(collection: Collection, tmp_path: Path) -> None:
    """Neither missing intervals nor missing figures stop a plot."""
    one = studied(collection.evaluation, ks=(1, 5), levels=(0.0,))
    assert one.vote_study is not None
    [calm] = one.vote_study.noisy
    nothing = measure_votes(
        calm.votes,
        calm.rows,
        classes=one.images.vectors.classes,
        relevant=np.zeros(len(calm.rows), dtype=np.int64),
        noise=0.0,
    )
    for stored in (one.vote_study.stored, replace(nothing, noise=None)):
        write_vote_plot(tmp_path / "plot.png", [replace(one, vote_study=make_study(stored, [nothing]))])
        assert is_plot(tmp_path / "plot.png")


def test_a_page_has_the_plot_and_the_table_of_a_study(collection: Collection, tmp_path: Path) -> None:
    """It keeps to the rules of pages; each figure of the table is a figure of the study."""
    evaluation = studied(collection.evaluation, ks=(1, 5), levels=(0.0, 30.0))
    setting = Setting(evaluation=evaluation, differences=[])
    file = tmp_path / "page.html"
    evaluation_page([setting], [collection.manifest], k=10).write(file)
    page = read_page(file)
    assert page.problems == []
    url = vote_plot_url(evaluation)
    assert base64.b64decode(url.partition(",")[2]).startswith(b"\x89PNG")
    assert url in page.source
    assert "Votes over k and noise" in page.text
    study = evaluation.vote_study
    assert study is not None
    for part in study.parts:
        for found in part.accuracy.values():
            assert all(f"{100 * each.value:.1f} %" in page.text for each in found.values())
    assert "noise 30, 36" in page.text
    assert "Noise against none, of the same rule and k" in page.text
    plain = Setting(evaluation=collection.evaluation, differences=[])
    assert "Votes over k" not in evaluation_page([plain], [collection.manifest], k=10).html()
