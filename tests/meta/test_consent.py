"""How an approval was consented to, as the trailers of its tag."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meta.consent import PARTS_MOST, ApprovalCard, Assertion, Consent, How, assertion_of, challenge, decode, how_of
from meta.git.message import decode as read_message
from meta.git.message import encode as write_message

CARD = ApprovalCard("uuid", "alice", 7, "1" * 40, "f" * 20)
TOUCH = Assertion(
    CARD, b"n" * 32, "operator uid 1000", b"c", b"k", b"a", b"d", b"s", "http://localhost:1", "localhost", 9
)
SOME = st.binary(max_size=600)


def through_a_tag(consent: Consent) -> dict[str, str]:
    return dict(read_message(write_message("approved 7", "", consent.trailers())).trailers)


@given(st.builds(replace, st.just(TOUCH), credential=SOME, key=SOME, client_data=SOME, signature=SOME))
def test_a_touch_survives_the_tag_whatever_its_bytes_are(touch: Assertion) -> None:
    assert assertion_of(through_a_tag(Consent(How.PASSKEY, touch.encode()))) == touch


def test_bytes_that_look_like_a_secret_are_not_scrubbed_from_the_tag() -> None:
    touch = replace(TOUCH, signature=b"ghp_" + b"A" * 40 + b" bearer " + b"B" * 40)
    assert assertion_of(through_a_tag(Consent(How.PASSKEY, touch.encode()))) == touch


def test_a_touch_that_is_too_long_for_a_tag_is_refused_not_cut() -> None:
    long = replace(TOUCH, client_data=b"x" * PARTS_MOST * 400)
    with pytest.raises(ValueError, match="too long"):
        Consent(How.PASSKEY, long.encode()).trailers()


def test_an_approval_without_consent_says_nothing_and_one_of_root_says_so() -> None:
    assert (how_of({}), assertion_of({})) == ("", None)
    trailers = through_a_tag(Consent(How.ROOT))
    assert (how_of(trailers), assertion_of(trailers)) == ("root without passkey", None)


@pytest.mark.parametrize("field", ["hive", "agent", "id", "commit", "shown", "unseen", "action"])
def test_the_challenge_changes_with_every_fact_of_the_card(field: str) -> None:
    card = {"hive": "u", "agent": "a", "id": 1, "commit": "c", "shown": "s", "unseen": False, "action": "approve"}
    assert challenge(b"n", card) != challenge(b"n", card | {field: "other"})
    assert challenge(b"n", card) != challenge(b"m", card)
    assert challenge(b"n", card) == challenge(b"n", dict(reversed(card.items())))


def _changed(**values: object) -> str:
    return base64.b64encode(json.dumps(json.loads(base64.b64decode(TOUCH.encode())) | values).encode()).decode()


@pytest.mark.parametrize(
    "text",
    [
        "?",
        "",
        base64.b64encode(b"[]").decode(),
        base64.b64encode(b"[" * 9_000).decode(),
        _changed(at="9"),
        _changed(card={}),
        _changed(card={"hive": "u", "agent": "a", "id": "1", "commit": "c"}),
        _changed(nonce=7),
    ],
)
def test_a_record_that_somebody_wrote_by_hand_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="the assertion"):
        decode(text)
