"""The page Settings: passkeys of all operators, and what they are for."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from api.operations.base import Call, Nothing
from api.operations.dashboard import SessionInput
from api.sockets.principals import Operator
from api.ui.live.stream import page_stream
from api.ui.pages.settings.view import SETTINGS, end, end_others
from api.ui.render import Viewer, for_viewer, own
from reconciler.access.passkeys import Holder
from tests.api.ui.conftest import CSRF, Ui
from tests.support.authenticator import SoftKey

HOSTILE = '<script>alert(1)</script>"\u202e'


async def add(ui: Ui, name: str) -> SoftKey:
    """Add a passkey as the page's script does."""
    key = SoftKey()
    asked = (
        await ui.post("/settings/passkeys/new", {"name": name, "credential": "", "touch": "", "csrf": CSRF})
    ).json()
    assert asked["touch"] == ""
    fields = {"csrf": CSRF, "name": name, "credential": key.create(asked["options"]), "touch": ""}
    answer = await ui.post("/settings/passkeys", fields)
    assert answer.status_code == 200, answer.text
    return key


async def test_of_all_logins_the_one_of_this_browser_is_marked(ui: Ui) -> None:
    access = ui.hive.service.access
    mine, other = [(await access.open_session(0, "", "link", "b")).session.id for _ in range(2)]
    values = {"sessions": await access.sessions(), "people": {each.by: "ann" for each in await access.sessions()}}
    text = ui.site.templates.render("settings/sessions.html", {**values, "in_words": str}, 0.0)
    rows = for_viewer(text, Viewer(CSRF, str(mine))).split("<tr ")
    first, second = [row for id in (mine, other) for row in rows if f'"session-{id}"' in row]
    assert ["this browser" in first, ">Log out<" in first, ">End<" in first] == [True, True, False]
    assert ["this browser" in second, ">Log out<" in second, ">End<" in second] == [False, False, True]
    assert "own-" not in for_viewer(text + own(None, "Log out"), Viewer(CSRF, ""))


async def test_the_stream_marks_the_login_of_this_browser_too(ui: Ui) -> None:
    access = ui.hive.service.access
    mine, _ = [(await access.open_session(0, "", "link", "b")).session.id for _ in range(2)]
    site, (page, *_) = ui.site, SETTINGS.pages
    with site.hub.watch(page, Nothing(), lambda moment: site.take(page, Nothing(), moment)) as view:
        over = asyncio.Event()
        async with aclosing(page_stream(view, "", Viewer(CSRF, str(mine)), over, over)) as events:
            sent = [await anext(events) for _ in range(2)][-1]
    assert [sent.count(words) for words in ("this browser", ">Log out<", ">End<", "own-")] == [1, 1, 1, 0]


async def test_a_hive_without_passkeys_says_what_one_is_good_for(ui: Ui) -> None:
    page = (await ui.get("/settings")).text
    assert "No passkey yet" in page
    assert "By a click." in page
    assert "HIVE_DASHBOARD_APPROVE_BY_PASSKEY=1" in page
    assert 'data-create="/settings/passkeys/new"' in page


async def test_a_passkey_is_added_listed_and_removed(ui: Ui) -> None:
    key = await add(ui, "anna's phone")
    page = (await ui.get("/settings")).text
    assert "anna&#39;s phone" in page
    assert "uid 1000" in page
    assert f'id="passkey-{key.name}"' in page
    answer = await ui.post(f"/settings/passkeys/{key.name}/remove", {"csrf": CSRF, "touch": ""})
    assert "is removed" in answer.text
    assert "No passkey yet" in (await ui.get("/settings")).text


async def test_the_name_of_a_passkey_is_never_markup(ui: Ui) -> None:
    await add(ui, HOSTILE)
    page = (await ui.get("/settings")).text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


async def test_what_is_no_credential_is_refused_in_words_and_nothing_is_added(ui: Ui) -> None:
    answer = await ui.post("/settings/passkeys", {"csrf": CSRF, "name": "x", "credential": "{}"})
    assert answer.status_code == 403
    assert "the new passkey cannot be read" in answer.text
    assert await ui.hive.service.passkeys.present() == []


async def test_where_passkeys_approve_a_removal_asks_for_a_touch_and_only_then_happens(ui: Ui) -> None:
    key = await add(ui, "phone")
    ui.hive.service.passkeys.required = True
    page = (await ui.get("/settings")).text
    assert f'data-touch="/settings/passkeys/{key.name}/challenge"' in page
    assert "By the touch of a passkey." in page
    remove = f"/settings/passkeys/{key.name}/remove"
    assert (await ui.post(remove, {"csrf": CSRF})).status_code == 403
    asked = (await ui.post(f"/settings/passkeys/{key.name}/challenge", {"csrf": CSRF, "touch": ""})).json()
    answer = await ui.post(remove, {"csrf": CSRF, "touch": key.touch(asked["options"])})
    assert answer.status_code == 200, answer.text
    assert await ui.hive.service.passkeys.present() == []


async def test_the_question_for_an_approval_is_about_what_the_form_has_and_of_this_session(ui: Ui) -> None:
    card = ui.hive.fake.add()
    form = {"csrf": CSRF, "seen": card.fetched_sha or "", "shown": "f" * 20, "assertion": "", "agent": card.agent}
    question = f"/proposals/{card.id}/challenge"
    assert (await ui.post(question, form)).json() == {"options": ""}, "no touch is needed"
    ui.hive.service.passkeys.required = True
    none = (await ui.post(question, form)).json()
    assert none["error"] == "operator uid 1000 has no passkey"
    key = await add(ui, "phone")
    asked = (await ui.post(question, form)).json()
    holder = Holder("operator uid 1000", 1000, session="s1")
    approved = await ui.hive.service.passkeys.consent(holder, {"id": card.id}, key.touch(asked["options"]))
    assert approved.card is not None
    assert (approved.card.commit, approved.card.shown) == (card.fetched_sha, "f" * 20)
    moved = (await ui.post(question, form | {"seen": "0" * 40})).json()
    assert "look again" in moved["hint"]


async def test_browsers_are_listed_and_each_is_logged_out_from_here(ui: Ui) -> None:
    access = ui.hive.service.access
    phone = (await access.open_session(0, "", "passkey", HOSTILE)).session
    page = (await ui.get("/settings")).text
    assert "<script>alert" not in page
    assert ["own-" in page, ">End<" in page] == [False, True]
    assert f'id="session-{phone.id}"' in page
    answer = await ui.post(f"/settings/sessions/{phone.id}/end", {"csrf": CSRF})
    assert "is logged out" in answer.text
    assert await access.sessions() == []
    assert (await ui.post(f"/settings/sessions/{phone.id}/end", {"csrf": CSRF})).status_code == 404


async def test_all_other_browsers_are_logged_out_and_this_one_stays(ui: Ui) -> None:
    access = ui.hive.service.access
    own = (await access.open_session(0, "", "link", "here")).session
    await access.open_session(0, "", "link", "there")
    call = Call(ui.hive.service, Operator(0), session=str(own.id))
    assert (await end_others(call, Nothing())).text == "One other browser is logged out."
    assert [each.id for each in await access.sessions()] == [own.id]
    assert (await end(call, SessionInput(session=own.id))).go == "/login"
