"""The layer that is fitted: what it learns, what it leaves alone, what it refuses."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from lookalike_core.errors import LookalikeError, UsageError
from lookalike_exporter.heads.metric_learning import (
    CHOSEN_FROM,
    CHOSEN_FROM_CLASSES,
    FittedLayer,
    LabelledUnits,
    Method,
    _candidates,
    _ridge,
    _sample,
    figures,
    fit_layer,
)
from refusals import refuses
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import average_precision_score


def made(*, classes: int = 6, each: int = 12, length: int = 24, seed: int = 0) -> LabelledUnits:
    """Classes that differ in a few directions, under noise that all share in others."""
    random = np.random.default_rng(seed)
    numbers = np.repeat(np.arange(classes), each)
    centres = np.zeros((classes, length))
    centres[:, : length // 3] = np.random.default_rng(7).normal(size=(classes, length // 3))
    noise = random.normal(size=(len(numbers), length))
    noise[:, length // 3 :] *= 2.0
    vectors = centres[numbers] * 1.5 + noise + 1.0
    return LabelledUnits(vectors=vectors / np.linalg.norm(vectors, axis=1, keepdims=True), classes=numbers)


def mapped(layer: FittedLayer, vectors: np.ndarray) -> np.ndarray:
    """By the layer, as its docstring says."""
    return vectors @ layer.weight.T + layer.bias


def test_neighbours_of_other_images_get_better() -> None:
    """On images that the layer was not fitted to."""
    training, others = made(), made(seed=1)
    layer = fit_layer(training)
    before, after = figures(others, training), figures(others, training, layer=layer)
    assert before is not None
    assert after is not None
    assert after.precision_at_10 > before.precision_at_10 + 0.05
    assert after.mean_average_precision > before.mean_average_precision + 0.05


def test_the_same_images_and_seed_give_the_same_bytes() -> None:
    """In whatever order candidates are tried: nothing depends on time or threads."""
    one, other = fit_layer(made()), fit_layer(made())
    assert one.weight.tobytes() == other.weight.tobytes()
    assert one.bias.tobytes() == other.bias.tobytes()
    assert one.weight.dtype == one.bias.dtype == np.float32


def test_fewer_values_are_the_main_directions() -> None:
    """They keep as much of the fitted vectors' squares as the largest singular values do."""
    training = made()
    whole, few = fit_layer(training), fit_layer(training, dims=5)
    assert few.weight.shape == (5, 24)
    sizes = np.linalg.svd(mapped(whole, training.vectors), compute_uv=False)
    assert (mapped(few, training.vectors) ** 2).sum() == pytest.approx((sizes[:5] ** 2).sum(), rel=1e-4)


def test_classes_that_were_never_seen_keep_their_neighbours() -> None:
    """Fitted to half of the classes, the others lose next to nothing."""
    images = made(classes=8, each=20)
    layer = fit_layer(images.of(images.classes < 4))
    unseen = images.of(images.classes >= 4)
    queries, gallery = unseen.of(np.arange(80) % 2 == 0), unseen.of(np.arange(80) % 2 == 1)
    before, after = figures(queries, gallery), figures(queries, gallery, layer=layer)
    assert before is not None
    assert after is not None
    assert after.precision_at_10 >= before.precision_at_10 - 0.02


def test_what_is_chosen_spares_classes_that_were_left_out() -> None:
    """Of all scores, the best on seen classes among those within the loss that is allowed on others."""
    layer = fit_layer(made())
    scores = {score.candidate: score for score in layer.scores}
    chosen = scores[layer.candidate]
    [as_it_is] = [score for score in layer.scores if score.candidate.method is Method.NONE]
    assert chosen.unseen is not None
    assert as_it_is.unseen is not None
    assert chosen.unseen >= as_it_is.unseen - 0.005
    better = [score for score in layer.scores if score.seen > chosen.seen]
    assert all((score.unseen or 0) < as_it_is.unseen - 0.005 for score in better)


def test_average_precision_is_scikit_learns() -> None:
    """Of each query over the whole ranking."""
    queries, gallery = made(each=3, seed=3), made(seed=4)
    found = figures(queries, gallery)
    similarity = queries.vectors @ gallery.vectors.T
    expected = [
        average_precision_score(gallery.classes == number, row)
        for number, row in zip(queries.classes, similarity, strict=True)
    ]
    assert found is not None
    assert found.mean_average_precision == pytest.approx(np.mean(expected))


