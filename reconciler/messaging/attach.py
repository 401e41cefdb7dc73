"""Puts together what agents ask of each other and of hive later: questions, reminders, loose ends, and their clock."""

from __future__ import annotations

from collections.abc import Callable

from meta.names import AgentName
from reconciler.agents.lifecycle import Service
from reconciler.messaging.loose_ends import LooseEnds
from reconciler.messaging.questions import Questions
from reconciler.messaging.reminders import Reminders
from reconciler.messaging.ticker import Ticker
from reconciler.store.database import Database
from reconciler.world import World


def attach(service: Service, world: World, database: Database, known: Callable[[str], bool]) -> Ticker:
    """Give the service its questions, reminders and loose ends. The caller runs the ticker."""

    wake, clock = world.broker.wake_receivers, world.clock
    allowance = world.broker.allowance
    questions = Questions(
        database,
        check=world.broker.check,
        known=known,
        wake=wake,
        clock=clock,
        allowance=allowance,
    )
    reminders = Reminders(
        database,
        known=known,
        state=lambda name: world.layout.agent_state(AgentName(name)),
        wake=wake,
        clock=clock,
    )
    service.questions, service.reminders = questions, reminders
    service.ends = LooseEnds(questions, reminders, service.pending, clock)
    world.forgetters = (questions.forget, reminders.forget)
    return Ticker(questions, reminders, clock=clock)
