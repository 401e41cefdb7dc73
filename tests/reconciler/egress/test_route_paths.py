"""Which paths of a key's upstream are served."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from meta.network.verdict import Verdict
from reconciler.egress.ports import Denied
from reconciler.egress.routes import check_path
from tests.support.egress_http import route

PATHS = {
    "/v1/messages": True,
    "/v1/messages?beta=true&x=/../": True,
    "/v1/messages/count_tokens": True,
    "/v1/messages/": False,
    "/v1/messages/batches": False,
    "/v1/messages/batches/b1/cancel": False,
    "/v1/messagesX": False,
    "/v1/messages/../files": False,
    "/v1/messages/%2e%2e/files": False,
    "/v1/messages/.%2E/files": False,
    "/v1/messages/..;x/files": False,
    "/v1/messages/..": False,
    "/v1/messages/./count_tokens": False,
    "/v1//messages": False,
    "//v1/messages": False,
    "/v1/messages%2f..%2ffiles": False,
    "/v1/messages/a%5cb": False,
    "/v1/messages\\..\\files": False,
    "/v1/messages/%00": False,
    "/v1/messages/%0d%0aX": False,
    "/v1/messages/%zz": False,
    "/v1/messages#x": False,
    "/v1/Messages": False,
    "/v1/files": False,
    "/": False,
    "": False,
    "v1/messages": False,
}


@pytest.mark.parametrize(("target", "is_served"), PATHS.items())
def test_a_path_is_served_only_in_its_clean_spelling(target: str, is_served: bool, tmp_path: Path) -> None:
    own = route(tmp_path)
    if is_served:
        check_path(own, b"POST", target.encode())
        return
    with pytest.raises(Denied) as denied:
        check_path(own, b"POST", target.encode())
    assert denied.value.verdict is Verdict.NO_ROUTE


MODELS = {
    ("openai", "POST", "/v1/responses"): True,
    ("openai", "POST", "/v1/responses/compact"): True,
    ("openai", "POST", "/v1/responses/r1/cancel"): False,
    ("openai", "GET", "/v1/responses/r1"): False,
    ("openai", "GET", "/v1/models/gpt-5"): True,
    ("openai", "POST", "/v1/batches"): False,
    ("gemini", "POST", "/v1beta/models/gemini-2.5-pro:generateContent"): True,
    ("gemini", "POST", "/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse"): True,
    ("gemini", "POST", "/v1beta/models/gemini-2.5-pro:batchGenerateContent"): False,
    ("gemini", "POST", "/v1beta/models/veo-3.0:predictLongRunning"): False,
    ("gemini", "POST", "/v1beta/models/a:batchGenerateContent:generateContent"): False,
    ("gemini", "POST", "/v1beta/models/a%3AbatchGenerateContent:generateContent"): False,
    ("gemini", "POST", "/v1beta/models/a/operations/b:generateContent"): False,
    ("gemini", "GET", "/v1beta/models/gemini-2.5-pro"): True,
    ("gemini", "GET", "/v1beta/models/veo-3.0/operations/x"): False,
}


@pytest.mark.parametrize(("asked", "is_served"), MODELS.items())
def test_of_a_models_api_only_what_names_its_tokens_is_served(
    asked: tuple[str, str, str], is_served: bool, tmp_path: Path
) -> None:
    kind, method, target = asked
    own = route(tmp_path, kind=kind)
    if is_served:
        check_path(own, method.encode(), target.encode())
        return
    with pytest.raises(Denied):
        check_path(own, method.encode(), target.encode())


def test_a_path_that_ends_with_a_slash_serves_what_is_below(tmp_path: Path) -> None:
    own = route(tmp_path, kind="http", upstream="https://own.example", paths=["GET /v1/", "GET /jobs"])
    check_path(own, b"GET", b"/v1/")
    check_path(own, b"GET", b"/v1/a/b:c?d")
    check_path(own, b"GET", b"/jobs")
    for target in (b"/v1", b"/v10/a", b"/jobs/1", b"/v1/../jobs"):
        with pytest.raises(Denied):
            check_path(own, b"GET", target)


def test_a_path_is_served_with_its_own_methods_only(tmp_path: Path) -> None:
    check_path(route(tmp_path), b"HEAD", b"/api/hello")
    with pytest.raises(Denied):
        check_path(route(tmp_path), b"GET", b"/v1/messages")
    with pytest.raises(Denied):
        check_path(route(tmp_path), b"post", b"/v1/messages")


HIDDEN = {
    "/pub/..%3b/adm": False,
    "/pub/%252e%252e/adm": False,
    "/pub/%c0%ae%c0%ae/adm": False,
    "/pub/%EF%BC%8E%EF%BC%8E/adm": False,
    "/pub/..%20/adm": False,
    "/pub/%20../adm": False,
    "/pub/%2e%2e%20/adm": False,
    "/pub/a%20b.c": True,
    "/pub/a%3Ab": True,
}


@pytest.mark.parametrize(("target", "is_served"), HIDDEN.items())
def test_a_path_is_not_served_that_may_have_hidden_dots(target: str, is_served: bool, tmp_path: Path) -> None:
    own = route(tmp_path, paths=["GET /pub/"])
    with contextlib.nullcontext() if is_served else pytest.raises(Denied):
        check_path(own, b"GET", target.encode())


def test_a_key_for_every_path_serves_names_in_every_language(tmp_path: Path) -> None:
    check_path(route(tmp_path, paths=["GET /"]), b"GET", b"/files/caf%C3%A9%20100%25.txt")
