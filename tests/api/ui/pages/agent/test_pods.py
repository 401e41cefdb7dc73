"""The pods on an agent's page: when they are shown, hostile names, and what their buttons do."""

from __future__ import annotations

from dataclasses import replace

from api.ui.pages.agent.pods import rows_of
from meta.names import AgentName
from reconciler.views import PodView
from tests.api.ui.conftest import Ui
from tests.api.ui.pages.agent.test_head import ROW, change_row
from tests.support.fake_pod import fake_pod

OWN = PodView("alice", "", "running", turn=3)
CHILD = PodView("child", "alice", "running", "/state/work/<b>\x1b", 2, "finished", 100.0)


def test_the_pods_are_shown_only_if_they_say_more_than_the_head() -> None:
    assert rows_of(ROW) == ()
    assert rows_of(replace(ROW, pods=(OWN,))) == ()
    paused = replace(OWN, state="paused")
    assert rows_of(replace(ROW, pods=(paused,), paused=True)) == ()
    (row,) = rows_of(replace(ROW, pods=(paused,)))
    assert [verb for verb, _ in row.verbs] == ["resume", "cancel"]
    deep = tuple(PodView(f"c{number}", f"c{number - 1}" if number else "", "idle") for number in range(9))
    assert [row.depth for row in rows_of(replace(ROW, pods=deep))] == [0, 1, 2, 3, 3, 3, 3, 3, 3]


async def test_a_sub_agent_is_shown_escaped_and_its_buttons_use_the_protocol(ui: Ui) -> None:
    change_row(ui, pods=(OWN, CHILD))
    page = await ui.get("/agents/alice")
    assert "may write <code>/state/work/&lt;b&gt;\\u001b</code>" in page.text
    assert "/agents/alice/pods/alice/" not in page.text
    async with fake_pod(ui.hive.layout.pods(AgentName("alice")) / "child.sock") as child:
        for verb in ("pause", "cancel"):
            assert f'action="/agents/alice/pods/child/{verb}"' in page.text
            assert (await ui.post(f"/agents/alice/pods/child/{verb}", {})).status_code < 400
    assert child.asked == [{"method": "pause"}, {"method": "cancel"}]
