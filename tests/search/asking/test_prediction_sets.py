"""Prediction sets in answers, in both stores, by conformal scores made by hand; and their refusals."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
from lookalike_core.errors import UsageError
from lookalike_core.hints import Action, Argument
from lookalike_core.models.calibration_curves import Calibration, Threshold
from lookalike_core.models.conformal_scores import keep_scores
from lookalike_core.settings import Settings
from lookalike_core.stores.collection_manifest import Distance
from lookalike_core.stores.points import PointFilter
from lookalike_core.stores.protocol import Collection, Store
from lookalike_search.asking.answer_json import answer_json
from lookalike_search.asking.answers import Answer, PredictionSet, QueryOptions
from lookalike_search.asking.prediction_sets import choose_classes
from lookalike_search.asking.query import Searcher
from lookalike_search.commands.answer_format import answer_lines
from one_answer import answer_of

IMAGES = {
    "cat/1.png": [1.0, 0.0],
    "cat/2.png": [0.8, 0.6],
    "cat/copy.png": [1.0, 0.0],
    "dog/1.png": [0.6, 0.8],
    "eel/1.png": [0.28, 0.96],
    "fox/1.png": [0.0, 1.0],
    "plain.png": [0.96, 0.28],
}
"""Cosine distances to the first: 0.2, 0.4, 0.72 and 1; so cat is at 0, dog at 0.2 / 3, eel at 0.52 / 3, fox
at 0.8 / 3. The image without a class is nearer than any, and `copy.png` has the bytes of the first."""

DOG, EEL, FOX = 0.2 / 3, 0.52 / 3, 0.8 / 3


@pytest.fixture
def calibrated(both_stores: Store, fill: Callable[..., str], calibration: Calibration) -> Callable[..., str]:
    """Makes a collection whose calibration has these scores: `calibrated([0.1, ...], **changes)`."""

    def make(scores: list[float], *, backbone: str = "vgg16", **changes: Any) -> str:
        name = fill(both_stores, IMAGES, copies={"cat/copy.png": "cat/1.png"}, backbone=backbone)
        record = replace(
            calibration,
            identity=both_stores.manifest(name).identity.key,
            distance=Distance.COSINE,
            points=len(IMAGES),
            classes=4,
            threshold=Threshold(nearness=0.5, refused=0.01, caught=0.8),
            conformal=keep_scores(scores),
        )
        with both_stores.open(name) as collection:
            collection.record_calibration(replace(record, **changes))
        return name

    return make


@pytest.fixture
def ask(both_stores: Store, home: Settings) -> Callable[..., Answer]:
    """Returns an answer: `ask(names, confidence=..., also=..., **options)`."""

    def asked(*names: str, also: str | None = None, confidence: float | None = 0.5, **options: Any) -> Answer:
        with Searcher.opened(*names, store=both_stores, settings=home) as searcher:
            known = QueryOptions(confidence=confidence, **options)
            return answer_of(searcher, "cat/1.png", known, positives=[also] if also else [])

    return asked


@pytest.mark.parametrize(
    ("score", "classes"),
    [
        (0.0, ("cat",)),
        (DOG - 1e-6, ("cat",)),
        (DOG + 1e-6, ("cat", "dog")),
        (EEL + 1e-6, ("cat", "dog", "eel")),
        (FOX + 1e-6, ("cat", "dog", "eel", "fox")),
    ],
)
def test_the_set_holds_the_classes_within_the_threshold_best_first(
    calibrated: Callable[..., str], ask: Callable[..., Answer], score: float, classes: tuple[str, ...]
) -> None:
    """An exact duplicate and an image without a class change nothing; the best class is always there."""
    found = ask(calibrated([score])).prediction_set
    assert found is not None
    assert (found.confidence, found.images, found.images_needed) == (0.5, 1, 1)
    assert found.classes == classes
    assert found.is_every_class is (len(classes) == 4)


def test_too_few_images_for_the_confidence_mean_every_class(
    calibrated: Callable[..., str], ask: Callable[..., Answer], both_stores: Store
) -> None:
    """The line says how many the confidence needs."""
    name = calibrated([0.0] * 18)
    found = ask(name, confidence=0.95).prediction_set
    assert found is not None
    assert found.classes == ("cat", "dog", "eel", "fox")
    assert (found.is_every_class, found.images, found.images_needed) == (True, 18, 19)
    answer, options = ask(name, confidence=0.95), QueryOptions(confidence=0.95)
    *_, last = answer_lines(answer, [both_stores.manifest(name)], options)
    assert last == (
        "95 % prediction set: any of the 4 classes; it needs 19 calibrated images, and there are 18"
    )


def test_classes_without_a_near_image_are_in_the_set_only_together(
    calibrated: Callable[..., str], ask: Callable[..., Answer]
) -> None:
    """Of two neighbours a cat is the first and a dog the last; it and what is beyond are at 0.5 / 3."""
    found = ask(calibrated([0.16], depth=2)).prediction_set
    assert found is not None
    assert found.classes == ("cat",)
    every = ask(calibrated([0.17], depth=2)).prediction_set
    assert every is not None
    assert every.classes == ("cat", "dog", "eel", "fox")
    assert every.is_every_class


def test_an_out_of_distribution_image_has_the_same_set_and_the_line_says_for_whom(
    calibrated: Callable[..., str], ask: Callable[..., Answer], both_stores: Store
) -> None:
    """Its class may be none of the indexed ones; that is a separate answer, and changes no set."""
    options, unlike = QueryOptions(confidence=0.5), "this one is out-of-distribution"
    for scores, classes in (([0.1], "cat, dog"), ([], "any of the 4 classes; it needs 1 calibrated images")):
        expected = ask(calibrated(scores)).prediction_set
        name = calibrated(scores, threshold=Threshold(nearness=0.99, refused=0.01, caught=0.8))
        answer, manifests = ask(name), [both_stores.manifest(name)]
        assert (answer.unlike_anything, answer.verdict, answer.prediction_set) == (True, None, expected)
        *_, last = answer_lines(answer, manifests, options)
        assert last.startswith(f"50 % prediction set: {classes}")
        assert last.endswith(f" (for an image of the same kind; {unlike})")
        said = answer_json(answer, manifests, "embedded", options)
        assert said["unlike_anything"] is True
        assert said["prediction_set"]["classes"]


def test_the_table_and_json_have_the_set(
    calibrated: Callable[..., str], ask: Callable[..., Answer], both_stores: Store
) -> None:
    """Without a confidence they have neither the line nor the key."""
    name, options = calibrated([0.1]), QueryOptions(confidence=0.5)
    manifests = [both_stores.manifest(name)]
    *_, last = answer_lines(ask(name), manifests, options)
    assert last == "50 % prediction set: cat, dog"
    assert answer_json(ask(name), manifests, "embedded", options)["prediction_set"] == {
        "confidence": 0.5,
        "classes": ["cat", "dog"],
        "every_class": False,
        "pictures": 1,
        "pictures_needed": 1,
    }
    plain = ask(name, confidence=None)
    assert plain.prediction_set is None
    assert "prediction set" not in "\n".join(answer_lines(plain, manifests, QueryOptions()))
    assert "prediction_set" not in answer_json(plain, manifests, "embedded", QueryOptions())


class Counted:
    """Records how a collection is searched."""

    def __init__(self, collection: Collection) -> None:
        self._collection = collection
        self.searches: list[tuple[int, bool, bool]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._collection, name)

    def query(self, vector: Any, *, limit: int, where: PointFilter, exact: bool) -> Any:
        """Records the limit of a search, whether only labelled images are found, and whether it is exact."""
        self.searches.append((limit, where.labelled, exact))
        return self._collection.query(vector, limit=limit, where=where, exact=exact)


def test_only_a_confidence_takes_a_further_search(
    calibrated: Callable[..., str], both_stores: Store, home: Settings
) -> None:
    """It is exact, as that of the calibration, and finds as many images with a class."""
    searches = []
    name = calibrated([0.1], depth=5)
    for confidence in (None, 0.5):
        with Searcher.opened(name, store=both_stores, settings=home) as searcher:
            counted = Counted(searcher.networks[0].collection)
            searcher.networks[0].collection = cast("Collection", counted)
            answer_of(searcher, "cat/1.png", QueryOptions(k=3, confidence=confidence))
            searches.append(counted.searches)
    plain, with_set = searches
    assert with_set[: len(plain)] == plain
    assert with_set[len(plain) :] == [(5, True, True)]


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"where": PointFilter(classes=frozenset({"cat"}))}, Argument.CLASS),
        ({"where": PointFilter(dataset="data")}, Argument.DATASET),
        ({"where": PointFilter(folders=frozenset({"cat"}))}, Argument.PATH),
        ({"where": PointFilter(min_width=1)}, Argument.MIN_WIDTH),
        ({"min_score": 0.1}, Argument.MIN_SCORE),
        ({"max_distance": 0.1}, Argument.MAX_DISTANCE),
        ({"include_self": True}, Argument.INCLUDE_SELF),
        ({"without_near_above": 0.9}, Argument.WITHOUT_NEAR),
        ({"also": "cat/2.png"}, Argument.AND),
    ],
)
def test_a_confidence_for_another_kind_of_search_is_refused(
    calibrated: Callable[..., str], ask: Callable[..., Answer], options: dict[str, Any], argument: Argument
) -> None:
    """The hint names what to leave out."""
    with pytest.raises(UsageError, match="prediction set") as refused:
        ask(calibrated([0.1]), **options)
    assert refused.value.argument is Argument.CONFIDENCE
    assert refused.value.hint is not None
    assert refused.value.hint.action is Action.LEAVE_OUT
    assert argument in refused.value.hint.values


def test_a_confidence_for_a_fusion_is_refused(
    calibrated: Callable[..., str], ask: Callable[..., Answer]
) -> None:
    """Calibrations are learned for each collection alone."""
    with pytest.raises(UsageError, match="search one collection"):
        ask(calibrated([0.1]), calibrated([0.1], backbone="resnet101v2"))


def test_a_confidence_without_conformal_scores_is_refused(
    calibrated: Callable[..., str], ask: Callable[..., Answer], both_stores: Store, fill: Callable[..., str]
) -> None:
    """There is no calibration, a stale one, or one of an earlier version; each names the command."""
    for name, problem, action in (
        (fill(both_stores, IMAGES, backbone="resnet101v2"), "is not calibrated", Action.CALIBRATE),
        (calibrated([0.1], points=3), "is stale", Action.RECALIBRATE),
        (calibrated([0.1], conformal=None), "is of an earlier version", Action.RECALIBRATE),
    ):
        with pytest.raises(UsageError, match=problem) as refused:
            ask(name)
        assert refused.value.hint is not None
        assert (refused.value.hint.action, refused.value.hint.values) == (
            action,
            {Argument.COLLECTION: name},
        )
        assert ask(name, confidence=None).hits


@pytest.mark.parametrize(
    ("confidence", "percent"),
    [(0.95, "95"), (0.9, "90"), (0.07, "7"), (0.999999999999, "99.9999999999"), (1e-9, "0.0000001")],
)
def test_a_percentage_is_not_rounded(confidence: float, percent: str) -> None:
    """One of nearly 100 is not shown as 100."""
    found = PredictionSet(
        confidence=confidence, classes=["cat"], is_every_class=False, images=1, images_needed=1
    )
    assert found.percent == percent


def test_without_any_neighbour_every_class_is_in_the_set() -> None:
    """All other labelled images may be exact duplicates of the query."""
    assert choose_classes([], [], threshold=0.0, higher_is_nearer=True) == ([], True)
