"""The pages of query, evaluate and duplicates: what they say, and that they hold in a real browser."""

import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from chromium import Tab
from lookalike_core.cli.console import Quiet
from lookalike_core.errors import SkipReason
from lookalike_core.images.thumbnails import Thumbnail
from lookalike_core.models.model_manifest import WeightsKind, WeightsSource
from lookalike_core.neighbours.vote import Verdict, VoteRule
from lookalike_core.stores.collection_manifest import CollectionManifest, Distance
from lookalike_core.stores.points import Payload
from lookalike_search.analysis.duplicates import Group, KeptBecause, Match, Member
from lookalike_search.analysis.file_state import FileState
from lookalike_search.asking.answers import Answer, Neighbour, Placing, QueryOptions, Unanswered
from lookalike_search.evaluation.comparisons import Contest, compared
from lookalike_search.evaluation.head_splits import MEANINGS, Part, PartFigures, parts_of
from lookalike_search.evaluation.labelled_vectors import LabelledPictures
from lookalike_search.evaluation.leave_one_out import LabelledVectors, leave_one_out
from lookalike_search.evaluation.summary import Evaluation, summed_up
from lookalike_search.reports import evaluation as evaluation_page
from lookalike_search.reports.duplicates import duplicates_report, write_duplicates_page
from lookalike_search.reports.evaluation import EvaluationReport, section_view, write_evaluation_page
from lookalike_search.reports.page import write_page
from lookalike_search.reports.query import query_report, write_query_page
from lookalike_search.reports.thumbnail_gallery import SIZES, SMALLEST, Gallery
from made_collections import manifest_of, payload_of
from page_rules import ReadPage, read_page

Draw = Callable[..., list[Path]]

HOSTILE = """<b>"cat's"</b> & co"""
"""A class, and a folder."""
FIGURES = {
    "precision_at_1": "precision@1",
    "precision_at_10": "precision@10",
    "mean_average_precision": "mean average precision",
}
PER_CLASS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection:
    """Drawn pictures of three classes in a folder, one of them gone, with vectors that overlap."""

    root: Path
    manifest: CollectionManifest
    payloads: Sequence[Payload]
    evaluation: Evaluation

    def file(self, row: int) -> Path:
        """Where a picture lies."""
        return self.root / self.payloads[row].path

    def neighbour(self, rank: int, row: int, score: float) -> Neighbour:
        """A hit as a search has it."""
        return Neighbour(rank=rank, score=score, payload=self.payloads[row], file=self.file(row))

    def answer(self, row: int, **changes: object) -> Answer:
        """What an evaluation found for a picture, as an answer."""
        found = self.evaluation.results
        pairs = zip(found.neighbours[row].tolist(), found.scores[row].tolist(), strict=True)
        verdict = self.evaluation.pictures.vectors.names[found.verdicts[VoteRule.NEARER_TIES][row]]
        answer = Answer(
            query=self.payloads[row].path,
            file=self.file(row),
            indexed=self.payloads[row],
            hits=[self.neighbour(rank, *pair) for rank, pair in enumerate(pairs, start=1)],
            verdict=Verdict(class_name=verdict, share=0.7, voters=10),
            provider=None,
            load_ms=0,
            embed_ms=0,
            search_ms=0,
        )
        return replace(answer, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory, draw: Draw) -> Collection:
    """See `Collection`."""
    root = tmp_path_factory.mktemp("pictures")
    names = sorted([HOSTILE, "dog", "\u05d0\u05d1"])
    folders = {HOSTILE: "<b>", "dog": "dog", "\u05d0\u05d1": "\u05d0\u05d1"}
    labels = [name for name in names for _ in range(PER_CLASS)]
    paths = [f"{folders[name]}/{number}'.png" for number, name in enumerate(labels)]
    draw(root, *paths)
    (root / paths[3]).unlink()
    classes = np.repeat(np.arange(len(names)), PER_CLASS)
    random = np.random.default_rng(0)
    vectors = np.eye(8)[classes] + random.normal(0, 0.75, (len(labels), 8))
    payloads = [payload(path, name) for path, name in zip(paths, labels, strict=True)]
    pictures = LabelledPictures(
        vectors=LabelledVectors(
            vectors=vectors.astype(np.float32),
            classes=classes,
            copies=np.arange(len(labels)),
            names=names,
            higher_is_nearer=True,
        ),
        payloads=payloads,
        unlabelled=2,
    )
    evaluation = summed_up("vgg16-cosine", pictures, leave_one_out(pictures.vectors))
    return Collection(root=root, manifest=manifest(root), payloads=payloads, evaluation=evaluation)


