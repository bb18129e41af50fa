"""The contents of the pages of query, evaluate and duplicates."""

import base64
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from lookalike_core.errors import SkipReason
from lookalike_core.images.thumbnails import Thumbnail
from lookalike_core.neighbours.vote import Verdict, VoteRule
from lookalike_search.asking.answers import (
    Answer,
    ExactDuplicate,
    NearDuplicate,
    Neighbour,
    Placing,
    PredictionSet,
    QueryOptions,
)
from lookalike_search.evaluation.head_splits import MEANINGS, Part
from lookalike_search.evaluation.leave_one_out import leave_one_out
from lookalike_search.evaluation.runs import Setting
from lookalike_search.evaluation.summary import FIGURES, Evaluation, summarise
from lookalike_search.reports.duplicates import duplicates_page
from lookalike_search.reports.evaluation import Section, SectionLimits, evaluation_page, section_of
from lookalike_search.reports.query import query_page as page_of_queries
from lookalike_search.reports.thumbnail_gallery import SIZES, SMALLEST, Gallery
from page_rules import read_page
from report_pages import (
    KINDS,
    Collection,
    Draw,
    Kind,
    evaluated_page,
    group,
    head_parts,
    make_collection,
    manifest,
    payload,
    query_page,
    unanswered,
    write_page,
)


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory, draw: Draw) -> Collection:
    """Returns a `Collection`."""
    return make_collection(tmp_path_factory.mktemp("pictures"), draw)


