"""schemathesis against the OpenAPI that is served: no 500, every answer as described, whatever is asked.

It makes requests from the document, right ones and wrong ones, sends them to http.sock, and holds each answer to the
document: its status, its media type, its schema. test_http_odd.py has the odd values that we thought of ourselves.
"""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi import checks

from api.http.openapi import document
from meta.config import Config
from meta.names import MANAGER
from tests.api.conftest import Hive
from tests.support.fake_service import ALICE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from schemathesis import Case

EXAMPLES = 200 if os.environ.get("HIVE_FULL") == "1" else 6
LEFT_OUT = {"live", "pod_events", "backup", "metrics", "healthz", "rebuild_all", "wait"}
"""Files, and what a service of words only has no answer for; each has tests of its own."""
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.response_headers_conformance,
]


def readable(found: dict[str, Any]) -> dict[str, Any]:
    """Part of the document, without `prefixItems`, which schemathesis turns into what its own validator refuses."""
    if "prefixItems" in found:
        found["items"], *others = found.pop("prefixItems")
        assert all(other == found["items"] for other in others)
    return found


SCHEMA = schemathesis.openapi.from_dict(json.loads(document("1"), object_hook=readable))


def described() -> Iterator[Any]:
    for found in SCHEMA.get_all_operations():
        assert isinstance(found, Ok), found
        operation = found.ok()
        if operation.definition.raw["operationId"] not in LEFT_OUT:
            yield pytest.param(operation, id=operation.label)


@pytest.fixture
def line_limit() -> int:
    return Config().max_line_bytes


def bounded(case: Case[Any]) -> None:
    """No stream, and nothing that waits: those have tests of their own. Half of the agents are there."""
    if case.path == "/api/events":
        case.query["follow"] = 0
    for key in {"wait"} & set(case.query):
        case.query[key] = 0
    if "agent" in case.path_parameters and len(str(case.path_parameters["agent"])) % 2:
        case.path_parameters["agent"] = ALICE


@pytest.mark.parametrize("operation", list(described()))
async def test_every_answer_is_as_the_document_says(hive: Hive, operation: Any) -> None:
    hive.fake.add()
    transport = httpx2.HTTPTransport(uds=str(hive.layout.http_socket))
    right, wrong = (operation.as_strategy(generation_mode=mode) for mode in GenerationMode)
    takes_something = bool(operation.body) or any(True for _ in operation.iter_parameters())

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=EXAMPLES < 100,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.one_of(right, wrong) if takes_something else right)
    def ask(case: Case[Any]) -> None:
        bounded(case)
        hive.fake.names[:] = [ALICE, MANAGER]
        made = case.as_transport_kwargs(base_url="http://hive")
        if isinstance(made.get("data"), (bytes, str)):
            made["content"] = made.pop("data")
        made.pop("cookies", None)
        case.validate_response(client.request(**made), checks=CHECKS)

    with httpx2.Client(transport=transport, timeout=20) as client:
        await asyncio.to_thread(ask)