def payload(path: str, class_name: str | None) -> Payload:
    """Of a picture whose bytes are its path's."""
    return payload_of(path, class_name=class_name, sha256=path, width=64, height=48, bytes=2_000)


def manifest(root: Path, distance: Distance = Distance.COSINE) -> CollectionManifest:
    """Of a collection of the dataset `data`, by official weights."""
    official = WeightsSource(kind=WeightsKind.IMAGENET, official=True)
    return replace(manifest_of(distance, 8, {"data": str(root)}), weights=official)


def query_page(collection: Collection, path: Path, *outcomes: Answer | Unanswered) -> ReadPage:
    """The page of these, read."""
    report = query_report(outcomes, [collection.manifest], QueryOptions())
    write_query_page(path, report, reporter=Quiet())
    return read_page(path)


def evaluated_page(collection: Collection, path: Path, *evaluations: Evaluation) -> ReadPage:
    """The page of these, read; each is compared with the first, and has a head."""
    first, *_ = evaluations
    sections = []
    for number, each in enumerate(evaluations):
        contest = Contest(
            one=first.collection,
            other=each.collection,
            one_values=first.values,
            other_values=each.values,
            is_partial=True,
        )
        gains = compared([contest] if number else [])
        section = section_view(
            each, number=number, manifest=collection.manifest, differences=gains, parts=parts_seen(each)
        )
        sections.append(section)
    write_evaluation_page(path, EvaluationReport(figures=FIGURES, k=10, sections=sections), reporter=Quiet())
    return read_page(path)


def parts_seen(evaluation: Evaluation) -> list[PartFigures]:
    """Of a head that learned from every other picture of the first two classes."""
    payloads = evaluation.pictures.payloads
    classes = evaluation.pictures.vectors.names[:2]
    trained = {each.sha256 for each in payloads[::2] if each.class_name in classes}
    return list(parts_of(evaluation.values, payloads, trained=trained, classes=classes))


def group(collection: Collection, kept: int, *others: int) -> Group:
    """A group of these pictures; of the first other the bytes are the same, the last is not offered."""

    def member(row: int, *, identical: bool, redundant: bool) -> Member:
        there = collection.file(row).exists()
        return Member(
            payload=collection.payloads[row],
            file=collection.file(row),
            state=FileState.PRESENT if there else FileState.GONE,
            similarity=1.0 if identical else 0.9931,
            match=Match.IDENTICAL if identical else Match.NEAR_DUPLICATE,
            is_redundant=redundant,
            frees=2_000 if redundant else 0,
        )

    return Group(
        kept=member(kept, identical=True, redundant=False),
        because=KeptBecause.PIXELS,
        others=[
            member(row, identical=place == 0, redundant=row != others[-1]) for place, row in enumerate(others)
        ],
    )


Kind = Literal["query", "evaluation", "duplicates"]


def written(kind: Kind, collection: Collection, path: Path) -> ReadPage:
    """One page of each kind with everything on it."""
    if kind == "query":
        gone = Unanswered(query=f"{HOSTILE}\0\u202e", file=None, problem="it is <not> there")
        return query_page(collection, path, *(collection.answer(row) for row in range(0, 36, 5)), gone)
    if kind == "evaluation":
        second = replace(collection.evaluation, collection="vgg16-euclid")
        return evaluated_page(collection, path, collection.evaluation, second)
    groups = [group(collection, 0, 1, 2, 3), group(collection, 12, 13)]
    report = duplicates_report(groups, collection="vgg16-cosine", above=0.99)
    write_duplicates_page(path, report, reporter=Quiet())
    return read_page(path)


