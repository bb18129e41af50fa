"""The API is what its description says: requests that Schemathesis makes of it have the described answers."""

import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from lookalike_search.commands.job_commands import job_words
from lookalike_search.serving.jobs import JobKind, JobState
from lookalike_search.serving.openapi import describe_api
from lookalike_search.serving.query_fields import Fields
from schemathesis.checks import CHECKS, load_all_checks
from waiting import wait_until

DESCRIBED = {
    each.ok().label: each.ok() for each in schemathesis.openapi.from_dict(describe_api()).get_all_operations()
}
"""The operations by method and address."""

VALID, INVALID = schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE

WITHOUT_SUCCESS = (
    "GET /api/v1/jobs/{name}",
    "DELETE /api/v1/jobs/{name}",
    "GET /api/v1/images/{id}/original",
)
"""Jobs have ids that are not known before, and originals are not served."""

WITHOUT_WRONG_FIELDS = (
    "GET /api/v1/jobs",
    "GET /api/v1/jobs/{name}",
    "DELETE /api/v1/jobs/{name}",
    "GET /api/v1/uploads/{id}",
    "DELETE /api/v1/uploads/{id}",
    "GET /api/v1/collections",
)
"""They have no field, or one that may be any text."""

FAST, SLOW = 4, 15
"""Requests to each address: with known values, with any valid ones, and with invalid ones."""

LEAST_KNOWN = 16
"""Requests with known values at least, so that some of them can be answered."""

Known = dict[str, dict[str, Any]]
"""Field -> the schema of values that are there."""


@pytest.fixture(scope="module")
def served(album: Any, start_serving: Callable[..., Any]) -> Iterator[Any]:
    """Returns a server whose jobs have their fields read, and do nothing."""

    def command(default: str) -> Callable[[JobKind, Fields], Sequence[str]]:
        def read(kind: JobKind, fields: Fields) -> Sequence[str]:
            job_words(kind, fields, default=default)
            return sys.executable, "-c", "print('{}')"

        return read

    with start_serving(album.folder / "home", job_command=command) as one:
        yield one


@pytest.fixture(scope="module")
def checks() -> list[Any]:
    """Returns what each answer is checked for."""
    load_all_checks()
    names = (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
    )
    return CHECKS.get_by_names(names)


@pytest.fixture(scope="module")
def known(served: Any) -> Known:
    """Returns fields with values of this server; where bytes are sent, some are an image."""
    with served.client() as client:
        hits = client.post("/api/v1/query", json={"path": "cat/1.png"}).json()["hits"][:3]
        image = (served.images / "cat" / "1.png").read_bytes()
        upload = client.post("/api/v1/uploads", files={"image": image}).json()["upload"]
        collections = [each["name"] for each in client.get("/api/v1/collections").json()["collections"]]
    schemathesis.openapi.format(
        "binary", st.sampled_from([image, image, image[:200], b""]) | st.binary(max_size=50)
    )
    ids, paths = ([hit[key] for hit in hits] for key in ("id", "path"))
    return {
        "id": {"enum": ids},
        "path": {"enum": paths},
        "upload": {"enum": [upload]},
        "neighbour": {"enum": [*ids, *paths]},
        "query": {"enum": ids},
        "after": {"enum": ids},
        "and": {"type": "array", "items": {"enum": [*paths, f"upload:{upload}"]}, "maxItems": 2},
        "not": {"type": "array", "items": {"enum": ids}, "maxItems": 2},
        "dataset": {"enum": ["album"]},
        "class": {"enum": ["cat", "dog"]},
        "region": {"enum": ["1,2,30,40", "10%,10%,50%,50%"]},
        "collection": {"enum": collections},
    }


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    """Returns a client that keeps its connection."""
    with requests.Session() as one:
        yield one


@pytest.fixture
def operations(served: Any, known: Known) -> dict[str, Any]:
    """Returns the operations with known values of their fields, and an upload of its own to remove."""
    document = with_known(describe_api(), known)
    with served.client() as client:
        image = (served.images / "cat" / "1.png").read_bytes()
        removed = client.post("/api/v1/uploads", files={"image": image}).json()["upload"]
    for path, methods in document["paths"].items():
        if "/uploads/{id}" in path:
            for method, part in methods.items():
                id_ = {"enum": [removed]} if method == "delete" else known["upload"]
                methods[method] = with_known(part, {"id": id_})
    found = [each.ok() for each in schemathesis.openapi.from_dict(document).get_all_operations()]
    return {each.label: each for each in found}


def with_known(part: Any, known: Known) -> Any:
    """Returns a part of a description in which fields have known values."""
    if isinstance(part, list):
        return [with_known(each, known) for each in part]
    if not isinstance(part, dict):
        return part
    found = {key: with_known(value, known) for key, value in part.items()}
    if "in" in found and found["name"] in known:
        found["schema"] = known[found["name"]]
    if found.get("additionalProperties") is False:  # fields that are read
        found["properties"] |= {name: known[name] for name in found["properties"] if name in known}
    return found


def wait_for_jobs(served: Any) -> None:
    """Waits until no job waits or runs: one that finds too many waiting is refused with 503."""
    unfinished = {JobState.WAITING, JobState.RUNNING}
    with served.client() as client:
        wait_until(
            lambda: all(job["state"] not in unfinished for job in client.get("/api/v1/jobs").json()["jobs"])
        )


def fuzz(operation: Any, mode: Any, examples: int, check: Callable[[Any], None]) -> None:
    """Sends requests, the same ones in every run."""

    @settings(
        max_examples=examples,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def run(case: Any) -> None:
        check(case)

    run()


@pytest.mark.parametrize("label", DESCRIBED)
@pytest.mark.parametrize("examples", [FAST, pytest.param(SLOW, marks=pytest.mark.slow)])
def test_answers_are_those_that_are_described(
    served: Any,
    operations: dict[str, Any],
    session: requests.Session,
    checks: list[Any],
    label: str,
    examples: int,
) -> None:
    """No fault of the server, and a described status, type and form, whatever was sent."""
    statuses = set()

    def check(case: Any) -> None:
        if label.startswith("POST /api/v1/jobs/"):
            wait_for_jobs(served)
        sent = {"base_url": served.url, "session": session, "timeout": 120}
        statuses.add(case.call_and_validate(**sent, checks=checks).status_code)

    fuzz(operations[label], VALID, max(examples, LEAST_KNOWN), check)
    if label in WITHOUT_SUCCESS:
        assert statuses <= {400, 404}
    else:
        assert statuses & {200, 201, 202}
    fuzz(DESCRIBED[label], VALID, examples, check)
    if label not in WITHOUT_WRONG_FIELDS:
        fuzz(DESCRIBED[label], INVALID, examples, check)
