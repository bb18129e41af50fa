"""Formats a study of votes as tables and as JSON."""

from collections.abc import Iterator, Sequence
from math import isnan
from typing import TYPE_CHECKING

from lookalike_core.text import format_count

from lookalike_search.commands.interval_format import interval_json
from lookalike_search.evaluation.bootstrap import Estimate
from lookalike_search.evaluation.vote_study import (
    StudiedRule,
    StudyPart,
    VoteComparison,
    VoteStudy,
)

if TYPE_CHECKING:
    from lookalike_search.commands import json_records as records

_WIDTH = 16


def study_lines(study: VoteStudy) -> Iterator[str]:
    """Yields a table for the stored vectors and each level of noise, and the certain differences."""
    for part in study.parts:
        yield _title(part)
        yield f"{'k':>5}{''.join(f'{rule:>{_WIDTH}}' for rule in StudiedRule)}{'tied':>8}"
        for k in study.ks:
            found = part.accuracy[k].values()
            yield f"{k:5}{''.join(f'{_number(each.value):>{_WIDTH}}' for each in found)}{_tied(part, k):>8}"
            yield f"{'':5}{''.join(f'{_interval(each):>{_WIDTH}}' for each in found)}"
        yield ""
    yield f"{StudiedRule.NEAREST_OF_ALL}: as nearest-class, of all classes instead of those among the k"
    yield "tied: several classes have the most of the k neighbours"
    if study.left_out:
        missing = format_count(study.left_out, "image")
        yield f"left out of the sample, since they cannot be embedded again: {missing}"
    yield ""
    yield from _difference_lines(study.rules, "of rules with the majority")
    yield from _difference_lines(study.levels, "of noise with none")


def _title(part: StudyPart) -> str:
    if part.noise is None:
        return f"right votes over k, of {format_count(len(part.rows), 'image')} by their stored vectors"
    return (
        f"right votes over k, of a sample of {format_count(len(part.rows), 'image')} embedded again with "
        f"noise {part.noise:g}"
    )


def _number(value: float) -> str:
    return "-" if isnan(value) else f"{value:.4f}"


def _interval(found: Estimate) -> str:
    return "-" if isnan(found.low) else f"{found.low:.4f}-{found.high:.4f}"


def _tied(part: StudyPart, k: int) -> str:
    share = part.tied[k].value
    return "-" if isnan(share) else f"{share:.1%}"


def _difference_lines(found: Sequence[VoteComparison], what: str) -> Iterator[str]:
    """Yields the certain differences, and the number of the others."""
    if not found:
        return
    yield f"p by sign-flips, corrected (Holm) for {format_count(len(found), 'comparison')} {what}"
    certain = [each for each in found if each.is_certain]
    for each in certain:
        gain = each.difference
        yield (
            f"{_pair(each)}: {gain.value:+.4f} ({gain.low:+.4f} to {gain.high:+.4f}; p {each.p:.4f}): "
            f"{'higher' if gain.value > 0 else 'lower'}"
        )
    if others := len(found) - len(certain):
        yield f"no certain difference in {'the other ' if certain else ''}{others}"
    yield ""


def _pair(each: VoteComparison) -> str:
    if each.rule is each.against_rule:
        return f"{each.rule}, k {each.k}, noise {each.noise:g} against {each.against_noise:g}"
    where = "stored vectors" if each.noise is None else f"noise {each.noise:g}"
    return f"{each.rule} against {each.against_rule}, k {each.k}, {where}"


def studied_json(study: VoteStudy | None) -> "records.Studied":
    """Returns the JSON of an evaluation's study; empty without one."""
    return {"vote_study": _study_json(study)} if study else {}


def _study_json(study: VoteStudy) -> "records.VoteStudy":
    return {
        "provider": study.provider,
        "left_out": study.left_out,
        "parts": [_part_json(part) for part in study.parts],
        "rules": [_comparison_json(each) for each in study.rules],
        "levels": [_comparison_json(each) for each in study.levels],
    }


def _part_json(part: StudyPart) -> "records.StudyPart":
    return {
        "noise": part.noise,
        "pictures": len(part.rows),
        "votes": [
            {
                "k": k,
                "accuracy": {rule: interval_json(found) for rule, found in accuracy.items()},
                "tied": interval_json(part.tied[k]),
            }
            for k, accuracy in part.accuracy.items()
        ],
    }


def _comparison_json(each: VoteComparison) -> "records.VoteDifference":
    return {
        "rule": each.rule,
        "k": each.k,
        "noise": each.noise,
        "against_rule": each.against_rule,
        "against_noise": each.against_noise,
        **interval_json(each.difference),
        "p": each.p,
        "certain": each.is_certain,
    }