KINDS: tuple[Kind, ...] = ("query", "evaluation", "duplicates")


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_keeps_to_the_rules(kind: Kind, collection: Collection, tmp_path: Path) -> None:
    """Balanced tags, unique ids, links that lead somewhere, names for pictures, headings in order."""
    page = written(kind, collection, tmp_path / "a.html")
    assert page.problems == []
    assert "<b>" in page.text
    assert "\u202e" not in page.source
    assert not [each for each in page.elements if each.name in {"b", "script"}]


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_is_quiet_in_a_browser_and_asks_for_nothing(
    kind: Kind, collection: Collection, tmp_path: Path, tab: Tab
) -> None:
    """No console message, no request but for the file itself, and no sideways scrolling on a phone."""
    path = tmp_path / "a.html"
    written(kind, collection, path)
    for width, phone in ((1280, False), (360, True)):
        tab.show_as(width=width, phone=phone)
        tab.open(path)
        assert tab.logged == []
        assert [url for url in tab.requested if not url.startswith("data:")] == [path.as_uri()]
        assert tab.run("document.documentElement.scrollWidth") <= width
        assert tab.run("document.scripts.length") == 0


@pytest.mark.parametrize("kind", KINDS)
def test_every_thumbnail_is_drawn_and_no_other_rule(
    kind: Kind, collection: Collection, tmp_path: Path, tab: Tab
) -> None:
    """The browser finds a picture behind each class that an element has, and a note where there is none."""
    written(kind, collection, tmp_path / "a.html")
    tab.open(tmp_path / "a.html")
    empty = tab.run(
        "[...document.querySelectorAll('.p')].filter(e => !e.classList.contains('gone') && "
        "getComputedStyle(e).backgroundImage.slice(0, 9) !== 'url(\"data').length"
    )
    assert empty == 0
    assert tab.run("document.querySelectorAll('.p').length") > 5


@pytest.mark.parametrize("kind", KINDS)
def test_right_and_wrong_have_contrast_in_both_schemes(
    kind: Kind, collection: Collection, tmp_path: Path, tab: Tab
) -> None:
    """Text stands out by at least 4.5 to 1 (WCAG 2.2, 1.4.3), on the ground as on cards."""
    written(kind, collection, tmp_path / "a.html")
    for scheme in ("light", "dark"):
        tab.show_as(scheme="dark" if scheme == "dark" else "light")
        tab.open(tmp_path / "a.html")
        colours = tab.run(
            "(() => { const style = getComputedStyle(document.documentElement); return Object.fromEntries("
            "['ink', 'faint', 'accent', 'right', 'wrong', 'ground', 'card'].map("
            "name => [name, style.getPropertyValue('--' + name).trim()])) })()"
        )
        for ground in ("ground", "card"):
            for name in ("ink", "faint", "accent", "right", "wrong"):
                assert contrast(colours[name], colours[ground]) >= 4.5, (scheme, name, ground)
    tab.show_as()


def contrast(one: str, other: str) -> float:
    """Of two colours `#rrggbb` (WCAG 2.2, contrast ratio)."""

    def luminance(colour: str) -> float:
        parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_a_page_prints_with_its_pictures(collection: Collection, tmp_path: Path, tab: Tab) -> None:
    """Also where the person who prints does not ask for backgrounds, which thumbnails are."""
    written("query", collection, tmp_path / "a.html")
    tab.open(tmp_path / "a.html")
    tab.print_to(tmp_path / "a.pdf")
    with_pictures = (tmp_path / "a.pdf").read_bytes().count(b"/Subtype /Image")
    assert with_pictures > 10


