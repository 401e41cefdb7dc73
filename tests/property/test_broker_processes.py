"""The broker's contract (docs/reference/broker.md) against a model, with the daemon and its clients as processes.

Any of them is killed with kill -9 at any step, also in the middle of sends and of a long poll.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from typing_extensions import override

from meta.names import AgentName
from reconciler.store.messages.attempts import FAILURES
from tests.conftest import FULL
from tests.support.lab import Lab
from tests.support.wire_client import Gone, WireClient

AGENTS = ("alice", "bob")
SENDERS = (*AGENTS, "manager")
TRIES = FAILURES
"""Hand-outs after which a message that is not acked may be a dead letter."""
pytestmark = pytest.mark.lab(agents=AGENTS, backend="fake")


@dataclass(eq=False)
class Sent:
    """One message. `sure`: its send was answered. `tries`: hand-outs, at most."""

    sender: str
    body: str
    sure: bool
    tries: int = 0


@dataclass
class Inbox:
    """What may wait, oldest first for each sender, and what was handed out. `unsure`: an answer may have been lost."""

    waiting: list[Sent] = field(default_factory=list)
    in_flight: list[Sent] = field(default_factory=list)
    unsure: bool = True


class BrokerProcesses(RuleBasedStateMachine):
    """Clients act like a harness: whenever the answer to a recv may have been lost, they requeue first."""

    lab: Lab
    count = 0

    def __init__(self) -> None:
        super().__init__()
        self.clients: dict[str, WireClient] = {}
        self.inboxes = {agent: Inbox() for agent in AGENTS}
        self.kills = 0

    names = st.sampled_from(AGENTS)
    senders = st.sampled_from(SENDERS)

    # clients
    def client(self, agent: str) -> WireClient:
        if agent not in self.clients:
            self.clients[agent] = WireClient(self.lab.layout.mcp_socket(AgentName(agent)))
        return self.clients[agent]

    def drop(self, agent: str) -> None:
        if client := self.clients.pop(agent, None):
            client.close()

    def restart(self) -> None:
        self.kills += 1
        self.lab.kill()
        for agent in tuple(self.clients):
            self.drop(agent)
        self.lab.start()
        for agent in SENDERS:
            self.lab.settle(agent)

    def new(self, sender: str, to: str, number: int) -> list[Sent]:
        messages = []
        for _ in range(number):
            type(self).count += 1
            messages.append(Sent(sender, f"{sender}-{type(self).count}", sure=False))
        self.inboxes[to].waiting += messages
        return messages

    def requests(self, to: str, messages: list[Sent]) -> list[object]:
        return [{"cmd": "send", "to": to, "body": each.body} for each in messages]

    def got(self, agent: str, answer: dict[str, object]) -> Sent:
        """A hand-out: of its sender's messages it must be the first that is there for certain, or one before that."""
        inbox = self.inboxes[agent]
        assert answer["kind"] == "message", answer
        theirs = [each for each in inbox.waiting if each.sender == answer["from"]]
        for each in theirs:
            if each.body == answer["body"]:
                break
            assert not each.sure, f"{each.body} was overtaken by {answer}"
            inbox.waiting.remove(each)  # an unanswered send that did not happen
        else:
            raise AssertionError(f"{answer} does not wait: {inbox}")
        assert bool(answer["redelivered"]) <= (each.tries > 0)
        each.tries += 1
        each.sure = True
        inbox.waiting.remove(each)
        inbox.in_flight.append(each)
        return each

    def put_back(self, agent: str) -> None:
        inbox = self.inboxes[agent]
        for each in inbox.in_flight:
            each.sure = each.tries < TRIES  # else it may be a dead letter now
        inbox.waiting = inbox.in_flight + inbox.waiting
        inbox.in_flight = []

    def sure_of(self, agent: str) -> None:
        """What a harness does before anything else when the answer to a recv may have been lost."""
        if self.inboxes[agent].unsure:
            self.requeue_now(agent)
            self.inboxes[agent].unsure = False

    def requeue_now(self, agent: str) -> None:
        assert self.client(agent).ask(cmd="requeue_inflight") == {"kind": "ok"}
        self.put_back(agent)

    # steps
    @rule(sender=senders, to=names, number=st.integers(1, 4))
    def send(self, sender: str, to: str, number: int) -> None:
        messages = self.new(sender, to, number)
        self.client(sender).write(*self.requests(to, messages))
        for each in messages:
            assert self.client(sender).read() == {"kind": "ok"}
            each.sure = True

    @precondition(lambda self: self.kills < 3)
    @rule(sender=senders, to=names, number=st.integers(1, 30), answers=st.integers(0, 30), daemon=st.booleans())
    def send_and_kill(self, sender: str, to: str, number: int, answers: int, daemon: bool) -> None:
        """kill -9 of the sender or of the daemon in the middle of sends; what was answered is there."""
        messages = self.new(sender, to, number)
        client = self.client(sender)
        client.write(*self.requests(to, messages))
        read = [client.read() for _ in range(min(answers, number))]
        if daemon:
            self.lab.kill()
        del self.clients[sender]
        read += client.kill()
        assert read == [{"kind": "ok"}] * len(read)
        for each in messages[: len(read)]:
            each.sure = True
        if sender in AGENTS:
            self.inboxes[sender].unsure = True
        if daemon:
            self.restart()
            for inbox in self.inboxes.values():
                inbox.unsure = True
        else:
            self.lab.ask(sender, cmd="whoami")

    @rule(agent=names)
    def recv(self, agent: str) -> None:
        self.sure_of(agent)
        self.ack_for_one_alone(agent)
        sure = any(each.sure for each in self.inboxes[agent].waiting)
        answer = self.client(agent).ask(cmd="recv", wait_seconds=20 if sure else 0)
        if answer["kind"] == "empty":
            assert not sure, f"nothing of {self.inboxes[agent]} came"
        else:
            self.got(agent, answer)

    def ack_for_one_alone(self, agent: str) -> None:
        """Ack what is in flight if a message may have a failed turn: that one is handed out alone."""
        inbox = self.inboxes[agent]
        if any(each.tries > 1 for each in inbox.in_flight) or any(each.tries for each in inbox.waiting):
            self.ack(agent)

    @rule(agent=names, sender=senders, daemon=st.booleans(), first=st.booleans())
    def recv_and_kill(self, agent: str, sender: str, daemon: bool, first: bool) -> None:
        """kill -9 of the receiver, or of the daemon, in the middle of a long poll, around a send."""
        if agent == sender or (daemon and self.kills >= 3):
            return
        self.sure_of(agent)
        client = self.client(agent)
        client.write({"cmd": "recv", "wait_seconds": 60})
        (message,) = self.new(sender, agent, 1)
        if first:
            self.client(sender).write(*self.requests(agent, [message]))
        if daemon:
            self.lab.kill()
        del self.clients[agent]
        answers = client.kill()
        for each in self.inboxes[agent].waiting:
            each.tries += 1  # perhaps
        if first:
            try:
                message.sure = self.client(sender).read() == {"kind": "ok"}
            except Gone:
                assert daemon
        if daemon:
            self.restart()
        if not first:
            self.send_one(sender, agent, message)
        for answer in answers:
            self.got(agent, answer)
        self.inboxes[agent].unsure = True

    def send_one(self, sender: str, to: str, message: Sent) -> None:
        assert self.client(sender).ask(cmd="send", to=to, body=message.body) == {"kind": "ok"}
        message.sure = True

    @rule(agent=names)
    def ack(self, agent: str) -> None:
        self.sure_of(agent)
        assert self.client(agent).ask(cmd="ack_turn") == {"kind": "ok"}
        self.inboxes[agent].in_flight.clear()

    @rule(agent=names)
    def requeue(self, agent: str) -> None:
        if any(each.tries >= TRIES - 1 for each in self.inboxes[agent].in_flight):
            self.ack(agent)
        else:
            self.requeue_now(agent)

    @precondition(lambda self: self.kills < 3)
    @rule()
    def kill_the_daemon(self) -> None:
        self.restart()

    @override
    def teardown(self) -> None:
        """Everything that was accepted and not acked comes, nothing else does, and what is acked never again."""
        try:
            for agent in AGENTS:
                if not any(each.tries >= TRIES for each in self.inboxes[agent].in_flight):
                    self.requeue_now(agent)
                while any(each.sure for each in self.inboxes[agent].waiting):
                    self.recv(agent)
                while (answer := self.client(agent).ask(cmd="recv", wait_seconds=0))["kind"] != "empty":
                    self.got(agent, answer)
                    self.ack(agent)
                self.ack(agent)
                assert self.client(agent).ask(cmd="requeue_inflight") == {"kind": "ok"}
                assert self.client(agent).ask(cmd="recv", wait_seconds=0) == {"kind": "empty"}
        finally:
            for agent in tuple(self.clients):
                self.drop(agent)


@pytest.mark.full
@pytest.mark.timeout(1200)
def test_the_contract_holds_over_kills_of_the_daemon_and_of_clients(lab: Lab) -> None:
    class Here(BrokerProcesses):
        pass

    Here.lab = lab
    bounds = settings(
        max_examples=200 if FULL else 6,
        stateful_step_count=40 if FULL else 15,
        deadline=None,
        phases=(Phase.explicit, Phase.generate),  # shrinking takes minutes, and kills do not repeat exactly
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Here, settings=bounds)
