"""The parts of a diff that are fetched when their fold is opened."""

from __future__ import annotations

import asyncio
from typing import Literal

from pydantic import Field

from api.operations.base import AgentField, Input
from api.operations.proposals import DiffInput, diff
from api.operations.settings import ChangeInput, change
from api.ui.diff.blocks import Same
from api.ui.diff.lines import Line, Row, numbered, shown
from api.ui.diff.patch import read_patch
from api.ui.diff.source import Source
from api.ui.diff.values import FileDiff, Patch
from api.ui.diff.view import PAGE_ROWS, Fold, diff_view, file_id, files_page, more_files, page, shown_at_once
from api.ui.moment import Moment
from api.ui.page import Fragment, Room, Shown
from meta.errors import HiveError, NotFound
from meta.git.diff import CONTEXT, MOST_CONTEXT
from meta.names import ProposalId

PATIENCE = 1.0
"""Seconds that a fragment waits for the tokens of its code: nothing else waits for it."""


class CommitsInput(Input):
    """Two commits, and what shows their difference."""

    agent: AgentField
    base: str | None = Field(None, max_length=40, description="the older commit; without it `id` is a proposal")
    sha: str = Field(max_length=40)
    id: ProposalId | None = Field(None, ge=0)
    key: str = Field(max_length=100, pattern=r"^[A-Za-z0-9_-]+$")
    layout: Literal["inline", "split"] = "inline"

    @property
    def source(self) -> Source:
        """Return where further parts come from."""
        return Source(self.agent, self.base, self.sha, self.key, self.layout, self.id)


class FilesInput(CommitsInput):
    """The files from the place `at` on."""

    at: int = Field(0, ge=0)


class PartInput(CommitsInput):
    """A file, and the id of its part of the page."""

    path: str = Field(max_length=5000)
    part: str = Field(max_length=200, pattern=r"^[A-Za-z0-9_-]+$")


class FileInput(PartInput):
    """The rows of the file from `at` on."""

    at: int = Field(0, ge=0)
    alone: bool = True


class LinesInput(PartInput):
    """Unchanged lines from these numbers on. `most` 0 is as many as there are."""

    old: int = Field(ge=1)
    new: int = Field(ge=1)
    most: int = Field(0, ge=0)


async def files(moment: Moment, asked: FilesInput) -> Shown:
    """Return a page of the files of a diff."""
    patch = await _patch(moment, asked, CONTEXT)
    some = files_page(patch, asked.at)
    tokens = await moment.diffs.highlighter.tokens(shown_at_once(some), PATIENCE)
    views = await asyncio.to_thread(diff_view, some, asked.key, asked.source, tokens)
    more = more_files(patch, asked.source, asked.at)
    return Shown({"diff": {"files": views, "more": more}, "layout": asked.layout, "of": f"of {asked.sha[:7]}"})


async def file(moment: Moment, asked: FileInput) -> Shown:
    """Return a page of the rows of one file."""
    try:
        patch = await _patch(moment, asked, CONTEXT, asked.path if asked.alone else None)
    except HiveError as error:
        return _failed(asked, error)
    found = next((file for file in patch.files if file_id(asked.key, file) == asked.part), None)
    if found is None or not found.hunks:
        return _failed(asked, NotFound(patch.rest[-1] if patch.rest else "git does not compare it"))
    tokens = await moment.diffs.highlighter.tokens([found], PATIENCE)
    parts = await asyncio.to_thread(page, found, asked.part, asked.source, tokens.get(found.path), asked.at)
    return Shown({"parts": parts, "layout": asked.layout})


async def lines(moment: Moment, asked: LinesInput) -> Shown:
    """Return unchanged lines of one file."""
    try:
        patch = await _patch(moment, asked, MOST_CONTEXT, asked.path)
    except HiveError as error:
        return _failed(asked, error)
    found = next((file for file in patch.files if file.path == asked.path and file.status != "deleted"), None)
    if found is None:
        return _failed(asked, NotFound(f"the file is not in {asked.sha[:12]}"))
    rows, more = await asyncio.to_thread(_lines, found, asked)
    parts: list[Same | Fold] = [Same(rows)] if rows else [Fold(f"{asked.part}-end", "The file ends here.")]
    if more:
        old, new = asked.old + len(rows), asked.new + len(rows)
        left = max(asked.most - len(rows), 0)
        href = asked.source.lines(asked.path, asked.part, old, new, left)
        parts.append(Fold(f"{asked.part}-{new}", "Further unchanged lines", href))
    return Shown({"parts": parts, "layout": asked.layout})


def _failed(asked: PartInput, error: HiveError) -> Shown:
    """Return the reason in the place of the lines: the page around it stays as it is."""
    words = f"It cannot be shown: {error.describe()}"
    return Shown({"parts": (Fold(f"{asked.part}-failed", words),), "layout": asked.layout})


def _lines(found: FileDiff, asked: LinesInput) -> tuple[tuple[Line, ...], bool]:
    """Return the lines with their numbers, and True if there are more than one answer shows."""
    most = min(asked.most or PAGE_ROWS, PAGE_ROWS)
    shift = asked.old - asked.new
    texts = [
        row
        for hunk in found.hunks
        for row in numbered(hunk.rows, hunk.old, hunk.new)
        if row.sign != "-" and asked.new <= row.new <= asked.new + most
    ]
    rows = tuple(shown(Row(" ", row.new + shift, row.new, row.text, row.open)) for row in texts[:most])
    return rows, len(texts) > most and asked.most != most


async def _patch(moment: Moment, asked: CommitsInput, context: int, path: str | None = None) -> Patch:
    if asked.base is None and asked.id is not None:
        told = await moment.ask(diff, DiffInput(id=asked.id, agent=asked.agent, path=path, context=context))
        if told.sha != asked.sha:
            raise NotFound(f"proposal {asked.id} is no longer {asked.sha[:12]}", "load the page again")
        return await asyncio.to_thread(read_patch, told.patch, told.changes)
    if asked.base is None:
        raise NotFound("the link does not say what to compare with", "load the page again")
    between = {"agent": asked.agent, "from": asked.base, "to": asked.sha, "path": path, "context": context}
    made = await moment.ask(change, ChangeInput.model_validate(between))
    return await asyncio.to_thread(read_patch, made.patch, made.changes)


DIFF = Room(
    fragments=(
        Fragment("/diff/files", FilesInput, files, "diff/files.html"),
        Fragment("/diff/file", FileInput, file, "diff/parts.html"),
        Fragment("/diff/lines", LinesInput, lines, "diff/parts.html"),
    )
)