def test_a_query_shows_its_verdict_and_each_neighbour(collection: Collection, tmp_path: Path) -> None:
    """Rank, score, class and path of each, right and wrong in words, and the vote with its rule."""
    answer = collection.answer(13)
    page = query_page(collection, tmp_path / "a.html", answer)
    assert page.text.startswith(f"Neighbours of {answer.query} - Lookalike")
    assert "70 % of the vote of 10 neighbours (shown: " in page.text
    assert "nearer-ties" in page.text
    for hit in answer.hits:
        mark = "✓ right" if hit.payload.class_name == "dog" else "✗ wrong"
        said = f"{hit.rank}. {hit.payload.class_name} {mark} similarity {hit.score:.4f} {hit.payload.path}"
        assert said in page.text
    assert "same class" not in page.text  # nothing is known of chances
    wrong = sum(hit.payload.class_name != "dog" for hit in answer.hits)
    assert len(page.with_class("hit")) == 10
    assert len([each for each in page.with_class("hit") if "is-wrong" in str(each.attributes)]) == wrong > 0


def test_nothing_is_right_or_wrong_of_a_query_whose_class_nobody_knows(
    collection: Collection, tmp_path: Path
) -> None:
    """A picture from elsewhere gets a verdict, and no judgement on it."""
    page = query_page(collection, tmp_path / "a.html", collection.answer(13, indexed=None))
    assert "Verdict:" in page.text
    assert not page.with_class("mark")
    assert not page.with_class("is-wrong")


def test_chances_and_networks_are_shown_where_they_are_known(collection: Collection, tmp_path: Path) -> None:
    """Chance beside similarity, never in its place; a network that lacks the picture says so."""
    answer = collection.answer(13)
    placings = {"vgg16-cosine": Placing(rank=2, score=0.5), "resnet101v2-cosine": None}
    hits = [replace(answer.hits[0], chance=0.868, placings=placings)]
    page = query_page(collection, tmp_path / "a.html", replace(answer, hits=hits))
    assert f"similarity {hits[0].score:.4f} ≈ 87 % same class" in page.text
    assert "vgg16: rank 2, 0.5000" in page.text
    assert "resnet101v2-cosine: not in it" in page.text  # of a collection that was not asked


def test_a_calibrated_answer_says_how_often_such_a_verdict_is_right(
    collection: Collection, tmp_path: Path
) -> None:
    """And that there is none where the picture is unlike anything indexed."""
    sure = collection.answer(13, verdict_chance=0.93, unlike_anything=False)
    page = query_page(collection, tmp_path / "a.html", sure)
    assert "; estimated chance to be right: ≈ 93 %" in page.text
    far = collection.answer(13, verdict=None, unlike_anything=True)
    page = query_page(collection, tmp_path / "a.html", far)
    assert "No verdict: the picture is unlike anything indexed." in page.text


def test_an_unread_query_has_its_place_and_its_reason(collection: Collection, tmp_path: Path) -> None:
    """The others are answered; nothing is left out in silence."""
    gone = Unanswered(query="x.jpg", file=None, problem="x.jpg is not there")
    page = query_page(collection, tmp_path / "a.html", gone, collection.answer(0))
    assert "Not answered: x.jpg is not there" in page.text
    assert len(page.with_class("query")) == 2


def test_a_file_that_is_gone_leaves_a_note(collection: Collection, tmp_path: Path) -> None:
    """Its row stays, with its score and its path."""
    page = query_page(collection, tmp_path / "a.html", collection.answer(3))
    assert [each.attributes["aria-label"] for each in page.with_class("gone")] == ["The query: file is gone"]


def test_wrong_verdicts_can_be_shown_alone(collection: Collection, tmp_path: Path, tab: Tab) -> None:
    """Without a script, by keyboard or by touch."""
    rows = range(0, 36, 2)
    page = query_page(collection, tmp_path / "a.html", *map(collection.answer, rows))
    wrong = sum("is-wrong" in str(each.attributes) for each in page.with_class("query"))
    assert 0 < wrong < len(rows)
    tab.open(tmp_path / "a.html")
    seen = "[...document.querySelectorAll('.query')].filter(e => e.getClientRects().length).length"
    assert tab.run(seen) == len(rows)
    tab.run("document.querySelector('#show-wrong').click()")
    assert tab.run(seen) == wrong


