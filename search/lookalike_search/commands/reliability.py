"""Expected calibration errors as text and JSON."""

from lookalike_core.models.calibration_curves import Reliability
from lookalike_core.neighbours.vote import VoteRule

from lookalike_search.commands.json_records import CalibrationError


def reliability_lines(found: Reliability | None) -> list[str]:
    """Returns a title and a line for neighbours and for each vote."""
    if found is None:
        return ["expected calibration error: too few images or classes to tell"]
    verdicts = (f"{f'verdict, {rule}':30}  {error:.4f}" for rule, error in found.verdicts.items())
    return [
        f"expected calibration error, {found.bins} bins, on held-out halves",
        f"{'neighbours':30}  {found.neighbours:.4f}",
        f"{'neighbours, equally full bins':30}  {found.neighbours_equal_mass:.4f}",
        *verdicts,
    ]


def reliability_json(found: Reliability) -> CalibrationError:
    """Returns the JSON of calibration errors."""
    return {
        "bins": found.bins,
        "neighbours": found.neighbours,
        "neighbours_equal_mass": found.neighbours_equal_mass,
        "verdict": {VoteRule(rule): error for rule, error in found.verdicts.items()},
    }
