"""The fitted layer: what it improves, what it keeps, what it refuses."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from lookalike_core.errors import LookalikeError, UsageError
from lookalike_exporter.heads.metric_learning import (
    CHOSEN_FROM,
    CHOSEN_FROM_CLASSES,
    FittedLayer,
    Method,
    _list_candidates,
    _sample,
    _solve_ridge,
    fit_layer,
)
from lookalike_exporter.heads.neighbour_figures import LabelledUnits, measure_neighbours
from refusals import refuses
from sklearn.linear_model import RidgeClassifier
from sklearn.metrics import average_precision_score


def made(*, classes: int = 6, each: int = 12, length: int = 24, seed: int = 0) -> LabelledUnits:
    """Makes classes that differ in a few directions, with shared noise in others."""
    random = np.random.default_rng(seed)
    numbers = np.repeat(np.arange(classes), each)
    centres = np.zeros((classes, length))
    centres[:, : length // 3] = np.random.default_rng(7).normal(size=(classes, length // 3))
    noise = random.normal(size=(len(numbers), length))
    noise[:, length // 3 :] *= 2.0
    vectors = centres[numbers] * 1.5 + noise + 1.0
    return LabelledUnits(vectors=vectors / np.linalg.norm(vectors, axis=1, keepdims=True), classes=numbers)


def mapped(layer: FittedLayer, vectors: np.ndarray) -> np.ndarray:
    """Applies a layer to vectors of length 1."""
    return vectors @ layer.weight.T + layer.bias


def test_a_layer_improves_neighbours_of_held_out_images() -> None:
    """The images are of classes that it was fitted to."""
    training, others = made(), made(seed=1)
    layer = fit_layer(training)
    before, after = measure_neighbours(others, training), measure_neighbours(others, training, layer=layer)
    assert before is not None
    assert after is not None
    assert after.precision_at_10 > before.precision_at_10 + 0.05
    assert after.mean_average_precision > before.mean_average_precision + 0.05


def test_fitting_is_deterministic() -> None:
    """The same images and seed give the same bytes."""
    one, other = fit_layer(made()), fit_layer(made())
    assert one.weight.tobytes() == other.weight.tobytes()
    assert one.bias.tobytes() == other.bias.tobytes()
    assert one.weight.dtype == one.bias.dtype == np.float32


def test_fewer_values_are_the_principal_components() -> None:
    """They keep as much of the fitted vectors' squares as the largest singular values do."""
    training = made()
    whole, few = fit_layer(training), fit_layer(training, dims=5)
    assert few.weight.shape == (5, 24)
    sizes = np.linalg.svd(mapped(whole, training.vectors), compute_uv=False)
    assert (mapped(few, training.vectors) ** 2).sum() == pytest.approx((sizes[:5] ** 2).sum(), rel=1e-4)


def test_unseen_classes_keep_their_precision() -> None:
    """Classes that the layer was not fitted to lose next to nothing."""
    images = made(classes=8, each=20)
    layer = fit_layer(images.of(images.classes < 4))
    unseen = images.of(images.classes >= 4)
    queries, gallery = unseen.of(np.arange(80) % 2 == 0), unseen.of(np.arange(80) % 2 == 1)
    before, after = measure_neighbours(queries, gallery), measure_neighbours(queries, gallery, layer=layer)
    assert before is not None
    assert after is not None
    assert after.precision_at_10 >= before.precision_at_10 - 0.02


def test_the_chosen_candidate_does_no_harm_to_held_out_classes() -> None:
    """It is the best on seen classes, among candidates within the allowed loss on unseen ones."""
    layer = fit_layer(made())
    scores = {score.candidate: score for score in layer.scores}
    chosen = scores[layer.candidate]
    [as_it_is] = [score for score in layer.scores if score.candidate.method is Method.NONE]
    assert chosen.unseen is not None
    assert as_it_is.unseen is not None
    assert chosen.unseen >= as_it_is.unseen - 0.005
    better = [score for score in layer.scores if score.seen > chosen.seen]
    assert all((score.unseen or 0) < as_it_is.unseen - 0.005 for score in better)


