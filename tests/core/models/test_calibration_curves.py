"""The record of a calibration: its curves, its JSON, and malformed ones."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from lookalike_core.errors import ManifestError
from lookalike_core.models.calibration_curves import Calibration, Curve, percent
from lookalike_core.models.model_manifest import JSON_KEYS

CURVE = Curve(knots=(0.2, 0.4, 0.8), chances=(0.1, 0.5, 0.9))


def test_a_curve_is_straight_between_knots_and_level_beyond() -> None:
    """Values may have any shape; NaN stays NaN."""
    values = np.array([[-np.inf, 0.0, 0.2, 0.3], [0.6, 0.8, 5.0, np.nan]])
    expected = [[0.1, 0.1, 0.1, 0.3], [0.7, 0.9, 0.9, np.nan]]
    np.testing.assert_allclose(CURVE(values), expected, atol=1e-12)


def test_a_curve_of_one_knot_is_level() -> None:
    """All neighbours were at the same distance."""
    found = Curve(knots=(0.5,), chances=(0.25,))(np.array([0.0, 0.5, 1.0, np.nan]))
    np.testing.assert_array_equal(found, [0.25, 0.25, 0.25, np.nan])


def test_a_calibration_answers_by_its_curves(calibration: Calibration) -> None:
    """Neighbours, candidates and verdicts each have their own curve."""
    asked = np.array([0.4, 0.7])
    np.testing.assert_allclose(calibration.chance(asked), [0.25, (0.25 + 2 / 3) / 2])
    np.testing.assert_allclose(calibration.candidate_chance(asked), [0.5, 0.5])
    assert calibration.verdict_chance("majority", 0.9) == pytest.approx(2 / 3)
    assert calibration.verdict_chance("unanimous", 0.9) is None


def test_queries_below_the_threshold_are_out_of_distribution(calibration: Calibration) -> None:
    """A nearness equal to the threshold, but for float32's rounding, is accepted."""
    assert calibration.is_unlike_anything(0.39)
    assert calibration.is_unlike_anything(0.39999)
    assert not calibration.is_unlike_anything(float(np.nextafter(np.float32(0.4), np.float32(0))))
    assert not calibration.is_unlike_anything(0.4)
    assert not calibration.is_unlike_anything(0.9)


@pytest.mark.parametrize(
    ("changes", "fits"),
    [({}, True), ({"points": 4}, False), ({"identity": "f" * 16}, False), ({"distance": "euclid"}, False)],
)
def test_a_calibration_fits_only_its_own_collection(
    calibration: Calibration, changes: dict[str, Any], fits: bool
) -> None:
    """Another space, distance or number of points makes it stale."""
    asked = {"identity": calibration.identity, "distance": "cosine", "points": 3} | changes
    assert calibration.fits(**asked) is fits


def test_a_calibration_survives_json(calibration: Calibration) -> None:
    """All figures are equal to the last bit."""
    assert Calibration.from_json(json.loads(json.dumps(calibration.to_json()))) == calibration


def test_integers_may_be_read_as_floats(calibration: Calibration) -> None:
    """JSON of other languages may write 3 for 3.0."""
    data = calibration.to_json() | {"points": 3.0}
    data["candidates"] = {"knots": [0], "chances": [1]}
    found = Calibration.from_json(data)
    assert found == replace(calibration, candidates=Curve(knots=(0.0,), chances=(1.0,)))


@pytest.mark.parametrize("field", sorted({*Calibration.__dataclass_fields__} - {"revision", "conformal"}))
def test_a_calibration_with_a_missing_field_is_refused(calibration: Calibration, field: str) -> None:
    """An incomplete calibration must not be completed by defaults."""
    data = calibration.to_json()
    del data[JSON_KEYS.get(field, field)]
    with pytest.raises(ManifestError, match=field):
        Calibration.from_json(data)


def test_a_calibration_of_an_earlier_version_has_no_conformal_scores(calibration: Calibration) -> None:
    """It still opens, with all its other figures."""
    data = calibration.to_json()
    del data["conformal"]
    assert Calibration.from_json(data) == replace(calibration, conformal=None)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("points", -1),
        ("points", 2.5),
        ("points", "3"),
        ("points", float("inf")),
        ("neighbours", None),
        ("neighbours", {"knots": [], "chances": []}),
        ("neighbours", {"knots": [1, 2], "chances": [0.5]}),
        ("neighbours", {"knots": [2, 1], "chances": [0.1, 0.5]}),
        ("neighbours", {"knots": [1, 1], "chances": [0.1, 0.5]}),
        ("neighbours", {"knots": [1, 2], "chances": [0.5, 0.1]}),
        ("neighbours", {"knots": [1, 2], "chances": [0.5, 1.1]}),
        ("neighbours", {"knots": [1, 2], "chances": [-0.1, 0.5]}),
        ("neighbours", {"knots": [1], "chances": [float("nan")]}),
        ("neighbours", {"knots": [float("nan")], "chances": [0.5]}),
        ("candidates", {"knots": [1, float("inf")], "chances": [0.1, 0.5]}),
        ("verdicts", ["majority"]),
        ("verdicts", {"majority": 0.5}),
        ("threshold", {"nearness": float("nan"), "refused": 0, "caught": 0}),
        ("threshold", {"nearness": 0.5, "refused": 2, "caught": 0}),
        ("reliability", {"bins": 10, "neighbours": 0.1, "neighbours_equal_mass": 0.1, "verdicts": {"m": 3}}),
        ("conformal", {"pictures": 2, "ranks": [1], "scores": [0.1], "coverages": []}),
        ("conformal", {"pictures": 2, "ranks": [2, 1], "scores": [0.1, 0.2], "coverages": []}),
        ("conformal", {"pictures": 2, "ranks": [1, 2], "scores": [0.2, 0.1], "coverages": []}),
        ("conformal", {"pictures": 2, "ranks": [1, 2], "scores": [0.2], "coverages": []}),
        ("conformal", {"pictures": 2, "ranks": [0, 2], "scores": [0.1, 0.2], "coverages": []}),
        ("conformal", {"pictures": 1, "ranks": [1], "scores": [float("nan")], "coverages": []}),
        ("conformal", {"pictures": 0, "ranks": [], "scores": [], "coverages": [{"confidence": 2}]}),
        ("conformal", []),
    ],
)
def test_a_malformed_calibration_is_refused(calibration: Calibration, field: str, value: object) -> None:
    """Falling curves, non-numbers, and figures out of range are refused."""
    with pytest.raises(ManifestError, match="not a calibration that lookalike wrote"):
        Calibration.from_json(calibration.to_json() | {field: value})


@pytest.mark.parametrize(
    ("chance", "shown"),
    [(0.0, "< 1 %"), (0.004, "< 1 %"), (0.006, "≈ 1 %"), (0.874, "≈ 87 %"), (0.994, "≈ 99 %"), (1, "> 99 %")],
)
def test_a_chance_is_never_shown_as_certain(chance: float, shown: str) -> None:
    """Nor is it shown as impossible."""
    assert percent(chance) == shown
