"""What is asked about an agent's commits beside its proposals: look between two, read and edit its settings, logs.

Nothing is opened that an agent can write in: text and commits come from the applied repo, and an edit is a commit that
hive makes there itself, on top of `applied/main`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from meta.agent_toml.settings import SETTINGS_FILE, parse_settings
from meta.applied.source import Source, SourceKind
from meta.errors import BadInput, Conflict, NotFound
from meta.model import Deploy, TagState
from meta.names import AgentName, Sha, commit_id
from reconciler.proposals.commands import Proposals
from reconciler.views import Card, Change, LogPart, SettingsText

LOOK_SECONDS = 0.5
"""Between two looks at a log that is followed."""
EDITED = Source.of(SourceKind.EDIT, SETTINGS_FILE)
"""Where the proposal of an edit comes from: a newer edit supersedes it."""
SUBJECT = "edit agent.toml"


class Editing(Proposals):
    """Looks between commits, edits on top of the newest."""

    async def change(self, agent: AgentName, first: str | None = None, last: str | None = None) -> Change:
        """What changed from `first` to `last`: ids of the agent, or 7 to 40 digits of commits of its applied repo.

        None: from what was deployed before, to what is pinned now.
        """
        pin = (await self._entry(agent)).agents[agent].pin.sha
        deploys = await self._deploys(agent)
        after = await self._commit(agent, deploys, last) if last else pin
        before = await self._commit(agent, deploys, first) if first else _before(deploys, after, agent)
        applied = self._w.applied(agent)
        patch = await applied.diff(before, after)
        return Change(
            agent=agent,
            base=before,
            sha=after,
            commits=await applied.log(before, after),
            settings=await self._settings_diff(agent, before, after),
            files=tuple(line.split(" b/", 1)[1] for line in patch.splitlines() if line.startswith("diff --git ")),
            patch=patch,
        )

    async def settings(self, agent: AgentName, at: str | None = None) -> SettingsText:
        """agent.toml as it is deployed, or as it is in the id or commit `at`."""
        await self._entry(agent)
        deploys, main = await self._deploys(agent), await self._main(agent)
        sha = await self._commit(agent, deploys, at) if at else main
        text = await self._w.applied(agent).read(sha, SETTINGS_FILE)
        try:
            return SettingsText(agent=agent, base=main, sha=sha, text=text.decode())
        except UnicodeDecodeError as error:
            raise BadInput(
                f"{SETTINGS_FILE} of {sha[:12]} is not UTF-8", "mend it in a clone, and push that"
            ) from error

    async def propose_settings(
        self, agent: AgentName, by: str, text: str, description: str = "", base: str | None = None
    ) -> Card:
        """Commit `text` as agent.toml on top of `applied/main`, in hive's own repo, and propose that.

        BadInput for text that is not valid, or that changes nothing; Conflict when `base`, which the text was made
        from, is no longer the newest. A second edit takes the place of one that still waits.
        """
        parse_settings(text.encode(), SETTINGS_FILE)
        await self._entry(agent)
        main = await self._main(agent)
        if base is not None and commit_id(base) != main:
            raise Conflict(
                f"{agent} has another commit by now: {main[:12]}, the edit began from {base[:12]}",
                f"look at it with `hive diff {agent}`, then edit again",
            )
        applied = self._w.applied(agent)
        if await applied.read(main, SETTINGS_FILE) == text.encode():
            raise BadInput(f"{SETTINGS_FILE} of {agent} is so already", "change it first")
        # objects that no ref names: a daemon that dies here leaves nothing that anybody sees
        sha = await applied.edit(main, SETTINGS_FILE, text.encode(), description or SUBJECT, self._w.now())
        async with self._pinning:
            return await self._pin(
                agent, sha, by=by, base=main, commit_ref=sha, source=EDITED, description=description or SUBJECT
            )

    async def logs_after(
        self, agent: AgentName, cursor: str | None, lines: int, since: float | None, seconds: float = 0.0
    ) -> LogPart:
        """What the container wrote after `cursor` (None: its last `lines` lines), waited for at most `seconds`."""
        await self._entry(agent)
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            part = await self._w.observer.logs_after(agent, cursor, lines, since)
            remaining = deadline - asyncio.get_running_loop().time()
            if part.text or remaining <= 0:
                return part
            cursor = part.cursor or cursor
            await asyncio.sleep(min(LOOK_SECONDS, remaining))

    # helpers
    async def _main(self, agent: AgentName) -> Sha:
        main = await self._w.applied(agent).main()
        if main is None:
            raise Conflict(f"nothing of {agent} was deployed yet", f"see `hive plan {agent}`")
        return main

    async def _commit(self, agent: AgentName, deploys: Sequence[Deploy], name: str) -> Sha:
        """The commit of an id, or of 7 to 40 digits."""
        if name.isascii() and name.isdigit():
            for deploy in deploys:
                if str(deploy.id) == name:
                    return deploy.sha
            if len(name) < 7:
                raise NotFound(f"{agent} has no proposal {name}", f"see `hive history {agent}`")
        return await self._w.applied(agent).resolve(commit_id(name))


def _before(deploys: Sequence[Deploy], sha: Sha, agent: AgentName) -> Sha:
    """What was deployed before `sha`."""
    done = [deploy for deploy in deploys if deploy.state is TagState.DEPLOYED]
    place = next((at for at in range(len(done) - 1, -1, -1) if done[at].sha == sha), len(done))
    older = [deploy.sha for deploy in done[:place] if deploy.sha != sha]
    if not older:
        raise NotFound(f"{agent} had nothing else deployed before", f"see `hive history {agent}`")
    return older[-1]