def test_each_picture_is_in_the_page_once(collection: Collection, tmp_path: Path) -> None:
    """However often it is shown."""
    page = query_page(collection, tmp_path / "a.html", *map(collection.answer, range(36)))
    assert len(re.findall(r"\.t\d+\{", page.source)) == 35  # one is gone
    assert len(page.with_class("p")) == 36 * 11


def test_a_thousand_queries_without_a_picture_in_common_stay_under_30_mb(tmp_path: Path) -> None:
    """11,000 thumbnails, each half as large again as those of photos are on average."""
    size, count = 1_600, 11_000
    assert len([most for most in SIZES if most >= count]) == 0
    data = np.random.default_rng(0).bytes(size)
    files = [Path(f"/pictures/some-class/a-name-of-some-length-{number:05}.jpg") for number in range(count)]
    made = Thumbnail(data=data, media_type=f"image/{SMALLEST[1]}", width=96, height=64)
    gallery = Gallery(hung=dict.fromkeys(files, made), numbers={file: n for n, file in enumerate(files)})
    answers = []
    for query in range(1_000):
        hits = [
            Neighbour(
                rank=rank,
                score=0.9,
                payload=payload(f"some-class/{file.name}", "some-class"),
                file=file,
                chance=0.8,
            )
            for rank, file in enumerate(files[1_000 + 10 * query : 1_010 + 10 * query], start=1)
        ]
        indexed = payload(f"some-class/{files[query].name}", "some-class")
        answers.append(
            Answer(
                query=str(files[query]),
                file=files[query],
                indexed=indexed,
                hits=hits,
                verdict=Verdict(class_name="some-class", share=1.0, voters=10),
                provider=None,
                load_ms=0,
                embed_ms=0,
                search_ms=0,
            )
        )
    report = query_report(answers, [manifest(tmp_path)], QueryOptions())
    write_page(tmp_path / "a.html", "query.html", report=report, gallery=gallery)
    source = (tmp_path / "a.html").read_text()
    assert source.count(base64.b64encode(data).decode()) == count
    assert len(source) < 30e6


def test_an_evaluation_shows_its_figures_with_intervals(collection: Collection, tmp_path: Path) -> None:
    """As `search evaluate` prints them, in percent."""
    page = evaluated_page(collection, tmp_path / "a.html", collection.evaluation)
    for key, name in FIGURES.items():
        found = collection.evaluation.figures[key]
        said = f"{name}{100 * found.value:.1f} %{100 * found.low:.1f} to {100 * found.high:.1f} %"
        assert said in page.text.replace("\N{NO-BREAK SPACE}", " ")
    assert "2 without a class were left out" in page.text
    assert collection.evaluation.reliability is not None
    for rule in VoteRule:
        assert rule in page.text
        assert f"{collection.evaluation.reliability.verdicts[rule]:.4f}" in page.text


def test_the_confusion_table_is_that_of_the_evaluation(collection: Collection, tmp_path: Path) -> None:
    """Row by row, and every confusion links to a section with its pictures."""
    evaluation = collection.evaluation
    section = section_view(evaluation, number=0, manifest=collection.manifest)
    counts = [[cell.count for cell in cells] for _, cells in section.rows]
    assert counts == evaluation.confusion.tolist()
    for i, (_, cells) in enumerate(section.rows):
        assert sum(cell.share for cell in cells) == pytest.approx(1)
        for j, cell in enumerate(cells):
            assert (cell.anchor is not None) == (i != j and cell.count > 0)
    assert max(cell.heat for _, cells in section.rows for cell in cells if not cell.is_right) == 1
    page = evaluated_page(collection, tmp_path / "a.html", evaluation)
    assert len(page.with_class("confusion")) == len(section.confusions) > 0


