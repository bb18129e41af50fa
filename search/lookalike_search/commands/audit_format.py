"""An audit as lines of text."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from lookalike_core.cli.table import align_columns
from lookalike_core.models.calibration_curves import percent
from lookalike_core.stores.points import Payload
from lookalike_core.text import format_count

from lookalike_search.analysis.audit import Audit, NearPair, Outlier


def audit_lines(audit: Audit, *, limit: int, false_discoveries: float) -> Iterator[str]:
    """Yields each kind of findings as a heading and aligned columns; paths are never cut."""
    rate = f"{false_discoveries:.3g}"
    unlabelled = f", {audit.unlabelled} without a class" if audit.unlabelled else ""
    yield f"{format_count(audit.images, 'image')}{unlabelled}; of each kind at most {limit} are shown"
    yield from audit.notes
    yield ""
    if audit.noise is not None:
        yield from _part(
            f"wrong labels: {len(audit.wrong_labels)} at a false discovery rate of {rate}; "
            f"about {audit.noise:.1%} of {audit.judged} labels are wrong",
            [
                (percent(e.chance), e.payload.class_name or "", "->", e.suggested, _place(e.payload, e.file))
                for e in audit.wrong_labels[:limit]
            ],
            "><<<",
        )
    strange = sum(each.false_discovery_rate is not None for each in audit.outliers)
    yield from _part(
        f"outliers: {strange} without a class at a false discovery rate of {rate}, and the "
        f"{len(audit.outliers) - strange} farthest of the others",
        [_outlier(each) for each in audit.outliers[:limit]],
        "<<",
    )
    yield from _part(
        f"near-duplicates across classes, datasets or splits: {len(audit.near_pairs)}",
        [line for each in audit.near_pairs[:limit] for line in _pair(each)],
        "<<<",
    )
    yield from _part(
        f"classes that neighbours cannot tell apart: {len(audit.overlaps)}",
        [
            (f"{each.taken} of {each.images}", each.class_name, "taken for", each.other)
            for each in audit.overlaps[:limit]
        ],
        "><<",
    )
    if audit.faults is not None:
        unread = f"; not read: {sum(audit.unread.values())}" if audit.unread else ""
        yield from _part(
            f"blank, dark and blurred images: {len(audit.faults)}{unread}",
            [
                (each.fault, f"{each.value:.1f}", _place(each.payload, each.file))
                for each in audit.faults[:limit]
            ],
            "<>",
        )
    yield "nothing was changed"


def _part(title: str, rows: Sequence[Sequence[str]], sides: str) -> Iterator[str]:
    yield title
    yield from (f"  {line}" for line in (align_columns(rows, sides) if rows else ()))
    yield ""


def _outlier(each: Outlier) -> tuple[str, str, str]:
    rate = each.false_discovery_rate
    score = f"p {each.p_value:.4f}" if rate is None else f"false discovery rate {rate:.4f}"
    return score, each.payload.class_name or "no class", _place(each.payload, each.file)


def _pair(each: NearPair) -> Iterator[tuple[str, str, str, str]]:
    match = "same bytes" if each.is_identical else f"{each.similarity:.4f}"
    between = ", ".join(each.across)
    yield match, between, each.payload.class_name or "no class", _place(each.payload, each.file)
    yield "", "", each.other.class_name or "no class", _place(each.other, each.other_file)


def _place(payload: Payload, file: Path | None) -> str:
    return str(file) if file else f"{payload.dataset}: {payload.path}"
