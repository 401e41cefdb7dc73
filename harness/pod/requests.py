"""What the clients of the pod asked for: runs, texts for the model, and which run is paused. It outlives a restart.

A run that was asked for becomes a message of the loop, like one of hive's inbox. Its id is negative, which no message
of hive has. Each run has one end: if it fails, its client is told, and it is not tried again.
"""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from harness import state_file
from harness.stop import Cause
from harness.wake import Begins
from meta.wire.agent import MessageResponse

log = logging.getLogger(__name__)

SENDER = "pod.sock"
"""The sender of a run. No agent has a dot in its name, and nobody vouches for who connected."""
NOTICES = 128
"""Texts for the model that wait, at most. The oldest is dropped."""
NOTICE_LIMIT = 16 * 1024
"""Characters of such a text."""
INPUT_LIMIT = 200 * 1024
"""Characters of the input of a run."""
FILE = "hyperhive-pod.json"
FILE_LIMIT = 4 * 2**20

_HEAD = (
    "For your information, from a client of your pod. Take it up at a natural point; it asks for no answer by itself:"
)


def _nothing() -> None:
    """Do nothing."""


class Requests:
    """The requests of one pod, for one event loop. Without a folder they do not outlive a restart."""

    def __init__(self, folder: Path | None = None) -> None:
        self._path = None if folder is None else folder / FILE
        self._changed: Callable[[], None] = _nothing
        self._dropped: Callable[[str], None] = log.warning
        self._next = 0
        self._run: MessageResponse | None = None
        self._notices: deque[str] = deque()
        self._current: MessageResponse | None = None
        self._under_way = False
        """The turn of the current message has begun."""
        self._taken = 0
        """Texts that the message of the turn has: the first of `_notices`."""
        self._shown = 0
        """Texts that its beginning has, beside another message."""
        self._wake = False
        """A run begins for the texts alone."""
        self.paused = False
        """A run is paused: no turn begins until it goes on or is given up."""
        self._paused_id: int | None = None
        self._given_up: int | None = None
        self._goes_on: int | None = None
        self._cut = False
        self._load()

    def listen(self, changed: Callable[[], None], dropped: Callable[[str], None]) -> None:
        """Call `changed` after each change, and `dropped` with a sentence if a text is dropped."""
        self._changed, self._dropped = changed, dropped

    # what clients ask for
    def run(self, input: str, *, replaces: bool = False) -> None:
        """Take the input of a run. The caller knows that none is under way. `replaces`: the paused one is given up."""
        if replaces:
            self._forget_paused()
            self._cut = True
        self._run = MessageResponse(sender=SENDER, body=input[:INPUT_LIMIT], id=self._new_id())
        self._tell()

    def notify(self, text: str, *, wake: bool) -> None:
        """Keep a text for the model. `wake`: a run begins for it."""
        if len(self._notices) >= NOTICES:
            self._notices.popleft()
            self._taken, self._shown = max(0, self._taken - 1), max(0, self._shown - 1)
            self._dropped(f"more than {NOTICES} texts wait for the model: the oldest is dropped")
        self._notices.append(text[:NOTICE_LIMIT])
        self._wake = self._wake or wake
        self._tell()

    def hold_back(self) -> bool:
        """Pause a run that was accepted and has not begun. Return False if there is none."""
        if not self.run_waits or self._run is None:
            return False
        self.paused, self._paused_id = True, self._run.id
        self._take_back()
        self._tell()
        return True

    def go_on(self) -> None:
        """Go on with the paused run."""
        self.paused, self._goes_on, self._paused_id = False, self._paused_id, None
        self._tell()

    def give_up(self) -> None:
        """Forget the paused run. Its message counts as done."""
        self._forget_paused()
        self._tell()

    def cancel(self) -> bool:
        """Forget a run that was accepted and has not begun. Return False if there is none."""
        if not self.run_waits:
            return False
        self._run, self._wake = None, False
        self._take_back()
        self._tell()
        return True

    # what the loop does with it
    @property
    def run_waits(self) -> bool:
        """Return True if a run was accepted and has not begun. The loop may have its message already."""
        return not self._under_way and not self.paused and (self._run is not None or self._wake)

    def take(self) -> MessageResponse | None:
        """Return the message of the next turn, which is current until `settle`; None: nothing was asked for."""
        if self._current is not None or not self.run_waits:
            return None
        if self._run is not None:
            self._current = self._run
            self._save()  # it has begun: if it comes again, it says so
        else:
            self._taken = len(self._notices)
            body = told(*self._notices)
            self._current = MessageResponse(sender=SENDER, body=body, id=self._new_id())
        return self._current

    def is_own(self, message: MessageResponse) -> bool:
        """Return True for a message that `take` returned, also if its run was taken back since."""
        return message.id < 0

    def start(self, message: MessageResponse) -> bool:
        """Record that the turn of a message that `take` returned begins. Return False if its run was taken back."""
        self._under_way = message is self._current
        return self._under_way

    def put_back(self) -> None:
        """Let the message that `take` returned wait again: its turn did not begin."""
        self._take_back()

    def _take_back(self) -> None:
        self._current, self._taken = None, 0

    def was_given_up(self, message: MessageResponse) -> bool:
        """Return True, once, for a message of hive whose paused run was given up."""
        if message.id != self._given_up:
            return False
        self._given_up = None
        self._save()
        return True

    def begin(self, message: MessageResponse) -> Begins:
        """Return what the model must know of the run before this turn."""
        goes_on, self._goes_on = self._goes_on == message.id, None
        cut, self._cut = self._cut, False
        return Begins(goes_on, cut)

    def settle(self, message: MessageResponse, cause: Cause | None) -> None:
        """Take the end of a turn. `cause`: who paused it, so that it comes again; None: it is over."""
        if cause is Cause.POD:
            self.paused, self._paused_id = True, message.id
        if cause in (Cause.POD, Cause.PAUSE):
            self._goes_on = message.id
            if self._run is not None and self._run is self._current:
                self._run = self._run.model_copy(update={"redelivered": True})
            elif message is self._current:  # only texts, which wait again
                self._paused_id = None
        elif message is self._current:
            self._drop(self._taken)
            if self._run is message:
                self._run = None
            self._wake = bool(self._notices) and self._wake
        self._under_way = False
        self._take_back()
        self._tell()

    def _drop(self, count: int) -> None:
        for _ in range(min(count, len(self._notices))):
            self._notices.popleft()
        self._wake = self._wake and bool(self._notices)

    def _forget_paused(self) -> None:
        if self._run is not None and self._run.id == self._paused_id:
            self._run = None
        elif self._paused_id is not None and self._paused_id >= 0:
            self._given_up = self._paused_id
        self.paused, self._paused_id, self._goes_on = False, None, None

    def _new_id(self) -> int:
        self._next -= 1
        return self._next

    def _tell(self) -> None:
        self._save()
        self._changed()

    # harness.conversation.News
    def lines(self) -> Sequence[str]:
        """Return the texts that a turn begins with which has another message."""
        if self._current is not None and self._run is not self._current:
            return ()
        self._shown = len(self._notices)
        return tuple(f"notification: {text}" for text in self._notices)

    def mark_shown(self) -> None:
        """Forget the texts that the turn began with."""
        self._drop(self._shown)
        self._shown = 0
        self._save()

    def _save(self) -> None:
        if self._path is None:
            return
        value = {
            "next": self._next,
            "run": None if self._run is None else _saved(self._run, begun=self._run is self._current),
            "texts": list(self._notices),
            "paused": self.paused,
            "paused_id": self._paused_id,
            "given_up": self._given_up,
            "wake": self._wake,
        }
        if self._run is None and not self._notices and not self.paused and self._given_up is None:
            state_file.remove(self._path)
        else:
            state_file.write(self._path, json.dumps(value))

    def _load(self) -> None:
        """Take what was asked for before the start. What is not as expected is dropped."""
        text = None if self._path is None else state_file.read(self._path, FILE_LIMIT)
        try:
            value = json.loads(text) if text else {}
        except (ValueError, RecursionError):
            value = {}
        if not isinstance(value, dict):
            return
        self._run = _run(value.get("run"))
        if self._run is not None:
            self._next = min(self._next, self._run.id)
        texts = value.get("texts")
        kept = [text[:NOTICE_LIMIT] for text in texts if isinstance(text, str)] if isinstance(texts, list) else []
        self._notices.extend(kept[-NOTICES:])
        self.paused = value.get("paused") is True
        self._wake = value.get("wake") is True and bool(self._notices)
        self._paused_id, self._given_up = (_number(value.get(key)) for key in ("paused_id", "given_up"))


def write_first_run(folder: Path, input: str) -> str | None:
    """Let a pod that is still to start begin with this run. Return None, or why the file cannot be written."""
    run = MessageResponse(sender=SENDER, body=input[:INPUT_LIMIT], id=-1)
    return state_file.write(folder / FILE, json.dumps({"run": _saved(run, begun=False)}))


def _saved(run: MessageResponse, *, begun: bool) -> dict[str, object]:
    return {"id": run.id, "input": run.body, "again": run.redelivered or begun}


def told(*texts: str) -> str:
    """Return texts of clients as the model gets them."""
    return "\n\n".join([_HEAD, *texts])


def _run(value: Any) -> MessageResponse | None:
    id, input = (value.get("id"), value.get("input")) if isinstance(value, dict) else (None, None)
    if type(id) is not int or not -(2**62) < id < 0 or not isinstance(input, str):
        return None
    again = value.get("again") is not False
    return MessageResponse(sender=SENDER, body=input[:INPUT_LIMIT], id=id, redelivered=again)


def _number(value: object) -> int | None:
    return value if type(value) is int and abs(value) < 2**63 else None
