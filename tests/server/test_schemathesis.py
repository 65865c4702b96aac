"""Requests that schemathesis makes of the description: every answer is as it says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import pytest
import requests
import squares
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")

GenerationMode = schemathesis.GenerationMode
checks = pytest.importorskip("schemathesis.checks")
checks.load_all_checks()

Ask = Any
EXAMPLES = 4
"""For each operation and each kind: some 430 requests in all, eight seconds of processor time."""
HELD = [
    # Not those for what no schema says, as a cursor that is not ours; nor those that try other
    # keys, because ours is sent with every request.
    one
    for name in (
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_headers_conformance",
        "response_schema_conformance",
    )
    for one in checks.CHECKS.get_by_names([name])
]


@pytest.fixture
def known(people: Ask) -> dict[str, str]:
    """Values that lead somewhere, by the parameter's name."""
    found = people.search((1, 9))
    case = people(
        "POST",
        "/v1/cases",
        status=201,
        json={"gallery": "a", "search": found["id"], "title": "x"},
    )
    mark = people(
        "POST",
        "/v1/galleries/a/marks",
        status=201,
        json={"search": found["id"], "person": found["candidates"][0]["person"]["id"]},
    )
    job = people(
        "POST",
        "/v1/galleries/a/jobs",
        status=202,
        files=[("images", ("P/1.png", squares.photo((5, 0))))],
    )
    merge = people("POST", "/v1/galleries/a/people/p4/merge", status=201, json={"into": "p3"})
    gone = people("DELETE", "/v1/galleries/a/people/p2")
    return {
        "gallery": "a",
        "person": "p1",
        "face": "1",
        "search": found["id"],
        "case": case["id"],
        "mark": mark["id"],
        "job": job["id"],
        "merge": merge["id"],
        "certificate": gone["id"],
        "picture": "aligned",
    }


def evened(schema: Any) -> Any:
    """A copy in which pairs are lists of two, because schemathesis takes ``prefixItems`` for wrong.

    Only where both are of one kind, as they are in all of ours.
    """
    if isinstance(schema, list):
        return [evened(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: evened(one) for name, one in schema.items() if name != "prefixItems"}
    if "prefixItems" in schema:
        assert all(one == schema["prefixItems"][0] for one in schema["prefixItems"])
        made["items"] = evened(schema["prefixItems"][0])
    return made


def test_every_operation_answers_as_described(people: Ask, known: Mapping[str, str]) -> None:
    document = evened(people.http.app.openapi())
    asked: Counter[str] = Counter()
    statuses: Counter[int] = Counter()
    wrong: dict[tuple[str, int], str] = {}

    def answer_to(case: Any) -> Any:
        asked[case.operation.label] += 1
        # Every other request is about something that there is.
        if asked[case.operation.label] % 2:
            for name in case.path_parameters or {}:
                case.path_parameters[name] = known.get(name, case.path_parameters[name])
        sent = case.as_transport_kwargs(base_url="http://127.0.0.1:8765")
        sent["headers"] = {**(sent.get("headers") or {}), **people.headers}
        request = requests.Request(**sent).prepare()
        return people.http.request(
            request.method, request.url, headers=dict(request.headers), content=request.body
        )

    schema = schemathesis.openapi.from_dict(document)
    operations = [found.ok() for found in schema.get_all_operations()]
    # What there is to ask about goes last, and the gallery after all else.
    for operation in sorted(operations, key=lambda one: (one.method == "delete", -len(one.path))):
        if operation.path.endswith("/events") or operation.label.startswith("DELETE /v1/keys"):
            continue  # endless, and the key that asks
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

            @settings(
                max_examples=EXAMPLES,
                deadline=None,
                database=None,
                phases=[Phase.explicit, Phase.generate],
                suppress_health_check=list(HealthCheck),
            )
            @seed(7)
            @given(case=operation.as_strategy(generation_mode=mode))
            def ask(case: Any) -> None:
                answer = answer_to(case)
                statuses[answer.status_code] += 1
                try:
                    case.validate_response(answer, checks=HELD)
                except Exception as failure:
                    place = (case.operation.label, answer.status_code)
                    wrong.setdefault(place, str(failure)[:1500])

            with suppress(Unsatisfiable):  # where there is nothing to ask wrong
                ask()
    assert not wrong
    assert sum(asked.values()) > 300
    assert statuses[200] + statuses[201] > 50
