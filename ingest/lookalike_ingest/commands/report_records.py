"""Reports of ingests as JSON records."""

from lookalike_core.cli.hint_words import full_message
from lookalike_core.errors import UsageError

from lookalike_ingest.commands import json_records as records
from lookalike_ingest.report import IngestReport
from lookalike_ingest.request import IngestRequest


def problem_json(request: IngestRequest, problem: UsageError) -> records.FailedIngest:
    """Returns the record of a folder that could not be ingested."""
    dataset = request.dataset
    return {"schema": 1, "dataset": dataset.name, "root": dataset.root, "error": full_message(problem)}


def report_json(report: IngestReport) -> records.Ingest:
    """Returns the record of an ingest."""
    return {
        "schema": 1,
        "dataset": report.dataset.name,
        "root": report.dataset.root,
        "store": report.store,
        "part": str(report.part) if report.part else None,
        "interrupted": report.interrupted,
        "found": report.found,
        "not_taken": report.not_taken,
        "skipped": records.skipped_json(report.skipped),
        "other_files": {
            "total": report.others.total,
            "by_suffix": dict(report.others.by_suffix.most_common()),
        },
        "excluded": {"folders": report.others.excluded_folders, "images": report.others.excluded_images},
        "linked_folders": report.others.linked_folders,
        "rules": report.dataset.rules,
        "split_classes": list(report.split_classes),
        "unused_labels": report.unused_labels,
        "overlapping_datasets": [{"dataset": each.name, "root": each.root} for each in report.overlapping],
        "gone_datasets": [
            {"dataset": each.name, "root": each.root, "points": each.points, "shared": each.shared}
            for each in report.gone_datasets
        ],
        "collections": [
            {
                "name": collection.name,
                "provider": collection.provider,
                "added": collection.counts["added"],
                "updated": collection.counts["updated"],
                "moved": collection.counts["moved"],
                "unchanged": collection.counts["unchanged"],
                "removed": collection.counts["removed"],
                "excluded": collection.counts["excluded"],
                "removed_paths": collection.removed,
                "away_paths": collection.away,
                "waiting": collection.waiting,
            }
            for collection in report.collections
        ],
        "took_ms": round(report.took_s * 1000),
        "images_per_second": round(report.images_per_second, 2),
        "from_stored": report.from_stored,
    }
