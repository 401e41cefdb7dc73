"""Convert errors to problem details for HTTP, and back. One table for the server and the CLI.

    {"type": "urn:hive:not-found", "title": "there is no agent bob", "status": 404, "detail": "...", "hint": "..."}

It imports only the standard library, because the CLI must start fast.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from meta.errors import (
    BadInput,
    BuildFailed,
    Conflict,
    HiveError,
    NotFound,
    Occupied,
    PermanentError,
    Refused,
    TransientError,
    Unseen,
)

MEDIA_TYPE = "application/problem+json"
PREFIX = "urn:hive:"


class Kind(NamedTuple):
    """One kind of problem: the end of its `type`, the error it stands for, the HTTP status."""

    slug: str
    error: type[HiveError]
    status: int
    meaning: str


KINDS = (
    Kind("bad-input", BadInput, 400, "the input is wrong"),
    Kind("not-found", NotFound, 404, "the thing that was named does not exist"),
    Kind("occupied", Occupied, 409, "it would take the place of another proposal, which `replaces` has to name"),
    Kind("conflict", Conflict, 409, "another request came first, or the state does not allow it"),
    Kind("unseen", Unseen, 403, "the diff does not show all of what would be approved"),
    Kind("refused", Refused, 403, "hive will not do it"),
    Kind("build-failed", BuildFailed, 422, "the commit could not be built"),
    Kind("failed", PermanentError, 422, "it failed, and trying again does not help"),
    Kind("try-again", TransientError, 503, "it may work later"),
    Kind("internal", HiveError, 500, "an error inside hive; see its log"),
)
"""Ordered: the first kind whose error matches is used."""


def problem_of(error: HiveError) -> dict[str, Any]:
    """Return `error` as problem details."""
    kind = next(kind for kind in KINDS if isinstance(error, kind.error))
    problem = {
        "type": PREFIX + kind.slug,
        "title": error.summary,
        "status": kind.status,
        "detail": error.describe(),
        "hint": error.hint,
    }
    if isinstance(error, TransientError) and error.retry_after is not None:
        problem["retry_after"] = error.retry_after
    if isinstance(error, BuildFailed) and error.log:
        problem["log"] = error.log
    return problem


def error_from(problem: Mapping[str, Any]) -> HiveError:
    """Return the error that problem details stand for. An unknown kind is a plain HiveError."""
    slug = str(problem.get("type", "")).removeprefix(PREFIX)
    error = next((kind.error for kind in KINDS if kind.slug == slug), HiveError)
    return error(str(problem.get("title", "hive answered with an error")), str(problem.get("hint", "")))
