"""The wait for hive's tools: a conversation gets its first prompt when the agent has fetched them.

Without them it would do the turn all the same, tell nobody, and its message would count as answered. No agent reports
that; the relay to hive sees it (harness.runtimes.listings).
"""

from __future__ import annotations

from harness.runtimes.acp.launch import Json
from harness.runtimes.acp.session import takes_http
from harness.runtimes.acp.table import Preset
from harness.runtimes.base import McpEndpoint, Sink
from meta.errors import TransientError
from meta.names import AgentName

SECONDS = 30.0
"""Seconds that an agent has to fetch the tools."""
UNKNOWN_SECONDS = 10.0
"""The same for an agent of which nothing is known. It goes on without them then, and is not waited for again."""


class ToolsWait:
    """Waits until one agent has fetched the tools.

    `begin` comes before each conversation in a process, `wait` before its prompts.
    """

    def __init__(self, preset: Preset, agent: AgentName, endpoint: McpEndpoint | None) -> None:
        self._preset = preset
        self._agent = agent
        self._listings = None if endpoint is None else endpoint.listings
        self._before: int | None = None
        """The count of answers before the conversation; None if there is nothing to wait for."""
        self._gave_up = False

    def begin(self, capabilities: Json) -> None:
        """Expect the agent to fetch the tools from now on, if it can use them at all."""
        expected = self._listings is not None and not self._gave_up and takes_http(capabilities)
        self._before = self._listings.count if self._listings is not None and expected else None

    async def wait(self, sink: Sink) -> None:
        """Wait until the agent has fetched the tools. Raise TransientError if it must and does not."""
        if self._listings is None or self._before is None:
            return
        seconds = SECONDS if self._preset.needs_tools else UNKNOWN_SECONDS
        if not await self._listings.wait(self._before, seconds):
            name, trouble = self._preset.name, self._listings.trouble
            if self._preset.needs_tools:
                raise TransientError(
                    f"{name} did not fetch hive's tools within {seconds:g} s, so it was not given the message"
                    + (f": {trouble}" if trouble else ""),
                    f"hive tries again by itself; if that does not help, `hive restart {self._agent}`",
                )
            sink.note(f"the agent did not fetch hive's tools within {seconds:g} s: it may be unable to send messages")
            self._gave_up = True
        self._before = None
