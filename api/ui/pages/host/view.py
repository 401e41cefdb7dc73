"""The machine: space, memory, isolation, what the daemon does, and the findings of the doctor."""

from __future__ import annotations

from api.operations.base import Call, Nothing
from api.operations.dashboard import dashboard_sessions
from api.operations.host import ExamineInput, doctor, host, run_doctor
from api.operations.views import overview
from api.ui.acting import do
from api.ui.moment import Moment
from api.ui.page import Action, Done, Page, Region, Room, Shown
from api.ui.pages.host.rows import disk_of, findings_of, inodes_of, memory_of, rough, space_of


async def view(moment: Moment, _asked: Nothing) -> Shown:
    """Return what the page shows. It is read again now and then: the machine reports no change."""
    machine = await moment.ask(host, Nothing())
    status = await moment.ask(overview, Nothing())
    examined = await moment.ask(doctor, Nothing())
    sessions = await moment.ask(dashboard_sessions, Nothing())
    values = {
        "host": machine,
        "status": status,
        "examined": examined,
        "findings": findings_of(examined.rows),
        "space": space_of(status.agents),
        "disk": disk_of(machine),
        "inodes": inodes_of(machine),
        "memory": memory_of(machine),
        "own": rough(machine.own_memory),
        "running": sum(agent.pid is not None for agent in status.agents),
        "sessions": len(sessions),
        "pages": moment.pages,
    }
    return Shown(values)


async def examine(call: Call, _asked: Nothing) -> Done:
    """Start the checks. The page shows the findings when they have ended."""
    last = await do(call, run_doctor, ExamineInput(wait=0))
    if last.running:
        return Done("The checks run now. What they find comes under Examined.")
    return Done("The checks ran within the last minute. What they found is under Examined.")


PAGE = Page(
    "host",
    "/host",
    "Host",
    "host",
    Nothing,
    view,
    "host/page.html",
    (
        Region("nav", "parts/navigation.html"),
        Region("host-sum", "host/sum.html"),
        Region("findings", "host/findings.html"),
        Region("space", "host/space.html"),
        Region("loop", "host/loop.html"),
        Region("machine", "host/machine.html"),
    ),
)
HOST = Room(pages=(PAGE,), actions=(Action("/host/examine", Nothing, examine),))
