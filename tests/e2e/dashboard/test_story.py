"""The story of `make demo`, clicked through: a person and a browser, a real daemon, and turns of a real coding agent.

The person uses the pages for all that can be done there. By hand are what a browser cannot do: the link, a push to the
agent's repo, the login of the CLI. The model is a stand-in, which does what a message says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from meta.names import AgentName
from tests.e2e.dashboard.conftest import Visit
from tests.support.fake_messages_api import FakeMessages
from tests.support.lab import Lab, fresh_lab
from tests.support.real_agents import REAL, SETTINGS, Model, log_in, plan, state_is, turn_state
from tests.support.site import Site, dashboard_settings

pytestmark = REAL
SOON = 30_000.0
"""Milliseconds in which an agent of the real CLI starts, takes a turn or gets another generation."""
SECOND = 'runtime = "claude"\nlabel = "alice, the second"\n'
BROKEN = 'runtime = "claude"\n[start]\nfault = "hello-then-exit"\n'
UNWANTED = 'runtime = "claude"\nlabel = "alice, unwanted"\n'
ASK = {"tool": "mcp__hive__ask", "input": {"to": "operator", "question": "which branch?", "options": ["main", "next"]}}
MARKUP = "<img src=x onerror=alert(1)>"
LOOK = {"text": "I add them up.", "tool": "Bash", "input": {"command": f"echo '{MARKUP}' the sum is $((40 + 2))"}}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A hive of its own: the agents of the others take no turns."""
    settings = {**SETTINGS, "HIVE_MANAGER_RUNTIME": "script", **dashboard_settings()}
    with fresh_lab("tale", settings, tiny=False) as made:
        yield made


@pytest.fixture(scope="module")
def site(lab: Lab) -> Site:
    made = Site(lab)
    made.ready()
    return made


@pytest.fixture(scope="module")
def browser_context_args(site: Site) -> dict[str, Any]:
    return {"base_url": site.origin}


def test_the_story_of_the_demo_is_clicked_through(visit: Visit, lab: Lab, site: Site) -> None:
    page = visit(site.link().removeprefix(site.origin), known=False)
    expect(page.get_by_text("Nothing needs you")).to_be_visible()
    with FakeMessages() as messages:
        fake = Model(lab, messages)
        spawn(page, lab, fake)
        approve_what_was_pushed(page, lab)
        take_a_turn(page, lab, fake)
        fail_and_go_back(page, lab)
        deny(page, lab)
    page.goto("/plan")
    assert all(row["step"] == "none" for row in lab.get("/api/plan")), lab.get("/api/plan")
    page.goto("/events")
    expect(page.locator("main")).to_contain_text("we like her as she is")


def spawn(page: Page, lab: Lab, fake: Model) -> None:
    """Make alice by the form. Her page says that she needs a login, and that she runs once she has it."""
    page.get_by_role("link", name="Agents").first.click()
    page.get_by_role("link", name="New agent").first.click()
    page.get_by_label("Name").fill("alice")
    page.get_by_role("combobox", name="Runtime").select_option("claude")
    page.get_by_role("button", name="Make the agent").click()
    page.wait_for_url("**/deploys/alice/0")
    lab.until(lab.layout.egress(AgentName("alice")).is_dir)
    fake.attach("alice")
    expect(page.locator("#deploy .badge")).to_contain_text("deployed", timeout=SOON)
    page.get_by_role("link", name="Open alice").click()
    badge = page.locator("#head .badge")
    expect(badge).to_contain_text("needs-login", timeout=SOON)
    log_in(lab, "alice")
    expect(badge).to_contain_text("running", timeout=SOON)


