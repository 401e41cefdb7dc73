"""The runtime's program: whether it is there, and what hive is told about it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from harness.model import Model
from harness.runtimes.base import Runtime
from meta.errors import HiveError
from meta.text import one_line
from meta.wire.link import About, WorkspaceState

log = logging.getLogger(__name__)

VERSION_SECONDS = 30.0
"""Seconds that a CLI has to say its version."""
PROBLEM_SECONDS = 60.0
"""Seconds between two looks for a program that is missing."""


class Program:
    """The CLI of a runtime. `report` takes what hive is told, after each change.

    `key` returns the kind of the key outside by which it reaches its model, "" without one; `workspaces` the states of
    the agent's workspaces.
    """

    def __init__(
        self,
        runtime: Runtime,
        model: Model,
        report: Callable[[About], None],
        key: Callable[[], str] = str,
        workspaces: Callable[[], tuple[WorkspaceState, ...]] = tuple,
    ) -> None:
        self._runtime = runtime
        self._model = model
        self._report = report
        self._key = key
        self._workspaces = workspaces
        self._version = ""
        self.problem: str | None = None
        """Why the CLI cannot run, and what helps."""

    async def check(self) -> str | None:
        """Ask the CLI for its version. Return the problem if it cannot run."""
        try:
            async with asyncio.timeout(VERSION_SECONDS):
                self._version, self.problem = await self._runtime.version(), None
        except TimeoutError:
            self.problem = f"the CLI of runtime {self._runtime.name} did not say its version in {VERSION_SECONDS:g} s"
        except HiveError as error:
            self.problem = one_line(f"{error.summary}; {error.hint}" if error.hint else error.summary)
        except Exception as error:
            log.exception("the runtime raised an unexpected error")
            self.problem = f"the runtime {self._runtime.name} cannot say its version: {type(error).__name__}"
        if self.problem is not None:
            self._version = ""
            log.warning("%s", self.problem)
        self.report()
        return self.problem

    def report(self) -> None:
        """Tell hive what runs."""
        self._report(
            About(
                runtime=self._runtime.name[:32],
                program=one_line(self._version, 100),
                model=(self._model.name or self._runtime.default_model)[:200],
                override=self._model.override[:200],
                problem=self.problem or "",
                key=self._key(),
                workspaces=self._workspaces(),
            )
        )
