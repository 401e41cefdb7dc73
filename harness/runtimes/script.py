"""The deterministic runtime: rules from agent.toml, for demos and tests without a model."""

from __future__ import annotations

import asyncio
import logging
import os
import re
from collections.abc import Mapping, Sequence

from harness.runtimes.base import Message, Tools, TurnOutcome
from meta.settings import Rule

log = logging.getLogger(__name__)

_GROUP = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")


class ScriptRuntime:
    """The first rule that matches a message is carried out."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = [
            (number, rule, re.compile(rule.when), re.compile(rule.sender) if rule.sender is not None else None)
            for number, rule in enumerate(rules)
        ]

    async def turn(self, message: Message, tools: Tools) -> TurnOutcome:
        """Carry out the first rule that matches; none is fine."""
        for number, rule, when, sender in self._rules:
            if sender is not None and not sender.search(message.sender):
                continue
            if (match := when.search(message.body)) is not None:
                done = await _carry_out(rule, match.groupdict(default=""), tools)
                return TurnOutcome(f"script[{number}]: {', '.join(done) or 'nothing to do'}")
        return TurnOutcome("no rule matches")


def fill(template: str, groups: Mapping[str, str]) -> str:
    """`template` with `{group}` replaced by the group's text; other braces stay as they are."""
    return _GROUP.sub(lambda match: groups.get(match[1], match[0]), template)


async def _carry_out(rule: Rule, groups: Mapping[str, str], tools: Tools) -> list[str]:
    done = []
    if (commit := rule.commit) is not None:
        words = [fill(text, groups) for text in (commit.agent, commit.file, commit.content, commit.message)]
        done.append(f"commit {(await tools.commit(*words))[:12]}")
    if (request := rule.request) is not None:
        sha = await tools.request(fill(request.agent, groups), fill(request.description, groups))
        done.append(f"request {sha[:12]}")
    if (send := rule.send) is not None:
        to = fill(send.to, groups)
        await tools.send(to, fill(send.body, groups))
        done.append(f"send to {to}")
    if rule.reply is not None:
        await tools.reply(fill(rule.reply, groups))
        done.append("reply")
    if rule.sleep is not None:
        await asyncio.sleep(rule.sleep)
        done.append(f"sleep {rule.sleep:g} s")
    if rule.crash is not None:
        log.warning("a rule says crash: exit %d", rule.crash)
        os._exit(rule.crash)
    return done