def test_mean_average_precision_equals_scikit_learns() -> None:
    """It is computed over the whole ranking of each query."""
    queries, gallery = made(each=3, seed=3), made(seed=4)
    found = measure_neighbours(queries, gallery)
    similarity = queries.vectors @ gallery.vectors.T
    expected = [
        average_precision_score(gallery.classes == number, row)
        for number, row in zip(queries.classes, similarity, strict=True)
    ]
    assert found is not None
    assert found.mean_average_precision == pytest.approx(np.mean(expected))


def test_precision_at_10_is_that_of_search_evaluate() -> None:
    """It divides by ten: with three relevant images the best possible value is 0.3."""
    queries, gallery = made(each=2, seed=3), made(each=3, seed=4)
    found = measure_neighbours(queries, gallery)
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
def test_few_classes_are_enough(classes: int) -> None:
    """With fewer than four, none is held out in cross-validation."""
    layer = fit_layer(made(classes=classes, each=5))
    assert np.isfinite(layer.weight).all()
    assert all(score.unseen is None for score in layer.scores)


def test_two_images_a_class_are_enough() -> None:
    """Folds are then fitted to one image per class."""
    assert np.isfinite(fit_layer(made(each=2)).weight).all()


def test_a_sample_of_many_classes_chooses_the_layer() -> None:
    """It has two images of each class in it; the layer is fitted to all classes."""
    training = made(classes=1_600, each=2)
    layer = fit_layer(training)
    assert np.isfinite(layer.weight).all()
    assert {score.seen == score.seen for score in layer.scores} == {True}
    assert _sample(training, 0).classes.size == 2 * CHOSEN_FROM_CLASSES
    assert set(np.unique(_sample(training, 0).classes, return_counts=True)[1]) == {2}


def test_the_sample_holds_two_images_of_small_classes() -> None:
    """Large classes do not displace small ones."""
    many, large = made(classes=1_000, each=2), made(classes=3, each=800)
    training = LabelledUnits(
        vectors=np.concatenate([many.vectors, large.vectors]),
        classes=np.concatenate([many.classes + 3, large.classes]),
    )
    sizes = np.unique(_sample(training, 4).classes, return_counts=True)[1]
    assert sizes.min() >= 2
    assert sizes.sum() <= CHOSEN_FROM


def test_logistic_regression_is_not_tried_on_large_data() -> None:
    """All other candidates are tried."""
    training, every = made(), {Method.NONE, Method.CENTRED, Method.LDA, Method.RIDGE, Method.LOGISTIC}
    assert {score.candidate.method for score in fit_layer(training).scores} == every
    size = training.vectors.size * 6
    for most, tried in ((size, every), (size - 1, every - {Method.LOGISTIC})):
        assert {each.method for each in _list_candidates(training, logistic_at_most=most)} == tried


@pytest.mark.parametrize("each", [3, 30], ids=["fewer images than values", "more"])
@pytest.mark.parametrize("classes", [2, 5])
def test_ridge_equals_scikit_learns(classes: int, each: int) -> None:
    """The directions are equal up to a common scale, for centred vectors."""
    training = made(classes=classes, each=each)
    centred = training.vectors - training.vectors.mean(axis=0)
    expected = np.atleast_2d(RidgeClassifier(alpha=0.7).fit(centred, training.classes).coef_).T
    if classes == 2:
        expected = np.concatenate([-expected, expected], axis=1)
    np.testing.assert_allclose(
        2 * _solve_ridge(centred, training.classes, 0.7), expected, rtol=1e-6, atol=1e-9
    )


def test_figures_do_not_depend_on_the_block_size() -> None:
    """Any number of queries may be ranked together."""
    queries, gallery = made(each=3, seed=3), made(seed=4)
    assert measure_neighbours(queries, gallery, at_once=4) == measure_neighbours(queries, gallery)


def test_unusable_training_data_is_refused() -> None:
    """There is one class, one image per class, NaN, or `dims` is larger than the vectors."""
    training = made()
    with pytest.raises(UsageError, match="only one class"):
        fit_layer(training.of(training.classes == 0))
    with pytest.raises(UsageError, match="only one training image"):
        fit_layer(training.of(np.arange(13)))
    broken = training.vectors.copy()
    broken[3, 3] = np.nan
    with pytest.raises(LookalikeError, match="not finite"):
        fit_layer(replace(training, vectors=broken))
    with refuses(UsageError, match="--dims: 25 "):
        fit_layer(training, dims=25)
