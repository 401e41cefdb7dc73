"""The page Needs you over a service: what it shows, what its forms do, and that no word of an agent is markup."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from urllib.parse import quote

import pytest

from api.ui.pages.needs_you.under_way import AGAIN
from api.ui.pages.needs_you.view import ListInput, view
from meta.errors import BadInput, Conflict, DiskFull, HiveError, PermanentError, Refused, TransientError
from meta.names import AgentName
from reconciler.attention.row import Row, Severity
from tests.api.ui.conftest import CSRF, Ui
from tests.support.fake_service import NOW, SHA, SHOWN
from tests.support.html_page import Page, faults_of

ALICE = AgentName("alice")
HOSTILE = '<script>alert(1)</script>"><img src=x onerror=alert(1)><hx-partial hx-target="#nav">{{7*7}}\u202egnp'
CARD = "proposal:alice:1"


def _row(kind: str, key: str, detail: str = "", severity: Severity = Severity.NORMAL) -> Row:
    return Row(f"{kind}:{key}", kind, severity, ALICE, NOW(), f"{kind} of alice", detail, "hive x")


@pytest.fixture
def card(ui: Ui) -> Ui:
    """A page with one proposal of alice."""
    ui.hive.fake.add(description="adds jq", sha=SHA)
    ui.hive.fake.attention_rows = [_row("proposal", "alice:1", "adds jq")]
    return ui


async def test_a_card_says_who_asks_why_and_names_the_commit_that_would_run(card: Ui) -> None:
    text = (await card.get("/")).text
    assert "Why manager asks" in text
    assert "adds jq" in text
    assert f"Approves exactly <code>{SHA[:12]}</code>" in text
    assert f'name="seen" value="{SHA}"' in text
    assert CSRF in text


async def test_an_approval_is_of_what_was_shown_by_the_person_who_is_logged_in(card: Ui) -> None:
    answer = await card.post("/needs-you/proposals/1/approve", {"agent": "alice", "seen": SHA})
    assert answer.status_code == 200, answer.text
    assert card.hive.fake.calls == [("approve", 1, "operator uid 1000", SHA)]


async def test_an_approval_of_a_preview_that_moved_approves_nothing_and_says_so(card: Ui) -> None:
    answer = await card.post("/needs-you/proposals/1/approve", {"agent": "alice", "seen": SHA, "shown": f"x{SHOWN}"})
    assert answer.status_code >= 400
    assert "changed since it was shown: nothing is approved" in answer.text
    assert card.hive.fake.calls == []


async def test_an_approval_of_a_proposal_that_was_replaced_says_what_is_in_its_place_and_by_whom(card: Ui) -> None:
    fake = card.hive.fake
    fake.shown[1] = replace(fake.move(1, "denied", "denied", "superseded by 2"), decided_by="hive")
    fake.add(proposed_by="bob", sha="2" * 40)
    answer = await card.post("/needs-you/proposals/1/approve", {"agent": "alice", "seen": SHA})
    text = html.unescape(answer.text)
    assert "Proposal 1 of alice was denied by hive meanwhile: superseded by 2" in text
    assert f"in its place is proposal 2, commit {'2' * 12}, by bob" in text


async def test_what_the_diff_does_not_show_is_approved_only_in_a_dialog(card: Ui) -> None:
    fake = card.hive.fake
    fake.diffs[1] = replace(await fake.diff(1), cut="x.bin is not in the patch")  # type: ignore[arg-type]
    page = Page((await card.get("/")).text)
    forms = [form for form in page.all("form") if form.attributes.get("action", "").endswith("/approve")]
    assert [form.inside("dialog") for form in forms] == [True]
    assert {"name": "unseen", "value": "1", "type": "hidden"} in [each.attributes for each in forms[0].all("input")]


async def test_where_passkeys_approve_the_form_asks_for_a_touch_of_what_it_shows(card: Ui) -> None:
    card.hive.fake.passkeys.required = True
    page = Page((await card.get("/")).text)
    (form,) = [form for form in page.all("form") if form.attributes.get("action", "").endswith("/approve")]
    assert form.attributes["data-touch"] == "/proposals/1/challenge"
    assert form.attributes["data-field"] in [field.attributes["name"] for field in form.all("input")]


async def test_a_row_beyond_the_first_loads_its_body_when_it_is_opened(card: Ui) -> None:
    fake = card.hive.fake
    fake.add(description="second"), fake.add(description="third")
    fake.attention_rows += [_row("proposal", f"alice:{id}", "adds") for id in (2, 3)]
    assert "third" not in (await card.get("/")).text
    body = await card.get(f"/needs-you/row?key={quote('proposal:alice:3')}")
    assert "third" in body.text
    assert faults_of(Page(body.text)) == []
    assert "third" in (await card.get(f"/?row={quote('proposal:alice:3')}")).text


async def test_a_long_list_is_a_small_page_with_a_link_to_the_rest(card: Ui) -> None:
    card.hive.fake.attention_rows = [_row("dead-letter", str(id), "x" * 300) for id in range(200)]
    short, whole = (await card.get("/")).text, (await card.get("/?all=1")).text
    assert len(short) < 150_000
    assert [text.count('<li class="item') for text in (short, whole)] == [100, 200]
    assert "100 more things" in short


@pytest.mark.parametrize("error", [Refused, TransientError, PermanentError, Conflict, BadInput, DiskFull])
async def test_a_proposal_that_cannot_be_read_hides_no_other_row_and_cannot_be_decided(
    card: Ui, error: type[HiveError]
) -> None:
    fake = card.hive.fake
    real = fake.diff

    async def diff(id: int, *given: object, **named: object) -> object:
        if id == 1:
            raise error("git took <b>too long</b>", "look later")
        return await real(id, *given, **named)  # type: ignore[arg-type]

    fake.diff = diff  # type: ignore[assignment, method-assign]
    fake.add(description="the good one", sha="2" * 40)
    fake.attention_rows += [_row("proposal", "alice:2", "the good one"), _row("agent-down", "alice", "it is down")]
    answer = await card.get("/")
    assert answer.status_code == 200
    assert "git took &lt;b&gt;too long&lt;/b&gt; (look later)" in answer.text
    assert "proposals/2/approve" in answer.text and "proposals/1/" not in answer.text
    assert "agent-down of" in answer.text.lower()


async def test_a_denial_carries_its_reason(card: Ui) -> None:
    await card.post("/needs-you/proposals/1/deny", {"agent": "alice", "reason": "not tonight"})
    assert card.hive.fake.calls == [("deny", 1, "operator uid 1000", "not tonight")]


@pytest.mark.parametrize(("text", "times"), [("which `colour`?", 1), (f"which?\n{'and why? ' * 9}", 2)])
async def test_a_question_is_written_once_unless_it_has_more_than_its_title(ui: Ui, text: str, times: int) -> None:
    id = await ui.hive.fake.questions.ask("alice", text, ("red", "blue"), False, None, None)
    whole = (await ui.get(f"/questions?show={id}")).text
    assert whole.count("which") == times


async def test_an_answer_goes_to_the_question(ui: Ui) -> None:
    questions = ui.hive.fake.questions
    id = await questions.ask("alice", "which?", ("red", "blue"), True, None, None)
    fields = {"choice": ["0", "other"], "other": "grey"}
    sent = await ui.client.post(f"/needs-you/questions/{id}/answer", data=fields, headers={"HX-Request": "true"})
    assert sent.status_code == 200, sent.text
    assert (await questions.get(id)).answer == "red, grey"


async def test_a_question_that_was_cancelled_goes_with_that_word(ui: Ui) -> None:
    questions = ui.hive.fake.questions
    id = await questions.ask("alice", "which?", (), False, None, None)
    await questions.cancel(id, "operator")
    await ui.hive.fake.events.append("question_answered", ALICE, {"id": id, "by": "operator"})
    assert f" cancelled question {id} of " in (await ui.get("/")).text


@pytest.mark.parametrize(("detail", "times"), [("which one?", 1), ("which", 2)])
async def test_a_question_whose_title_has_all_of_it_is_not_written_twice(ui: Ui, detail: str, times: int) -> None:
    id = await ui.hive.fake.questions.ask("alice", "which one?", ("red",), False, None, None)
    ui.hive.fake.attention_rows = [_row("question", str(id), detail)]
    assert (await ui.get("/")).text.count("which") == times


async def test_what_was_decided_stands_below_what_waits(card: Ui) -> None:
    await card.hive.fake.events.append("proposal_denied", ALICE, {"id": 9, "by": "anna", "note": "no"})
    text = (await card.get("/")).text
    assert 0 < text.index("adds jq") < text.index('class="decided"') < text.index(" denied proposal 9 of ")
    gone = (await card.get("/needs-you/row?key=proposal:alice:9")).text
    assert "<b>anna</b> denied proposal 9 of <b>alice</b>: no" in gone and 'data-of="gone"' in gone


async def test_a_host_is_allowed_for_a_time_or_proposed_for_good(ui: Ui) -> None:
    ui.hive.fake.attention_rows = [_row("network-request", "3")]
    body = (await ui.get("/needs-you/row?key=network-request:3")).text
    assert "Allow for 1 h" in body
    await ui.post("/needs-you/hosts/allow", {"agent": "alice", "rule": "3", "seconds": "3600"})
    await ui.post("/needs-you/hosts/allow", {"agent": "alice", "rule": "3", "propose": "1"})
    assert [call[0] for call in ui.hive.fake.calls] == ["allow", "propose"]


async def test_a_deploy_that_failed_says_why_what_was_lost_and_the_way_on(ui: Ui) -> None:
    ui.hive.fake.add(status="failed", state="failed", note="no attribute ripgrepp\nat line 3")
    ui.hive.fake.attention_rows = [_row("deploy-failed", "alice:1", severity=Severity.HIGH)]
    body = (await ui.get("/needs-you/row?key=deploy-failed:alice:1")).text
    assert "attribute ripgrepp" in body
    assert "Nothing was lost" in body
    await ui.post("/needs-you/proposals/1/retry", {"agent": "alice"})
    assert ui.hive.fake.calls == [("retry", 1, "operator uid 1000")]


async def test_a_page_with_a_preview_under_way_is_read_again_soon(card: Ui) -> None:
    fake, asked = card.hive.fake, ListInput()
    assert (await view(card.site.hub.moment(), asked)).again is None
    fake.diffs[1] = replace(await fake.diff(1), previews=True)  # type: ignore[arg-type]
    fake.changes.note()
    assert (await view(card.site.hub.moment(), asked)).again == AGAIN


async def test_a_body_changes_its_digest_with_what_it_shows(card: Ui) -> None:
    async def state() -> str:
        (row,) = [each for each in Page((await card.get("/")).text).all("details") if "data-of" in each.attributes]
        return row.attributes["data-of"]

    before = await state()
    assert await state() == before
    card.hive.fake.shown[1] = replace(card.hive.fake.shown[1], description="adds more")
    card.hive.fake.changes.note()
    assert await state() != before


async def test_a_page_without_rows_says_what_comes_here(ui: Ui) -> None:
    ui.hive.fake.attention_rows = []
    assert "Nothing needs you" in (await ui.get("/")).text


async def test_a_row_that_went_while_it_was_asked_for_says_so(ui: Ui) -> None:
    answer = await ui.get("/needs-you/row?key=proposal:alice:99")
    assert answer.status_code == 200
    assert "does not need you any more" in answer.text


async def test_no_text_of_an_agent_is_markup(card: Ui) -> None:
    fake = card.hive.fake
    questions = fake.questions
    asked = await questions.ask("alice", HOSTILE, (HOSTILE,), False, None, None)
    fake.shown[1] = replace(fake.shown[1], description=HOSTILE, branch=HOSTILE, proposed_by="manager")
    diff = await fake.diff(1)  # type: ignore[arg-type]
    patch = f"diff --git a/x b/x\n--- a/x\n+++ b/x\n@@ -1 +1 @@\n-a\n+{HOSTILE}\n"
    fake.diffs[1] = replace(
        diff,
        patch=patch,
        commits=(f"1111111 {HOSTILE}", "2222222 x"),
        words=(f"MORE RIGHTS: prompt: {HOSTILE}", HOSTILE),
        settings=(("prompt", "", HOSTILE),),
        system=(f"+ unit {HOSTILE}",),
        complaint=HOSTILE,
        cut=HOSTILE,
        invisible=(HOSTILE,),
    )
    fake.attention_rows = [
        _row("proposal", "alice:1", HOSTILE),
        _row("question", str(asked), HOSTILE),
        replace(_row("agent-error", "alice", HOSTILE), title=HOSTILE),
    ]
    await fake.events.append("proposal_denied", ALICE, {"id": 6, "by": HOSTILE, "note": HOSTILE})
    text = (await card.get("/?row=agent-error:alice")).text
    assert faults_of(Page(text)) == []
    assert re.findall(".{60}(?:<script>|<img|\u202e)", text) == []
    assert 'hx-partial hx-target="#nav"' not in text
    assert text.count("{{7*7}}") > 10


@pytest.mark.parametrize(
    ("kind", "href"), [("agent-over-budget", "/agents/alice/settings"), ("agent-failed", "/agents/alice/logs")]
)
async def test_a_row_about_an_agent_leads_to_what_helps(ui: Ui, kind: str, href: str) -> None:
    ui.hive.fake.attention_rows = [_row(kind, "alice")]
    assert f'href="{href}"' in (await ui.get(f"/?row={kind}:alice")).text