def test_worst_confusions_come_first_with_real_examples(collection: Collection) -> None:
    """Each pair is a query with a neighbour of the intruding class, as the evaluation found it."""
    evaluation = collection.evaluation
    section = section_view(evaluation, number=0, manifest=collection.manifest)
    shares = [confusion.share for confusion in section.confusions]
    assert shares == sorted(shares, reverse=True)
    rows = {each.path: row for row, each in enumerate(collection.payloads)}
    for confusion in section.confusions:
        assert 0 < len(confusion.pairs) <= 8
        ranks = [neighbour.rank for _, neighbour in confusion.pairs]
        assert ranks == sorted(ranks)
        for query, neighbour in confusion.pairs:
            assert (query.class_name, neighbour.class_name) == (confusion.own, confusion.intruder)
            found = evaluation.results.neighbours[rows[query.path]]
            assert found[neighbour.rank - 1] == rows[neighbour.path]


def test_wrong_verdicts_are_all_there_the_worst_first(collection: Collection) -> None:
    """Ordered by how few of the ten are right."""
    evaluation = collection.evaluation
    section = section_view(evaluation, number=0, manifest=collection.manifest)
    verdicts = evaluation.results.verdicts[VoteRule.NEARER_TIES]
    wrong = {
        collection.payloads[row].path
        for row in np.flatnonzero(verdicts != evaluation.pictures.vectors.classes)
    }
    assert {case.query.path for case in section.wrong} == wrong
    assert len(wrong) == section.wrong_count > 2
    right = [sum(neighbour.is_right for neighbour in case.neighbours) for case in section.wrong]
    assert right == sorted(right)
    assert all(case.verdict != case.query.class_name for case in section.wrong)


