"""The loop of `hive attach`: show what comes, and carry out what is typed. Requests run beside it, so it never waits.

It ends with Ctrl-C, Ctrl-D or `/quit`, or when the agent is gone. The agent goes on.
"""

from __future__ import annotations

import os
import queue
import select
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass

from api.cli.attach.editor import Editor, Entered, Left
from api.cli.attach.feed import Back, Ended, Feed, HiveCame, LiveCame, Lost, Missing, PodCame, Received
from api.cli.attach.pod_view import PodView
from api.cli.attach.screen import Plain, Screen, keys
from api.cli.attach.view import Line, Style, View
from api.cli.client.http import Client
from api.cli.render import turns
from api.words import orders, pods
from api.words.events import sentence
from meta.errors import HiveError

CHUNK = 4096
TICK = 1.0
"""Seconds after which the output is looked at without an event: a reader of it may be gone."""
QUEUE = 5000
"""What waits to be shown. If the output takes no more, the daemon drops what follows, and says so."""
BATCH = 500
"""What is shown at a time, so that keys are read meanwhile."""
WELCOME = "attached; /help lists what can be typed, Ctrl-C detaches"
SHOWN = frozenset(
    {
        *("agent_started", "agent_stopped", "agent_restarted", "container_crash", "agent_destroyed"),
        *("agent_paused", "agent_resumed", "turn_cancelled", "session_compacted", "session_begun", "model_set"),
        *("deploy_started", "deploy_succeeded", "deploy_failed", "turn_stuck", "turn_killed", "message_dead"),
        *("agent_cli_missing", "agent_needs_login", "agent_logged_in", "agent_unhealthy"),
        *("question_asked", "operator_message"),
    }
)
"""hive's own events about the agent that are shown between its live events."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A request is answered: lines to show, and the typed line again if it was not sent."""

    lines: tuple[Line, ...]
    again: str = ""


