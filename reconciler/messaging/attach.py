"""Puts together what agents ask of each other and of hive later: questions, reminders, loose ends, and their clock."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from meta.names import MANAGER, AgentName
from reconciler.agents.lifecycle import Service
from reconciler.messaging.loose_ends import LooseEnds
from reconciler.messaging.questions import Questions
from reconciler.messaging.reminders import Reminders
from reconciler.messaging.ticker import Ticker
from reconciler.store.database import Database
from reconciler.world import World


def attach(service: Service, world: World, database: Database, known: Callable[[str], bool]) -> Ticker:
    """Give the service its questions, reminders and loose ends, and let the manager hear at once what it is told.

    The ticker is the caller's to run.
    """

    notice, clock = world.broker.notice, world.clock
    allowance = world.broker.allowance
    questions = Questions(
        database, check=world.broker.check, known=known, notice=notice, clock=clock, allowance=allowance
    )
    reminders = Reminders(
        database, known=known, state=lambda name: world.layout.agent_state(AgentName(name)), notice=notice, clock=clock
    )
    service.questions, service.reminders = questions, reminders
    service.ends = LooseEnds(questions, reminders, service.pending, clock)
    world.forgetters = (questions.forget, reminders.forget)
    world.events.told = world.cards.told = partial(notice, MANAGER)
    return Ticker(questions, reminders, clock=clock)