def _section(collection: Collection, evaluation: Evaluation) -> Section:
    setting = Setting(evaluation=evaluation, differences=[])
    return section_of(setting, collection.manifest, number=0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_keeps_to_the_rules(kind: Kind, collection: Collection, tmp_path: Path) -> None:
    """Tags are balanced, ids unique, links resolve, images have alternative texts, headings are in order."""
    page = write_page(kind, collection, tmp_path / "a.html")
    assert page.problems == []
    assert "<b>" in page.text
    assert "\u202e" not in page.source
    assert not [each for each in page.elements if each.name in {"b", "script"}]


def test_a_query_shows_its_verdict_and_each_neighbour(collection: Collection, tmp_path: Path) -> None:
    """Each has rank, score, class and path, right or wrong in words, and the vote names its rule."""
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


def test_a_query_of_unknown_class_has_no_right_or_wrong_marks(collection: Collection, tmp_path: Path) -> None:
    """An image from elsewhere has a verdict that is not marked as right or wrong."""
    page = query_page(collection, tmp_path / "a.html", collection.answer(13, indexed=None))
    assert "Verdict:" in page.text
    assert not page.with_class("mark")
    assert not page.with_class("is-wrong")


def test_probabilities_and_placings_are_shown_where_known(collection: Collection, tmp_path: Path) -> None:
    """The chance is beside the similarity; a network that lacks the image is marked."""
    answer = collection.answer(13)
    placings = {"vgg16-cosine": Placing(rank=2, score=0.5), "resnet101v2-cosine": None}
    hits = [replace(answer.hits[0], chance=0.868, placings=placings)]
    page = query_page(collection, tmp_path / "a.html", replace(answer, hits=hits))
    assert f"similarity {hits[0].score:.4f} ≈ 87 % same class" in page.text
    assert "vgg16: rank 2, 0.5000" in page.text
    assert "resnet101v2-cosine: not in it" in page.text  # of a collection that was not asked


def test_a_calibrated_answer_shows_the_probability_of_its_verdict(
    collection: Collection, tmp_path: Path
) -> None:
    """An out-of-distribution query has no verdict, and the page says so."""
    sure = collection.answer(13, verdict_chance=0.93, unlike_anything=False)
    page = query_page(collection, tmp_path / "a.html", sure)
    assert "; estimated probability to be right: ≈ 93 %" in page.text
    far = collection.answer(13, verdict=None, unlike_anything=True)
    page = query_page(collection, tmp_path / "a.html", far)
    assert "No verdict: the image is out-of-distribution (unlike all indexed images)." in page.text


def test_a_prediction_set_is_shown_with_what_it_means(collection: Collection, tmp_path: Path) -> None:
    """Names are escaped; every class, too few images and an out-of-distribution query are worded."""
    options = QueryOptions(confidence=0.95)
    unlike = " (for an image of the same kind; this one is out-of-distribution)"
    names, learned = tuple(collection.evaluation.images.vectors.names), {"images": 36, "images_needed": 19}
    some = PredictionSet(confidence=0.95, classes=names[:2], is_every_class=False, **learned)

    def text_of(**changes: object) -> str:
        page = query_page(collection, tmp_path / "a.html", collection.answer(13, **changes), options=options)
        assert page.problems == []
        return page.text

    assert f"95 % prediction set: {names[0]}, {names[1]}" in text_of(prediction_set=some)
    assert "at least so many of 100 cases, for images of the same kind" in text_of(prediction_set=some)
    every = replace(some, classes=names, is_every_class=True)
    assert "95 % prediction set: any of the 3 classes" in text_of(prediction_set=every)
    few = replace(every, images=18)
    assert "it needs 19 calibrated images, and there are 18" in text_of(prediction_set=few)
    assert "out-of-distribution" not in text_of(prediction_set=some)
    far = text_of(verdict=None, unlike_anything=True, prediction_set=some)
    assert f"95 % prediction set: {names[0]}, {names[1]}{unlike}" in far
    far = text_of(verdict=None, unlike_anything=True, prediction_set=few)
    assert f"it needs 19 calibrated images, and there are 18{unlike}" in far
    plain = query_page(collection, tmp_path / "a.html", collection.answer(13))
    assert "prediction set" not in plain.text.lower()


def test_exact_duplicates_and_datasets_of_equal_paths_are_shown(
    collection: Collection, tmp_path: Path
) -> None:
    """Each exact duplicate is listed by its path, and by its dataset where the path is ambiguous."""
    answer = collection.answer(13)
    page = query_page(collection, tmp_path / "a.html", answer)
    assert "same bytes" not in page.text
    assert "data: " not in page.text
    [first, *others] = answer.hits
    twin = replace(first, rank=2, payload=replace(first.payload, dataset="more"))
    known = ExactDuplicate(payload=first.payload, file=tmp_path / "a.png")
    unknown = ExactDuplicate(payload=first.payload, file=None)
    changed = replace(answer, hits=[first, twin, *others], left_out=[known, unknown], left_out_total=7)
    page = query_page(collection, tmp_path / "a.html", changed)
    place = f"data: {first.payload.path}"
    assert f"7 images with the same bytes left out: {tmp_path}/a.png {place}" in page.text
    assert f"more: {first.payload.path}" in page.text


def test_an_unreadable_query_is_shown_with_its_reason(collection: Collection, tmp_path: Path) -> None:
    """The other queries are answered."""
    gone = unanswered("x.jpg", "x.jpg is not there")
    page = query_page(collection, tmp_path / "a.html", gone, collection.answer(0))
    assert "Not answered: x.jpg is not there" in page.text
    assert len(page.with_class("query")) == 2


def test_a_file_that_is_gone_leaves_a_note(collection: Collection, tmp_path: Path) -> None:
    """Its row keeps its score and its path."""
    page = query_page(collection, tmp_path / "a.html", collection.answer(3))
    assert [each.attributes["aria-label"] for each in page.with_class("gone")] == ["The query: file is gone"]


def test_each_image_is_in_the_page_once(collection: Collection, tmp_path: Path) -> None:
    """This holds for images that are shown several times."""
    page = query_page(collection, tmp_path / "a.html", *map(collection.answer, range(36)))
    assert len(re.findall(r"\.t\d+\{", page.source)) == 35  # one is gone
    assert len(page.with_class("p")) == 36 * 11


def test_a_thousand_queries_without_an_image_in_common_stay_under_30_mb(tmp_path: Path) -> None:
    """The page has 11,000 thumbnails of 1.5 times the average size of a photo's."""
    size, count = 1_600, 11_000
    assert len([most for most in SIZES if most >= count]) == 0
    data = np.random.default_rng(0).bytes(size)
    files = [Path(f"/pictures/some-class/a-name-of-some-length-{number:05}.jpg") for number in range(count)]
    made = Thumbnail(data=data, media_type=f"image/{SMALLEST[1]}", width=96, height=64)
    gallery = Gallery(
        thumbnails=dict.fromkeys(files, made), numbers={file: n for n, file in enumerate(files)}
    )
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
    page = page_of_queries(answers, [manifest(tmp_path)], QueryOptions(), gallery=gallery)
    page.write(tmp_path / "a.html")
    source = (tmp_path / "a.html").read_text()
    assert source.count(base64.b64encode(data).decode()) == count
    assert len(source) < 30e6


def test_an_evaluation_shows_its_figures_with_intervals(collection: Collection, tmp_path: Path) -> None:
    """They equal those of `search evaluate`, in per cent."""
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


def test_the_confusion_table_equals_the_evaluation(collection: Collection, tmp_path: Path) -> None:
    """Rows are equal, and every confusion links to a section with its images."""
    evaluation = collection.evaluation
    section = _section(collection, evaluation)
    counts = [[cell.count for cell in cells] for _, cells in section.rows]
    assert counts == evaluation.confusion.tolist()
    for i, (_, cells) in enumerate(section.rows):
        assert sum(cell.share for cell in cells) == pytest.approx(1)
        for j, cell in enumerate(cells):
            assert bool(section.address(cell)) == (i != j and cell.count > 0)
    assert max(cell.heat for _, cells in section.rows for cell in cells if not cell.is_right) == 1
    page = evaluated_page(collection, tmp_path / "a.html", evaluation)
    assert len(page.with_class("confusion")) == len(section.confusions) > 0


def test_worst_confusions_come_first_with_real_examples(collection: Collection) -> None:
    """Each pair is a query with a neighbour of the intruding class, as the evaluation found it."""
    evaluation = collection.evaluation
    section = _section(collection, evaluation)
    shares = [confusion.share for confusion in section.confusions]
    assert shares == sorted(shares, reverse=True)
    rows = {each.path: row for row, each in enumerate(collection.payloads)}
    for confusion in section.confusions:
        assert 0 < len(confusion.pairs) <= 8
        ranks = [neighbour.rank for _, neighbour in confusion.pairs]
        assert ranks == sorted(ranks)
        for query, neighbour in confusion.pairs:
            classes = query.class_name, neighbour.payload.class_name
            assert classes == (confusion.own, confusion.intruder)
            found = evaluation.results.neighbours[rows[query.path]]
            assert found[neighbour.rank - 1] == rows[neighbour.payload.path]


def test_all_wrong_verdicts_are_shown_worst_first(collection: Collection) -> None:
    """The fewest right neighbours of ten come first."""
    evaluation = collection.evaluation
    section = _section(collection, evaluation)
    verdicts = evaluation.results.verdicts[VoteRule.NEARER_TIES]
    wrong = {
        collection.payloads[row].path for row in np.flatnonzero(verdicts != evaluation.images.vectors.classes)
    }
    assert {case.query.path for case in section.wrong} == wrong
    assert len(wrong) == section.wrong_count > 2
    right = [
        sum(neighbour.payload.class_name == case.query.class_name for neighbour in case.neighbours)
        for case in section.wrong
    ]
    assert right == sorted(right)
    assert all(case.verdict != case.query.class_name for case in section.wrong)


def test_limits_of_classes_and_queries_are_stated(collection: Collection, tmp_path: Path) -> None:
    """The table keeps the classes with the most errors; the page counts the others."""
    limits = SectionLimits(table_classes=2, confusions=1, wrong_queries=1)
    page = evaluated_page(collection, tmp_path / "a.html", collection.evaluation, limits=limits)
    assert page.problems == []
    assert "The 2 classes with the most wrong neighbours of 3." in page.text
    assert "the first 1 are shown" in page.text
    assert len(page.with_class("confusion")) == 1


def test_a_perfect_collection_has_a_page(collection: Collection, tmp_path: Path) -> None:
    """There is no confusion and no wrong verdict, and no division by their number."""
    images = collection.evaluation.images
    clear = np.eye(8, dtype=np.float32)[images.vectors.classes]
    clear += np.random.default_rng(0).normal(0, 0.01, clear.shape).astype(np.float32)
    images = replace(images, vectors=replace(images.vectors, vectors=clear))
    evaluation = summarise("perfect", images, leave_one_out(images.vectors))
    page = evaluated_page(collection, tmp_path / "a.html", evaluation)
    assert page.problems == []
    assert not page.with_class("confusion")
    assert "0 wrong verdicts" in page.text


def test_folded_near_duplicates_are_listed_with_their_neighbour(
    collection: Collection, tmp_path: Path
) -> None:
    """Their number and paths are beside it; other neighbours have no list."""
    answer = collection.answer(13)
    near = [
        NearDuplicate(score=0.9, payload=collection.payloads[row], file=collection.file(row))
        for row in (3, 4)
    ]
    hits = [replace(answer.hits[0], near=near), *answer.hits[1:]]
    page = query_page(collection, tmp_path / "a.html", replace(answer, hits=hits))
    assert page.problems == []
    assert len(page.with_class("near")) == 1
    assert "and 2 near-duplicates" in page.text
    assert all(each.payload.path in page.text for each in near)


def test_queries_without_relevant_images_are_no_errors(collection: Collection, tmp_path: Path) -> None:
    """Two images of one class find each other; the third, alone in its class, counts as no error."""
    images = collection.evaluation.images
    three = replace(
        images.vectors,
        vectors=np.array([[1, 0], [1, 0.1], [0, 1]], dtype=np.float32),
        classes=np.array([0, 0, 1]),
        copies=np.arange(3),
        names=images.vectors.names[:2],
    )
    found = replace(images, vectors=three, payloads=images.payloads[:3])
    evaluation = summarise("small", found, leave_one_out(three))
    page = evaluated_page(collection, tmp_path / "a.html", evaluation)
    text = page.text.replace("\N{NO-BREAK SPACE}", " ")
    assert page.problems == []
    assert "1 has no other image of their class: no neighbour can be right" in text
    assert "2 have fewer than ten others of their class" in text
    assert "best possible 10.0 %" in text
    assert "0 wrong verdicts" in text
    assert "no other image of it" in text
    assert not page.with_class("confusion")


def test_several_collections_are_compared_on_one_page(collection: Collection, tmp_path: Path) -> None:
    """Each has a section, and a table compares them, with the differences that are certain."""
    second = replace(collection.evaluation, collection="vgg16-euclid")
    page = evaluated_page(collection, tmp_path / "a.html", collection.evaluation, second)
    assert page.problems == []
    assert len(page.with_class("collection")) == 2
    assert "no certain difference" in page.text
    assert "corrected for these 3 comparisons" in page.text
    assert "vgg16-cosine, over 36 shared images" in page.text


def test_an_evaluation_shows_what_a_head_was_trained_on(collection: Collection, tmp_path: Path) -> None:
    """Every figure of every part has its interval; without a head there is no such table."""
    page = evaluated_page(collection, tmp_path / "a.html", collection.evaluation)
    text = page.text.replace("\N{NO-BREAK SPACE}", " ")
    parts = head_parts(collection.evaluation)
    assert [part.part for part in parts] == [Part.TRAINED, Part.HELD_OUT, Part.UNSEEN]
    for part in parts:
        assert f"{part.part}: {MEANINGS[part.part]}" in text
    for key, name in FIGURES.items():
        found = [part.figures[key] for part in parts]
        said = (f"{100 * f.value:.1f} %{100 * f.low:.1f} to {100 * f.high:.1f} %" for f in found)
        assert name + "".join(said) in text
    setting = Setting(evaluation=collection.evaluation, differences=[])
    evaluation_page([setting], [collection.manifest], k=10).write(tmp_path / "b.html")
    assert "Training and held-out images of the head" in page.text
    assert "Training and held-out images of the head" not in read_page(tmp_path / "b.html").text


def test_duplicates_show_kept_and_redundant_files(collection: Collection, tmp_path: Path) -> None:
    """They are named in words, with sizes; a missing file has a note; groups that free most come first."""
    groups = [group(collection, 12, 13), group(collection, 0, 1, 2, 3)]
    duplicates_page(groups, collection="vgg16-cosine", above=0.99).write(tmp_path / "a.html")
    page = read_page(tmp_path / "a.html")
    assert page.text.index("Group 1: 4 images, 4.0 kB could go") < page.text.index("Group 2: 2 images")
    assert "2 groups of 6 images. 2 files could go, which would free 4.0 kB" in page.text
    assert "✓ keep most pixels 64 \N{MULTIPLICATION SIGN} 48, 2.0 kB" in page.text
    assert "✗ could go same bytes" in page.text
    assert "✗ could go near-duplicate, proven on the pixels, similarity 0.9931" in page.text
    assert "\N{EN DASH} stays near-duplicate, proven on the pixels, similarity 0.9931 64" in page.text
    assert "48, 2.0 kB gone since it was ingested" in page.text
    assert len(page.with_class("gone")) == 1


def test_a_collection_without_duplicates_has_a_page(tmp_path: Path) -> None:
    """The page says that there are none."""
    duplicates_page([], collection="vgg16-cosine", above=0.99).write(tmp_path / "a.html")
    page = read_page(tmp_path / "a.html")
    assert page.problems == []
    assert "There are no duplicates" in page.text


def test_thumbnails_shrink_with_their_number(tmp_path: Path, draw: Draw) -> None:
    """Their edge follows the number of images; an unreadable image keeps its place."""
    files = draw(tmp_path, *(f"{number}.png" for number in range(3)), size=(600, 400))
    gallery = Gallery.of([*files, None, tmp_path / "gone.png", files[0]])
    sizes = {made.width for made in gallery.thumbnails.values() if isinstance(made, Thumbnail)}
    assert sizes == {288}
    assert gallery.thumbnails[tmp_path / "gone.png"] is SkipReason.VANISHED
    assert gallery.frame(None).note == "no file is known"
    assert gallery.frame(tmp_path / "gone.png").note == "file is gone"
    assert len(list(gallery.rules())) == 3
