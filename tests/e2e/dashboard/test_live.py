"""Pages that stay open while the daemon goes away: they say so, catch up, and lose nothing that was typed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Route, expect

from tests.e2e.dashboard.conftest import Visit
from tests.support.browser import Complaints, overflow
from tests.support.lab import Lab

LONG = 30_000.0
"""Milliseconds until an open page is connected again: it waits longer after each try."""
WORKER = (Path(__file__).parents[3] / "api/ui/static/worker.js").read_text(encoding="utf-8")
TAB = """const port = { postMessage() {} };
onconnect({ ports: [port] });
port.onmessage({ data: { say: "on", url: "/needs-you/news" } });"""
"""Asks the worker for notifications. It runs in the page here: a test cannot answer the requests of a real one."""
ALONE = """localStorage.setItem("hive-notify", "on");
delete window.SharedWorker;
Object.defineProperty(Notification, "permission", { value: "granted" });"""
STATE = """() => {
  const row = document.activeElement.closest("details");
  return [row.id, row.open, String(getSelection()), Math.round(row.getBoundingClientRect().top)];
}"""
"""What a reader did, and where on the screen it is."""
ABOVE = "rows => rows.findIndex(row => row.contains(document.activeElement))"
READ = f"""() => {{
  const row = document.querySelectorAll(".item > details")[4];
  row.open = true;
  row.querySelector("summary").focus();
  row.scrollIntoView({{ block: "center" }});
  getSelection().selectAllChildren(row.querySelector(".what"));
  return ({STATE})();
}}"""
LOST = "ERR_CONNECTION|ERR_INCOMPLETE|ERR_EMPTY|network error|Failed to fetch|Connection lost"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda route: route.abort("connectionrefused"), "hive does not answer. What you typed is still here"),
        (lambda route: route.fulfill(status=502, content_type="text/html", body="<h1>Bad Gateway"), "(502)"),
        (
            lambda route: route.fulfill(status=403, content_type="text/plain", body="load the page again"),
            "load the page",
        ),
    ],
)
def test_a_form_that_hive_does_not_answer_says_so_and_keeps_what_was_typed(
    visit: Visit, complaints: Complaints, answer: Callable[[Route], None], said: str
) -> None:
    complaints.expect(rf"{LOST}|ERR_CONNECTION_REFUSED|status of (502|403)|\[htmx\]")
    page = visit("/agents/alice")
    page.route("**/say", answer)
    box = page.get_by_label("Message to alice")
    box.fill("are you there?")
    box.press("Control+Enter")
    expect(page.get_by_role("alert")).to_contain_text(said)
    expect(box).to_have_value("are you there?")
    page.get_by_role("alert").get_by_role("button", name="Close").click()
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_page_says_that_the_daemon_is_away_then_catches_up_and_keeps_what_was_typed(
    visit: Visit, lab: Lab, complaints: Complaints
) -> None:
    complaints.expect(LOST)
    page = visit("/agents/alice", size="phone")
    state = page.locator("#link-state")
    expect(state).to_have_text("Live")
    due = int(page.locator("#nav").get_attribute("data-due") or 0)
    box = page.get_by_role("textbox").first
    box.fill("half a sentence")
    lab.kill()
    expect(state).to_contain_text("Connection lost since", timeout=LONG)
    expect(state).to_be_visible()
    assert overflow(page) == []
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing was sent; what you typed is still here")
    lab.start()
    for agent in ("alice", "bob", "manager"):
        lab.settle(agent)
    asked = lab.ask("bob", cmd="ask", question="what happened meanwhile?")["id"]
    expect(page.locator("#nav")).to_have_attribute("data-due", str(due + 1), timeout=LONG)
    expect(state).to_have_text("Live")
    expect(box).to_have_value("half a sentence")
    lab.post(f"/api/questions/{asked}/cancel")


def test_what_a_reader_unfolded_selected_and_looks_at_stays_while_events_pour_in(visit: Visit, lab: Lab) -> None:
    page = visit("/events", size="phone")
    expect(page.locator("#link-state")).to_have_text("Live")
    before = page.evaluate(READ)
    due = int(page.locator("#nav").get_attribute("data-due") or 0)
    asked = [lab.ask("bob", cmd="ask", question=f"pour {number}?")["id"] for number in range(3)]
    expect(page.locator("#nav")).to_have_attribute("data-due", str(due + 3))
    now, above = page.evaluate(STATE), page.locator(".item").evaluate_all(ABOVE)
    for each in asked:
        lab.post(f"/api/questions/{each}/cancel")
    assert now == before
    assert above > 4


def test_keys_lead_to_each_page_that_the_dialog_of_keys_lists(visit: Visit) -> None:
    page = visit()
    for key, name in zip("qpehs", ("Questions", "Plan", "Events", "Host", "Settings"), strict=True):
        page.keyboard.press("g")
        page.keyboard.press(key)
        expect(page.get_by_role("heading", level=1)).to_have_text(name)
        page.goto("/")


@pytest.mark.parametrize("alone", [True, False])
def test_notifications_go_on_after_an_answer_that_is_an_error(
    visit: Visit, complaints: Complaints, alone: bool
) -> None:
    complaints.expect("status of 502")
    asked: list[int] = []

    def answer(route: Route) -> None:
        asked.append(502 if not asked else 200)
        route.fulfill(status=asked[-1], content_type="text/event-stream", body='data: {"rows": []}\n\n')

    page = visit("/host")
    page.clock.install()
    page.route("**/needs-you/news", answer)
    if alone:
        page.add_init_script(ALONE)
        page.reload()
    else:
        page.evaluate(f"() => {{ {WORKER} {TAB} }}")
    for _ in range(200):
        page.clock.run_for(1_000)
        if len(asked) > 1:
            break
    assert asked[:2] == [502, 200]