def test_more_classes_and_queries_than_fit_are_said_to_be(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table keeps the classes that err most; what is left out is counted."""
    monkeypatch.setattr(evaluation_page, "TABLE_CLASSES", 2)
    monkeypatch.setattr(evaluation_page, "CONFUSIONS", 1)
    monkeypatch.setattr(evaluation_page, "WRONG_QUERIES", 1)
    page = evaluated_page(collection, tmp_path / "a.html", collection.evaluation)
    assert page.problems == []
    assert "The 2 classes with the most wrong neighbours of 3." in page.text
    assert "the first 1 are shown" in page.text
    assert len(page.with_class("confusion")) == 1


def test_a_perfect_collection_has_a_page_too(collection: Collection, tmp_path: Path) -> None:
    """No confusion, no wrong verdict, and nothing that divides by them."""
    pictures = collection.evaluation.pictures
    clear = np.eye(8, dtype=np.float32)[pictures.vectors.classes]
    clear += np.random.default_rng(0).normal(0, 0.01, clear.shape).astype(np.float32)
    pictures = replace(pictures, vectors=replace(pictures.vectors, vectors=clear))
    evaluation = summed_up("perfect", pictures, leave_one_out(pictures.vectors))
    page = evaluated_page(collection, tmp_path / "a.html", evaluation)
    assert page.problems == []
    assert not page.with_class("confusion")
    assert "0 wrong verdicts" in page.text


def test_several_collections_stand_side_by_side(collection: Collection, tmp_path: Path) -> None:
    """One section each, compared in a table, with differences only where they are certain."""
    second = replace(collection.evaluation, collection="vgg16-euclid")
    page = evaluated_page(collection, tmp_path / "a.html", collection.evaluation, second)
    assert page.problems == []
    assert len(page.with_class("collection")) == 2
    assert "no certain difference" in page.text
    assert "corrected for these 3 comparisons" in page.text
    assert "vgg16-cosine, over 36 shared pictures" in page.text


def test_an_evaluation_tells_apart_what_a_head_saw(collection: Collection, tmp_path: Path) -> None:
    """Every figure of every part with its interval; nothing where there is no head."""
    page = evaluated_page(collection, tmp_path / "a.html", collection.evaluation)
    text = page.text.replace("\N{NO-BREAK SPACE}", " ")
    parts = parts_seen(collection.evaluation)
    assert [part.part for part in parts] == [*Part]
    for part in parts:
        assert f"{part.part}: {MEANINGS[part.part]}" in text
    for key, name in FIGURES.items():
        found = [part.figures[key] for part in parts]
        said = (f"{100 * f.value:.1f} %{100 * f.low:.1f} to {100 * f.high:.1f} %" for f in found)
        assert name + "".join(said) in text
    section = section_view(collection.evaluation, number=0, manifest=collection.manifest)
    report = EvaluationReport(figures=FIGURES, k=10, sections=[section])
    write_evaluation_page(tmp_path / "b.html", report, reporter=Quiet())
    assert "What the head saw" in page.text
    assert "What the head saw" not in read_page(tmp_path / "b.html").text


LONG = "resnet101v2-conv5_block1_preact_relu-w5b0ab088-{0} + vgg16-block4_pool-max-w2cd5ce3e-{0} (calibrated)"
A4_PX = 680
"""About what is left of an A4 page between the page's margins."""


@pytest.mark.parametrize(("media", "width"), [("screen", 1100), ("print", A4_PX)])
def test_long_names_leave_room_for_the_figures(
    collection: Collection, tmp_path: Path, tab: Tab, media: str, width: int
) -> None:
    """Two fused rankings are compared with every figure in sight, without scrolling and on paper."""
    figures = {key: key.replace("_", " ") for key in collection.evaluation.figures}
    sections = [
        section_view(
            replace(collection.evaluation, collection=LONG.format(distance)),
            number=number,
            manifest=collection.manifest,
            differences=[],
        )
        for number, distance in enumerate(Distance)
    ]
    path = tmp_path / "a.html"
    write_evaluation_page(path, EvaluationReport(figures=figures, k=10, sections=sections), reporter=Quiet())
    tab.show_as(width=width)
    tab("Emulation.setEmulatedMedia", media=media)
    try:
        tab.open(path)
        cells = tab.run(
            "[...document.querySelector('table').querySelectorAll('td.number')]"
            ".map(cell => cell.getBoundingClientRect().right)"
        )
    finally:
        tab("Emulation.setEmulatedMedia", media="")
    assert len(cells) == 2 * (1 + len(figures))
    assert max(cells) <= width


def test_duplicates_show_what_to_keep_and_what_could_go(collection: Collection, tmp_path: Path) -> None:
    """In words, with sizes; a file that is gone has a note, and groups that free most come first."""
    groups = [group(collection, 12, 13), group(collection, 0, 1, 2, 3)]
    report = duplicates_report(groups, collection="vgg16-cosine", above=0.99)
    write_duplicates_page(tmp_path / "a.html", report, reporter=Quiet())
    page = read_page(tmp_path / "a.html")
    assert [len(view.members) for view in report.groups] == [4, 2]
    assert "2 groups of 6 images. 2 files could go, which would free 4.0 kB" in page.text
    assert "✓ keep most pixels 64 \N{MULTIPLICATION SIGN} 48, 2.0 kB" in page.text
    assert "✗ could go same bytes" in page.text
    assert "✗ could go near-duplicate, proven on the pixels, similarity 0.9931" in page.text
    assert "\N{EN DASH} stays near-duplicate, proven on the pixels, similarity 0.9931 64" in page.text
    assert "48, 2.0 kB gone since it was ingested" in page.text
    assert len(page.with_class("gone")) == 1


def test_no_duplicates_are_a_page_that_says_so(tmp_path: Path) -> None:
    """Not an empty one."""
    report = duplicates_report([], collection="vgg16-cosine", above=0.99)
    write_duplicates_page(tmp_path / "a.html", report, reporter=Quiet())
    page = read_page(tmp_path / "a.html")
    assert page.problems == []
    assert "No image is there twice" in page.text


def test_few_pictures_are_sharp_and_many_are_small(tmp_path: Path, draw: Draw) -> None:
    """The edge follows their number; what cannot be shown keeps its place."""
    files = draw(tmp_path, *(f"{number}.png" for number in range(3)), size=(600, 400))
    gallery = Gallery.of([*files, None, tmp_path / "gone.png", files[0]], Quiet())
    sizes = {made.width for made in gallery.hung.values() if isinstance(made, Thumbnail)}
    assert sizes == {288}
    assert gallery.hung[tmp_path / "gone.png"] is SkipReason.VANISHED
    assert gallery.frame(None).note == "no file is known"
    assert gallery.frame(tmp_path / "gone.png").note == "file is gone"
    assert len(list(gallery.rules())) == 3
