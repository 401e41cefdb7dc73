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


def test_of_a_line_that_is_too_long_the_end_is_kept_and_the_next_ones_count() -> None:
    meter = Meter("anthropic")
    meter.begin(head(EVENTS))
    for _ in range(3):
        meter.feed(b"data: " + b"x" * LINE_LIMIT)
    assert len(meter._held) <= LINE_LIMIT
    meter.feed(b"\n\n" + ANTHROPIC)
    assert meter.tokens() == Metered(1, 210, 42, 3000)


def test_of_a_document_that_is_too_long_only_the_end_is_kept() -> None:
    meter = Meter("anthropic")
    meter.begin(head(DOCUMENT))
    for _ in range(8):
        meter.feed(b"x" * (JSON_LIMIT // 4))
    assert len(meter._held) <= LINE_LIMIT
    assert meter.tokens() == Metered(1)


def completed(size: int, **own: object) -> dict[str, object]:
    """Return an answer of Responses, which repeats what was asked."""
    return {"instructions": "x" * size, "usage_notes": 1, **own, "usage": USAGE, "user": None, "metadata": {}}


OWN = {"parameters": {"properties": {"usage": {"input_tokens": 1, "output_tokens": 1}}}}
LONG = {
    "a line that repeats long instructions": (
        "openai",
        EVENTS,
        stream({"type": "response.completed", "response": completed(300_000)}),
    ),
    "a document that repeats long instructions": ("openai", DOCUMENT, json.dumps(completed(1_100_000)).encode()),
    "tools that look like the tokens": (
        "openai",
        EVENTS,
        stream({"response": completed(300_000, tools=[OWN] * 20, text='"usage": {"input_tokens": 9}')}),
    ),
    "a long list": (
        "gemini",
        DOCUMENT,
        json.dumps([{"text": "x" * 400_000, "usageMetadata": {**GEMINI, "thoughtsTokenCount": 0}}] * 3).encode(),
    ),
}


@pytest.mark.parametrize(("form", "kind", "body"), LONG.values(), ids=LONG.keys())
def test_the_tokens_behind_what_is_too_long_count(form: str, kind: bytes, body: bytes) -> None:
    meter = Meter(form)
    meter.begin(head(kind))
    for start in range(0, len(body), 50_000):
        meter.feed(body[start : start + 50_000])
    assert meter.tokens(1) == Metered(1, 40, 5, 60)


WORDS = 'w"\n' * 100
"""400 bytes as text of JSON, and a token for each of four: 100."""
LEFT = {
    "anthropic, left before the sum": (
        "anthropic",
        EVENTS,
        ANTHROPIC.partition(b'event: x\ndata: {"type": "content')[0]
        + stream(
            {"type": "content_block_delta", "delta": {"type": "text_delta", "text": WORDS[:150]}},
            {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": WORDS[150:]}},
            {"type": "content_block_stop"},
        ),
        Metered(1, 210, 125, 3000),
    ),
    "openai, responses left before the sum": (
        "openai",
        EVENTS,
        stream({"type": "response.output_text.delta", "delta": WORDS}),
        Metered(1, 1000, 125, 0),
    ),
    "openai, chat without its tokens": (
        "openai",
        EVENTS,
        stream({"choices": [{"delta": {"content": WORDS}}], "usage": None}) + b"data: [DONE]\n\n",
        Metered(1, 1000, 125, 0),
    ),
    "openai, work in the background": (
        "openai",
        DOCUMENT,
        json.dumps({"status": "queued", "usage": None}).encode(),
        Metered(1, 1000),
    ),
    "gemini, a list that is left": (
        "gemini",
        DOCUMENT,
        json.dumps([{"usageMetadata": GEMINI}, {"usageMetadata": GEMINI}]).encode()[:-1],
        Metered(1, 40, 9, 60),
    ),
    "anthropic, a document that is left": (
        "anthropic",
        DOCUMENT,
        json.dumps({"type": "message", "content": [{"text": WORDS}]}).encode()[:-4],
        Metered(1, 1000, 125),
    ),
    "gemini, left before an event": ("gemini", EVENTS, b"", Metered(1, 1000)),
}


@pytest.mark.parametrize(("form", "kind", "body", "expected"), LEFT.values(), ids=LEFT.keys())
def test_the_tokens_that_an_answer_did_not_name_are_estimated(
    form: str, kind: bytes, body: bytes, expected: Metered
) -> None:
    meter = Meter(form)
    meter.begin(head(kind))
    meter.feed(body)
    assert meter.tokens(4000) == expected


def test_a_compressed_answer_is_estimated_by_its_bytes() -> None:
    meter = Meter("anthropic")
    meter.begin(head(EVENTS, encoding=b"gzip"))
    meter.feed(b"x" * 400)
    assert meter.tokens(4000) == Metered(1, 1000, 100)


def test_an_answer_that_failed_is_not_estimated() -> None:
    meter = Meter("anthropic")
    meter.begin(head(DOCUMENT, 529))
    meter.feed(b"{}")
    assert meter.tokens(4000) == Metered(1)


@pytest.mark.parametrize(("form", "kind", "body", "expected"), FORMS.values(), ids=FORMS.keys())
def test_what_an_answer_names_is_not_estimated(form: str, kind: bytes, body: bytes, expected: Metered) -> None:
    meter = Meter(form)
    meter.begin(head(kind))
    meter.feed(body)
    assert meter.tokens(None if b"2095" in body else 10**7) == expected
