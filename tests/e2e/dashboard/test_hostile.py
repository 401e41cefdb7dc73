"""An agent that writes nothing but markup, on every page in a browser: no script of its runs, and nothing is loaded.

tests/api/ui/test_hostile.py compares the elements; here a browser reads the pages, their streams and what is opened.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Dialog, Page, expect

from meta.names import AgentName
from tests.e2e.dashboard.conftest import Visit
from tests.support.lab import Lab
from tests.support.site import page_paths

IMAGE = "<img src=x onerror=alert(1)>"
TEXT = (
    f"\"'>{IMAGE}<script>alert(2)</script></details></div></td></textarea></template><svg onload=alert(3)></svg>"
    "<hx-partial hx-target='#nav'>gone</hx-partial><div id=evil hx-get=/ hx-trigger=load></div>{{7*7}}\u202egnp"
    " javascript:alert(4) https://evil.example/"
)
BRANCH = "x<img/src=x/onerror=alert(5)>"
FOREIGN = "img, iframe, object, embed, base, style, #evil, hx-partial, svg[onload], [onerror], [onload]"
OPENED = "() => document.querySelectorAll('details:not([open])').forEach(each => { each.open = true; })"


@pytest.fixture(scope="module")
def paths(lab: Lab) -> Iterator[dict[str, str]]:
    """The paths of eve, who has a deploy, a failed one, one that was denied, one that waits, and all else."""
    lab.spawn("eve")
    done = change(lab, f'label = "{IMAGE}"\n')
    assert lab.approve(done, unseen=True)["state"] == "deployed"
    failed = change(lab, f"'{IMAGE}' = 1\n")
    assert lab.approve(failed, unseen=True)["state"] == "failed"
    lab.post(f"/api/proposals/{change(lab, '')}/deny", reason=TEXT)
    waits = change(lab, f'label = "{IMAGE}, again"\n')
    clone = lab.commit("", "eve")
    lab.git(clone, "push", "-q", str(lab.layout.push_repo(AgentName("eve"))), f"HEAD:refs/heads/{BRANCH}")
    for to in ("operator", "eve"):
        assert lab.ask("eve", cmd="send", to=to, body=TEXT) == {"kind": "ok"}
    asked = lab.ask("eve", cmd="ask", question=TEXT, options=[TEXT[:100], "no"])["id"]
    later = {"timing_type": "in_seconds", "seconds": 3600}
    assert lab.ask("eve", cmd="remind", message=TEXT, timing=later)["kind"] != "err"
    while lab.ask("eve", cmd="recv", wait_seconds=0)["kind"] == "message":
        lab.ask("eve", cmd="requeue_inflight")
    assert TEXT in [letter["body"] for letter in lab.get("/api/dead-letters")]
    lab.until(lambda: BRANCH in str(lab.get("/api/attention")) or BRANCH in str(lab.get("/api/proposals")))
    yield page_paths("eve", ("eve", done)) | {"a failed deploy": f"/deploys/eve/{failed}"}
    lab.post(f"/api/questions/{asked}/cancel")
    lab.post(f"/api/proposals/{waits}/deny", reason="the test is over")
    lab.do("eve", "destroy", purge=True)
    assert lab.hive("inbox", "--read").code == 0


def change(lab: Lab, text: str) -> int:
    """Propose these settings, with a file, a commit and a reason of markup. Return the id."""
    clone = lab.commit(text, "eve")
    (clone / f"{IMAGE}.md").write_text(f"{TEXT}\n{text}", encoding="utf-8")
    lab.git(clone, "add", "-A")
    lab.git(clone, "commit", "-q", "-m", TEXT)
    return int(lab.post("/api/proposals", agent="eve", source=str(clone), description=TEXT)["id"])


def test_markup_of_an_agent_does_nothing_on_any_page(visit: Visit, lab: Lab, paths: dict[str, str]) -> None:
    page = visit()
    dialogs: list[str] = []

    def close(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", close)
    links = page.locator("#nav a").evaluate_all("all => all.map(each => each.href)")
    wrong = {name: found for name, path in paths.items() if (found := look(page, path, links))}
    assert (wrong, dialogs) == ({}, [])
    page.goto("/messages")
    expect(page.locator("main")).to_contain_text("<script>alert(2)</script>")
    assert lab.ask("eve", cmd="send", to="operator", body=f"live {TEXT}") == {"kind": "ok"}
    expect(page.locator("main")).to_contain_text("live \"'>")
    assert (page.locator(FOREIGN).count(), dialogs) == (0, [])


def look(page: Page, path: str, links: list[str]) -> list[str]:
    """Open all that can be opened on a page. Return what should not be there."""
    page.goto(path)
    page.evaluate(OPENED)
    expect(page.locator("[data-empty], .htmx-request")).to_have_count(0)
    found = page.locator(FOREIGN).evaluate_all("all => all.map(each => each.outerHTML.slice(0, 200))")
    there = page.locator("#nav a").evaluate_all("all => all.map(each => each.href)")
    return [*found, *([] if there == links else there)]