def test_precision_is_that_of_an_evaluation() -> None:
    """The share of the ten nearest: with three of a class to find, three of ten are the best possible."""
    queries, gallery = made(each=2, seed=3), made(each=3, seed=4)
    found = figures(queries, gallery)
    nearest = np.argsort(-queries.vectors @ gallery.vectors.T, axis=1)[:, :10]
    right = gallery.classes[nearest] == queries.classes[:, np.newaxis]
    assert found is not None
    assert found.precision_at_10 == pytest.approx(right.mean())
    assert found.precision_at_1 == pytest.approx(right[:, 0].mean())
    assert asdict(found.best_possible) == {
        "precision_at_10": pytest.approx(0.3),
        "precision_at_1": 1,
        "mean_average_precision": 1,
    }


@pytest.mark.parametrize("classes", [2, 3])
def test_two_classes_are_enough(classes: int) -> None:
    """Then none is left out in cross-validation."""
    layer = fit_layer(made(classes=classes, each=5))
    assert np.isfinite(layer.weight).all()
    assert all(score.unseen is None for score in layer.scores)


def test_two_images_a_class_are_enough() -> None:
    """Halves of one image a class are fitted to."""
    assert np.isfinite(fit_layer(made(each=2)).weight).all()


def test_more_classes_than_can_choose_are_fitted_all_the_same() -> None:
    """Of two images each: some are drawn to choose the layer, and no class is left with one of them."""
    training = made(classes=1_600, each=2)
    layer = fit_layer(training)
    assert np.isfinite(layer.weight).all()
    assert {score.seen == score.seen for score in layer.scores} == {True}
    assert _sample(training, 0).classes.size == 2 * CHOSEN_FROM_CLASSES
    assert set(np.unique(_sample(training, 0).classes, return_counts=True)[1]) == {2}


def test_classes_of_uneven_sizes_choose_with_two_images_or_more() -> None:
    """A few large ones do not crowd the many small ones out."""
    many, large = made(classes=1_000, each=2), made(classes=3, each=800)
    training = LabelledUnits(
        vectors=np.concatenate([many.vectors, large.vectors]),
        classes=np.concatenate([many.classes + 3, large.classes]),
    )
    sizes = np.unique(_sample(training, 4).classes, return_counts=True)[1]
    assert sizes.min() >= 2
    assert sizes.sum() <= CHOSEN_FROM


def test_logistic_regression_is_left_out_where_it_would_take_hours() -> None:
    """The others are tried as ever."""
    training = made()
    assert {score.candidate.method for score in fit_layer(training).scores} == set(Method)
    size = training.vectors.size * 6
    for most, tried in ((size, set(Method)), (size - 1, set(Method) - {Method.LOGISTIC})):
        assert {each.method for each in _candidates(training, logistic_at_most=most)} == tried


@pytest.mark.parametrize("each", [3, 30], ids=["fewer images than values", "more"])
@pytest.mark.parametrize("classes", [2, 5])
def test_ridge_is_scikit_learns(classes: int, each: int) -> None:
    """Of centred vectors, and up to the one length that all directions share."""
    training = made(classes=classes, each=each)
    centred = training.vectors - training.vectors.mean(axis=0)
    expected = np.atleast_2d(RidgeClassifier(alpha=0.7).fit(centred, training.classes).coef_).T
    if classes == 2:
        expected = np.concatenate([-expected, expected], axis=1)
    np.testing.assert_allclose(2 * _ridge(centred, training.classes, 0.7), expected, rtol=1e-6, atol=1e-9)


def test_figures_of_many_queries_are_those_of_all_at_once() -> None:
    """However few are ranked together."""
    queries, gallery = made(each=3, seed=3), made(seed=4)
    assert figures(queries, gallery, at_once=4) == figures(queries, gallery)


def test_what_cannot_be_learned_from_is_refused() -> None:
    """One class, one image of a class, NaN, and more values than there are."""
    training = made()
    with pytest.raises(UsageError, match="takes 2"):
        fit_layer(training.of(training.classes == 0))
    with pytest.raises(UsageError, match="one image"):
        fit_layer(training.of(np.arange(13)))
    broken = training.vectors.copy()
    broken[3, 3] = np.nan
    with pytest.raises(LookalikeError, match="not finite"):
        fit_layer(replace(training, vectors=broken))
    with refuses(UsageError, match="--dims: 25 "):
        fit_layer(training, dims=25)