class Session:
    """One attach to an agent, or to its sub-agent `pod`. `since`: live events before this time are not shown."""

    def __init__(self, client: Client, agent: str, newest: int, since: float = 0.0, pod: str = "") -> None:
        self._client = client
        self._agent = agent
        self._pod = pod
        self._pods = f"/api/agents/{agent}/pods"
        self._pod_view = PodView()
        self._since = since
        self._view = View()
        self._queue: queue.Queue[Received | Answered] = queue.Queue(QUEUE)
        self._reads, self._wakes = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._feed = Feed(client, agent, newest, self._put, pod)
        self._sends: queue.SimpleQueue[Callable[[], Answered]] = queue.SimpleQueue()
        self._editor = Editor()
        self._ended: HiveError | None = None

    def run(self, *, typing: bool) -> None:
        """Show and carry out, until the operator detaches. Raise what ended it otherwise."""
        try:
            self._feed.open()
            threading.Thread(target=self._send_in_order, daemon=True).start()
            if typing:
                self._run_on_terminal()
            else:
                self._run_plain()
        finally:
            self._feed.close()
        if self._ended is not None:
            raise self._ended

    def _run_plain(self) -> None:
        plain = Plain()
        while self._ended is None:
            select.select([self._reads], [], [], TICK)
            plain.show(self._take())
        plain.show(self._view.break_off())

    def _run_on_terminal(self) -> None:
        screen = Screen(self._editor)
        with ExitStack() as stack:
            keyboard = stack.enter_context(keys())
            stack.callback(signal.signal, signal.SIGWINCH, signal.signal(signal.SIGWINCH, lambda *_: self._wake()))
            for number in (signal.SIGTERM, signal.SIGHUP):
                stack.callback(signal.signal, number, signal.signal(number, _leave))
            stack.callback(screen.clear)
            screen.show([Line(WELCOME, Style.HIVE)], "", self._prompt)
            while self._ended is None:
                ready, _, _ = select.select([self._reads, keyboard], [], [])
                lines = self._take()
                if keyboard in ready and not self._type(os.read(keyboard, CHUNK), lines):
                    break
                screen.show(lines, self._view.live or self._pod_view.live, self._prompt)
            screen.show(self._view.break_off(), "", "")

    @property
    def _prompt(self) -> str:
        name = f"{self._agent}/{self._pod}" if self._pod else self._agent
        return f"{name}{f' {self._view.state}' if self._view.state else ''}> "

    # what comes
    def _put(self, received: Received | Answered) -> None:
        """Queue what a thread got, and wake the loop."""
        self._queue.put(received)
        self._wake()

    def _wake(self) -> None:
        with suppress(OSError):  # a full pipe: it is awake
            os.write(self._wakes, b"!")

    def _take(self) -> list[Line]:
        """Return the lines of all that came."""
        with suppress(BlockingIOError):
            os.read(self._reads, CHUNK)
        lines: list[Line] = []
        for _ in range(BATCH):
            if self._queue.empty():
                return lines
            lines += self._lines(self._queue.get_nowait())
        self._wake()
        return lines

    def _lines(self, received: Received | Answered) -> list[Line]:
        match received:
            case LiveCame(event=event, at=at):
                return self._view.show_object(event) if at >= self._since else []
            case PodCame(event=event):
                return self._pod_view.show(event)
            case HiveCame(kind=kind, data=data):
                return [Line(f"-- hive: {sentence(kind, data)}", Style.HIVE)] if kind in SHOWN else []
            case Missing():
                return [*self._view.break_off(), Line("-- some events are missing here", Style.HIVE)]
            case Lost(summary=summary):
                return [*self._view.break_off(), Line(f"-- {summary}; waiting for the daemon", Style.HIVE)]
            case Back():
                return [Line("-- the daemon answers again", Style.HIVE)]
            case Ended(error=error):
                self._ended = error
                return []
            case Answered(lines=answer, again=again):
                self._editor.put_back(again)
                return list(answer)

    # what is typed
    def _type(self, data: bytes, lines: list[Line]) -> bool:
        """Take typed bytes, and add lines to show. Return False if the operator detaches."""
        if not data:
            return False
        for typed in self._editor.feed(data):
            if isinstance(typed, Left):
                return False
            order = orders.order_of(typed.text, pod=bool(self._pod)) if isinstance(typed, Entered) else None
            if isinstance(order, orders.Detach):
                return False
            if order is not None:
                lines += self._carry_out(order, typed.text)
        return True

    def _carry_out(self, order: orders.Order, text: str) -> list[Line]:
        match order:
            case orders.Send(body=body):
                self._sends.put(lambda: self._send(body, text))
                return [Line(f"> {part}", Style.TURN) for part in body.split("\n")]
            case orders.Explain(lines=explained):
                return [Line(f"   {each}", Style.HIVE) for each in explained]
            case orders.Notify(text=note):
                self._ask(lambda: self._do_pod("notify", note))
            case orders.ShowPods():
                self._ask(self._tree)
            case orders.Do(verb=verb) if self._pod:
                self._ask(lambda: self._do_pod(verb))
            case orders.Do(verb=verb):
                self._ask(lambda: turns.sentence(self._client.post(f"/api/agents/{self._agent}/turn/{verb}")))
            case orders.SetModel(name=name):
                path = f"/api/agents/{self._agent}/model"
                self._ask(lambda: turns.sentence(self._client.post(path, {"name": name})))
            case orders.ShowModel():
                self._ask(self._model)
        return [Line(f"> {text}", Style.HIVE)]

    def _send_in_order(self) -> None:
        while True:
            self._put(self._sends.get()())

    def _send(self, body: str, text: str) -> Answered:
        try:
            if self._pod:
                return Answered((Line(f"   {self._do_pod('run', body)}", Style.TOOL),))
            sent = self._client.post("/api/messages", {"to": self._agent, "body": body})
        except HiveError as error:
            return Answered(_error(error), text)
        return Answered((Line(f"   message {sent.get('id')} waits in its inbox", Style.TOOL),))

    def _ask(self, request: Callable[[], str]) -> None:
        """Make a request in a thread of its own: a compaction takes minutes."""

        def ask() -> None:
            try:
                answer = Answered((Line(f"   {request()}", Style.HIVE),))
            except HiveError as error:
                answer = Answered(_error(error))
            self._put(answer)

        threading.Thread(target=ask, daemon=True).start()

    def _do_pod(self, method: str, text: str = "") -> str:
        path = f"{self._pods}/{self._pod or self._agent}/{method}"
        self._client.post(path, {"text": text} if text else {})
        return f"{method}: accepted"

    def _tree(self) -> str:
        rows = pods.tree(self._client.rows(self._pods))
        return "\n   ".join(pods.row(depth, pod) for depth, pod in rows) or "its harness tells of no pods"

    def _model(self) -> str:
        row = self._client.row(f"/api/agents/{self._agent}/model")
        set_by_you = ", set by you" if row.get("override") else ""
        return f"{row.get('runtime') or 'its runtime'}: {row.get('model') or 'its default model'}{set_by_you}"


def _leave(number: int, _frame: object) -> None:
    """End on a signal, so that the terminal is left as it was."""
    raise SystemExit(128 + number)


def _error(error: HiveError) -> tuple[Line, ...]:
    return (Line(f"   {error.summary}{f'; {error.hint}' if error.hint else ''}", Style.ERROR),)


def has_keyboard() -> bool:
    """Return True if a person can type: both ends are a terminal, which can move its cursor."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
