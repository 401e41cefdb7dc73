"""The tokens of answers, in each vendor's form."""

from __future__ import annotations

import json

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meta.network.report import Metered
from reconciler.egress.meter import JSON_LIMIT, LINE_LIMIT, Meter

EVENTS, DOCUMENT = b"text/event-stream; charset=utf-8", b"application/json"


def head(kind: bytes, status: int = 200, encoding: bytes = b"identity") -> h11.Response:
    return h11.Response(status_code=status, headers=[(b"content-type", kind), (b"content-encoding", encoding)])


def stream(*rows: object, end: str = "\n") -> bytes:
    return "".join(f"event: x{end}data: {json.dumps(row)}{end}{end}" for row in rows).encode()


ANTHROPIC = stream(
    {
        "type": "message_start",
        "message": {
            "usage": {
                "input_tokens": 10,
                "cache_creation_input_tokens": 200,
                "cache_read_input_tokens": 3000,
                "output_tokens": 1,
            }
        },
    },
    {"type": "content_block_delta", "delta": {"text": 'a "usage": {"output_tokens": 999} of words'}},
    {"type": "ping"},
    {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 7}},
    {"type": "message_delta", "delta": {}, "usage": {"output_tokens": 42}},
    {"type": "message_stop"},
)
USAGE = {"input_tokens": 100, "input_tokens_details": {"cached_tokens": 60}, "output_tokens": 5}
CHAT = {"prompt_tokens": 100, "prompt_tokens_details": {"cached_tokens": 60}, "completion_tokens": 5}
GEMINI = {"promptTokenCount": 100, "cachedContentTokenCount": 60, "candidatesTokenCount": 5, "thoughtsTokenCount": 4}

FORMS = {
    "anthropic, a stream": ("anthropic", EVENTS, ANTHROPIC, Metered(1, 210, 42, 3000)),
    "anthropic, a document": (
        "anthropic",
        DOCUMENT,
        json.dumps({"type": "message", "usage": {"input_tokens": 3, "output_tokens": 4}}).encode(),
        Metered(1, 3, 4, 0),
    ),
    "anthropic, a count": ("anthropic", DOCUMENT, b'{"input_tokens": 2095}', Metered(1)),
    "openai, responses as a stream": (
        "openai",
        EVENTS,
        stream(
            {"type": "response.created", "response": {"usage": None}},
            {"type": "response.completed", "response": {"usage": USAGE}},
        ),
        Metered(1, 40, 5, 60),
    ),
    "openai, responses as a document": (
        "openai",
        DOCUMENT,
        json.dumps({"usage": USAGE}).encode(),
        Metered(1, 40, 5, 60),
    ),
    "openai, chat as a stream": (
        "openai",
        EVENTS,
        stream({"choices": [{}], "usage": None}, {"choices": [], "usage": CHAT}) + b"data: [DONE]\n\n",
        Metered(1, 40, 5, 60),
    ),
    "openai, chat as a document": ("openai", DOCUMENT, json.dumps({"usage": CHAT}).encode(), Metered(1, 40, 5, 60)),
    "gemini, a stream": (
        "gemini",
        EVENTS,
        stream({"usageMetadata": {**GEMINI, "candidatesTokenCount": 1}}, {"usageMetadata": GEMINI}, end="\r\n"),
        Metered(1, 40, 9, 60),
    ),
    "gemini, a document": ("gemini", DOCUMENT, json.dumps({"usageMetadata": GEMINI}).encode(), Metered(1, 40, 9, 60)),
    "gemini, a list": (
        "gemini",
        DOCUMENT,
        json.dumps([{"usageMetadata": {"promptTokenCount": 1}}, {"usageMetadata": GEMINI}], indent=1).encode(),
        Metered(1, 40, 9, 60),
    ),
}


@pytest.mark.parametrize(("form", "kind", "body", "expected"), FORMS.values(), ids=FORMS.keys())
def test_the_tokens_of_each_form_are_counted(form: str, kind: bytes, body: bytes, expected: Metered) -> None:
    meter = Meter(form)
    meter.begin(head(kind))
    meter.feed(body)
    assert meter.tokens() == expected


@given(st.data())
def test_the_pieces_in_which_an_answer_comes_change_nothing(data: st.DataObject) -> None:
    form, kind, body, expected = data.draw(st.sampled_from(list(FORMS.values())))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=20)))
    meter = Meter(form)
    meter.begin(head(kind))
    for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        meter.feed(body[start:end])
    assert meter.tokens() == expected


@given(st.sampled_from(["anthropic", "openai", "gemini"]), st.sampled_from([EVENTS, DOCUMENT]), st.binary())
def test_any_bytes_are_a_request_without_tokens_or_with_some(form: str, kind: bytes, body: bytes) -> None:
    meter = Meter(form)
    meter.begin(head(kind))
    meter.feed(b'data: {"usage": ' + body)
    meter.feed(b'\ndata: {"usage": {"input_tokens": -1, "output_tokens": "7"}, "usageMetadata": []}\n')
    assert meter.tokens() == Metered(1)


@pytest.mark.parametrize("answer", [head(EVENTS, 529), head(EVENTS, 400), head(EVENTS, 200, b"gzip")])
def test_an_answer_that_failed_or_is_compressed_is_a_request_only(answer: h11.Response) -> None:
    meter = Meter("anthropic")
    meter.begin(answer)
    meter.feed(ANTHROPIC)
    assert meter.tokens() == Metered(1)


def test_without_an_answer_there_is_nothing_to_count() -> None:
    assert Meter("anthropic").tokens() is None


def test_a_line_that_is_too_long_is_skipped_and_the_next_ones_count() -> None:
    meter = Meter("anthropic")
    meter.begin(head(EVENTS))
    for _ in range(3):
        meter.feed(b"data: " + b"x" * LINE_LIMIT)
    assert len(meter._held) <= LINE_LIMIT
    meter.feed(b"\n\n" + ANTHROPIC)
    assert meter.tokens() == Metered(1, 210, 42, 3000)


def test_a_document_that_is_too_long_is_not_kept() -> None:
    meter = Meter("anthropic")
    meter.begin(head(DOCUMENT))
    meter.feed(b"x" * (JSON_LIMIT + 1))
    assert not meter._held
    assert meter.tokens() == Metered(1)
