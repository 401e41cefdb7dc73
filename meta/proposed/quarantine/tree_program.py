"""A program of its own: check the tree of a proposed commit, which it reads from stdin.

Its caller limits its memory and its time. The first line of stdin is a question as JSON, with the lengths of the parts
that follow. The answer on stdout is the blobs of the symlinks, one a line, or with the code REFUSED the error as JSON.
It imports only pure modules of hive, to start quickly.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass

from meta.errors import Refused
from meta.proposed.quarantine import tree
from meta.proposed.quarantine.tree import TreeLimits

REFUSED = 3


@dataclass(frozen=True, slots=True)
class Question:
    """What to check: the listing with `limits` and the base tree, or the targets of its symlinks."""

    listing: bytes
    limits: TreeLimits | None = None
    base_tree: bytes | None = None
    targets: bytes = b""

    def encode(self) -> bytes:
        """Return the question as the program reads it."""
        head = {
            "listing": len(self.listing),
            "limits": asdict(self.limits) if self.limits is not None else None,
            "base_tree": len(self.base_tree) if self.base_tree is not None else None,
        }
        return b"".join((json.dumps(head).encode(), b"\n", self.listing, self.base_tree or b"", self.targets))

    @classmethod
    def decode(cls, data: bytes) -> Question:
        """Return the question in `data`."""
        line, _, rest = data.partition(b"\n")
        head = json.loads(line)
        end = head["listing"]
        middle = end + (head["base_tree"] or 0)
        return cls(
            rest[:end],
            TreeLimits(**head["limits"]) if head["limits"] is not None else None,
            rest[end:middle] if head["base_tree"] is not None else None,
            rest[middle:],
        )

    def answer(self) -> tuple[str, ...]:
        """Return the blobs of the symlinks, or none if it asks for their targets. Raise Refused."""
        if self.limits is not None:
            return tree.check_listing(self.listing, self.base_tree, self.limits)
        tree.check_targets(self.listing, self.targets)
        return ()


def main() -> int:
    """Answer one question. Return 0, REFUSED, or 1 with the reason on stderr."""
    try:
        answer = Question.decode(sys.stdin.buffer.read()).answer()
    except Refused as error:
        sys.stdout.write(json.dumps({"summary": error.summary, "hint": error.hint}))
        return REFUSED
    except (ValueError, MemoryError) as error:
        sys.stderr.write(f"{error or type(error).__name__}\n")
        return 1
    sys.stdout.write("".join(f"{oid}\n" for oid in answer))
    return 0