def approve_what_was_pushed(page: Page, lab: Lab) -> None:
    """Read the card of a push, approve exactly that commit, and watch its steps to the end."""
    commit = push(lab, SECOND)
    page.get_by_role("link", name="Needs you").first.click()
    row = row_of(page, 1)
    expect(row.get_by_text("alice, the second").first).to_be_visible(timeout=SOON)
    expect(row.locator(".decide code")).to_have_text(commit[:12])
    row.get_by_role("button", name="Approve").click()
    expect(page.locator("#notice")).to_contain_text("Proposal 1 of alice is approved.")
    page.goto("/deploys/alice/1")
    expect(page.locator(".step").first).to_be_visible()
    expect(page.locator("#deploy .badge")).to_contain_text("deployed", timeout=SOON)
    expect(page.locator(".step.run, .step.todo, .step.bad")).to_have_count(0)
    assert lab.ref("deployed/1") == commit == lab.ref("main")


def take_a_turn(page: Page, lab: Lab, fake: Model) -> None:
    """Send a message from her page, see the turn as it happens, answer the question that it asks."""
    page.goto("/agents/alice")
    page.get_by_label("Message to alice").fill(plan(LOOK, ASK, {"text": "I wait for the answer."}))
    page.keyboard.press("Control+Enter")
    events = page.locator("#transcript")
    expect(events.get_by_text("I add them up.", exact=True)).to_be_visible(timeout=SOON)
    call = events.locator("details.call", has_text="the sum is")
    expect(call).to_contain_text("Bash")
    expect(events.get_by_text("I wait for the answer.", exact=True)).to_be_visible(timeout=SOON)
    call.locator("summary").click()
    expect(call.get_by_text(f"{MARKUP} the sum is 42")).to_be_visible()
    expect(page.locator("img")).to_have_count(0)
    assert page.get_by_label("Message to alice").input_value() == ""
    page.get_by_role("link", name="Needs you").first.click()
    question = page.locator("#rows .item", has_text="which branch?")
    question.get_by_label("next").check()
    question.get_by_role("button", name="Answer").click()
    expect(question.get_by_role("button", name="Answer")).to_have_count(0)
    lab.until(lambda: [turn for turn in fake.turns("question_answered") if "next" in str(turn)])
    lab.until(lambda: turn_state(lab, "alice") == "idle")


def fail_and_go_back(page: Page, lab: Lab) -> None:
    """Approve a change with which she ends at once: it is undone by itself, and the page says why."""
    before = lab.agent("alice")["generation"]
    push(lab, BROKEN)
    page.goto("/")
    row_of(page, 2).get_by_role("button", name="Approve").click()
    expect(page.locator("#notice")).to_contain_text("Proposal 2 of alice is approved.")
    page.goto("/deploys/alice/2")
    fault = page.locator("#deploy .fault")
    expect(fault).to_contain_text("Exited with code 1 before it was healthy", timeout=SOON)
    expect(fault).to_contain_text("What ran before runs again")
    lab.settle("alice")
    assert state_is(lab, "alice", "running")["generation"] == before


def deny(page: Page, lab: Lab) -> None:
    """Deny a change, and say why."""
    push(lab, UNWANTED)
    page.goto("/")
    row = row_of(page, 3)
    row.get_by_role("button", name="Deny…").click()
    row.get_by_label("Reason").fill("we like her as she is")
    row.get_by_role("dialog").get_by_role("button", name="Deny").click()
    expect(row.get_by_role("button", name="Approve")).to_have_count(0)
    assert "we like her as she is" in lab.told("denied/3")


def row_of(page: Page, id: int) -> Locator:
    """The row of a proposal of alice."""
    return page.locator(f"[id='row-proposal:alice:{id}']")


def push(lab: Lab, text: str) -> str:
    """Push a commit with these settings to alice's repo, as a person does. Return the commit once it is proposed."""
    clone, known = lab.commit(text), len(lab.get("/api/proposals"))
    lab.git(clone, "push", "-q", str(lab.layout.push_repo(AgentName("alice"))), "HEAD:refs/heads/main")
    lab.until(lambda: len(lab.get("/api/proposals")) > known)
    return lab.git(clone, "rev-parse", "HEAD")
