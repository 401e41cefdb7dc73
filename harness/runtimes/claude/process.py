"""A running process of the CLI: texts and requests in, parsed lines out."""

from __future__ import annotations

import asyncio
import json
import signal
import uuid
from contextlib import suppress
from pathlib import Path

from harness.child import Child, start_child
from harness.runtimes.claude.arguments import STREAM_INPUT, Launch
from harness.runtimes.claude.exchange import Meter
from harness.runtimes.claude.facts import Question
from harness.runtimes.claude.lines import Parsed, parse_line
from harness.runtimes.start_files import write_private
from meta.errors import PermanentError, TransientError
from meta.text import one_line

_EXIT_SECONDS = 1.0
_DENIED = "hive: agent.toml does not allow this tool (permissions.allow), and nobody is there to ask"


class Cli:
    """A process for one conversation. `model` is the one that it was last told to use."""

    def __init__(self, child: Child, session: str, model: str, meter: Meter, how: Launch) -> None:
        self.child = child
        self.session = session
        self.model = model
        self.meter = meter
        self.known = False
        """The CLI has the conversation on its disk."""
        self.env = how.env
        self.bounds = how.bounds
        """What it was started with."""
        self.streaming = STREAM_INPUT in how.argv
        """It takes one text after another. Otherwise it does one turn and ends."""

    async def read(self) -> Parsed | None:
        """Return its next line; None once it closed its output."""
        while (line := await self.child.line()) is not None:
            if line.dropped or line.data.strip():
                return parse_line(line.data, line.dropped)
        return None

    def say(self, text: str, message: str, *, verbatim: bool = True) -> bool:
        """Give it a text of the user, named by a uuid. Return False if it no longer reads.

        Unless `verbatim`, a text that begins with a slash is a command of the CLI.
        """
        if not self.streaming:
            written = self.child.write(text.encode("utf-8", "replace"))
            self.child.close_stdin()
            return written
        user = {"role": "user", "content": text}
        return self._write({"type": "user", "message": user, "uuid": message, "client_composed": verbatim})

    def request(self, subtype: str, **fields: object) -> str:
        """Send a request to the CLI itself; return its id, which the answer has."""
        name = uuid.uuid4().hex
        self._write({"type": "control_request", "request_id": name, "request": {"subtype": subtype, **fields}})
        return name

    def refuse(self, question: Question) -> None:
        """Answer a request of the CLI, so that it does not wait: nobody is there to decide."""
        answer: dict[str, object] = {"subtype": "error", "request_id": question.id, "error": "hive has no answer"}
        if question.kind == "can_use_tool":
            denied = {"behavior": "deny", "message": _DENIED}
            answer = {"subtype": "success", "request_id": question.id, "response": denied}
        self._write({"type": "control_response", "response": answer})

    def interrupt(self) -> None:
        """Ask it to end the turn."""
        if self.streaming:
            self.request("interrupt")
        else:
            self.child.send_signal(signal.SIGINT)

    def _write(self, value: object) -> bool:
        return self.child.write(json.dumps(value).encode("ascii") + b"\n")


async def start_cli(how: Launch, folder: Path, session: str, model: str, meter: Meter) -> Cli:
    """Write the files of the CLI and start it. Raise HiveError if that is not possible."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, text in how.files.items():
            write_private(folder / name, text)
    except OSError as error:
        raise TransientError(f"cannot write the files of claude in {folder}: {error.strerror}") from error
    child = await start_child(how.argv, how.env, how.cwd, how.bounds)
    return Cli(child, session, model, meter, how)


async def read_version(how: Launch, seconds: float) -> str:
    """Return what the CLI prints for `--version`. Raise PermanentError if it does not start or prints nothing."""
    program = how.argv[0]
    child = await start_child(how.argv, how.env, how.cwd, how.bounds)
    text = ""
    try:
        async with asyncio.timeout(seconds):
            async for line in child.lines():
                text = text or one_line(line.data.decode("utf-8", "replace"))
            code = await exit_code(child)
    except TimeoutError as error:
        raise PermanentError(f"`{program} --version` does not end", "is it the CLI?") from error
    finally:
        await child.end(())
    if not text or code != 0:
        ending = "it does not end" if code is None else f"exit code {code}"
        raise PermanentError(f"`{program} --version` failed: {one_line(child.stderr) or ending}", "is it the CLI?")
    return text


async def exit_code(child: Child) -> int | None:
    """Return the exit code of a CLI that closed its output; None if it does not end."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_EXIT_SECONDS):
            return await child.wait()
    return None
