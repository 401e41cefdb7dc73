"""What happens in a turn as events of the pod protocol (meta.wire.pod).

hive's turn is a run of the pod, and a request to the model is a turn of it. The results of a turn's tools belong to it,
so it ends when the next one begins, or with the run.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from harness.asides import Aside, RequestBegins, RequestEnds, ToolBegins, ToolPiece, Warn
from harness.pod.ending import RunEnding
from meta.text import scrub
from meta.wire import pod
from meta.wire.live import AnyItem, Notice, Text, TextDelta, ToolCall, ToolResult

CALLS = 10_000
"""Calls of one run whose beginning is remembered."""
TEXT_LIMIT = 256 * 1024
"""Characters of a text in one event. What is longer is cut: the whole is in hive's event log."""


class Translator:
    """The runs of one pod, one at a time. `emit` takes each event; it neither blocks nor raises."""

    def __init__(self, emit: Callable[[pod.Event], None], clock: Callable[[], float] = time.time) -> None:
        self._emit = emit
        self._clock = clock
        self._turn = 0
        self._open = False
        self._fresh = False
        """The open turn has shown nothing yet."""
        self._used = False
        """There was a Usage in this run."""
        self._begun: dict[str, bool] = {}
        """The calls that began, and whether pieces of their arguments came."""
        self._call = ""

    @property
    def turn(self) -> int:
        """Return the number of the latest turn."""
        return self._turn

    def begin(self) -> None:
        """Begin a run, and its first turn."""
        self._begun.clear()
        self._call, self._used = "", False
        self._begin_turn()

    def item(self, item: AnyItem) -> None:
        """Take an item of a line of the CLI."""
        match item:
            case TextDelta(text=text):
                self._show(pod.TextDelta(data=pod.TextData(text=_cut(text))))
            case Text(text=text):
                self._show(pod.TextDone(data=pod.TextData(text=_cut(text))))
            case ToolCall(id=id, name=name, input=arguments):
                self._call_whole(id, name, _cut(arguments))
            case ToolResult(id=id, output=output, is_error=is_error):
                data = pod.ToolResultData(id=_cut(id), output=_cut(output), is_error=is_error)
                self._show(pod.ToolResult(data=data))
            case Notice(level="warn" | "error" as level, text=text):
                self.aside(Warn("worker", text, level))
            case _:
                pass

    def aside(self, aside: Aside) -> None:
        """Take what only clients see."""
        match aside:
            case RequestBegins() if not self._fresh:
                self._end_turn(pod.TurnResult.FINISHED)
                self._begin_turn()
            case RequestEnds(input=input, output=output):
                self.usage(input, output)
            case ToolBegins(id=id, name=name):
                self._begin_call(id, name)
            case ToolPiece(json=text) if self._call:
                self._begun[self._call] = True
                data = pod.ToolCallArgsDeltaData(id=self._call, json=_cut(text))  # type: ignore[call-arg]
                self._show(pod.ToolCallArgsDelta(data=data))
            case Warn(source=source, level=level, text=text):
                self._emit(pod.NotificationEvent(data=self._notification(source, level, text)))
            case _:
                pass

    def usage(self, input: int | None, output: int | None) -> None:
        """Report the tokens of a request, or of a run whose runtime does not report requests."""
        self._used = True
        self._show(pod.Usage(data=pod.UsageData(input_tokens=input, output_tokens=output)))

    @property
    def used(self) -> bool:
        """Return True if tokens of this run were reported."""
        return self._used

    def end(self, ending: RunEnding, why: str) -> None:
        """End the turn that is open. `why`: the reason of an error."""
        if ending.error is not None:
            self.error(ending.error, why)
        self._end_turn(ending.turn)

    def end_run(self, ending: RunEnding) -> None:
        """Report the end of the run: the pod is ready for the next method."""
        self._emit(pod.RunEnd(data=pod.RunEndData(result=ending.result)))

    def error(self, code: pod.ErrorCode, why: str) -> None:
        """Report an error of the run to every client."""
        self._emit(pod.ErrorEvent(data=pod.ErrorData(code=code, message=_cut(why) or code.value)))

    def _show(self, event: pod.Event) -> None:
        if not self._open:
            self._begin_turn()
        self._fresh = False
        self._emit(event)

    def _begin_turn(self) -> None:
        self._end_turn(pod.TurnResult.FINISHED)
        self._turn += 1
        self._open = self._fresh = True
        self._emit(pod.TurnStart(data=pod.TurnStartData(turn=self._turn)))

    def _end_turn(self, result: pod.TurnResult) -> None:
        if self._open:
            self._open = self._fresh = False
            self._emit(pod.TurnEnd(data=pod.TurnEndData(turn=self._turn, result=result)))

    def _begin_call(self, id: str, name: str) -> None:
        self._call = _cut(id)
        if len(self._begun) < CALLS:
            self._begun[self._call] = False
        self._show(pod.ToolCallStart(data=pod.ToolCallStartData(id=self._call, name=_cut(name))))

    def _call_whole(self, id: str, name: str, arguments: str) -> None:
        """Report a call whose arguments are complete, with what was not reported of it before."""
        id = _cut(id)
        if id not in self._begun:
            self._begin_call(id, name)
        if arguments and not self._begun.get(id):
            data = pod.ToolCallArgsDeltaData(id=id, json=arguments)  # type: ignore[call-arg]
            self._show(pod.ToolCallArgsDelta(data=data))
        self._begun[id] = True
        self._call = ""
        self._show(pod.ToolCallDone(data=pod.ToolCallDoneData(id=id, name=_cut(name), arguments=arguments)))

    def _notification(self, source: str, level: str, text: str) -> pod.Notification:
        return pod.Notification(
            level=pod.Level(level),
            source=pod.Source(source),
            message=_cut(text),
            timestamp_ms=int(self._clock() * 1000),
        )


def _cut(text: str) -> str:
    """Return a text that UTF-8 can express and that fits into an event."""
    if len(text) > TEXT_LIMIT:
        text = f"{text[:TEXT_LIMIT]}... ({len(text)} characters)"
    try:
        text.encode()
    except UnicodeEncodeError:
        return scrub(text)
    return text
