"""The story with its `hive` commands run in the process that tells it.

There are a hundred of them, and as processes each would start a Python of its own: two thirds of the story's time.
"""

from __future__ import annotations

import contextlib
import io

from typing_extensions import override

from api.cli.main import execute
from tests.e2e.words import Story, Unexpected


class ToldHere(Story):
    """A story whose commands are no processes."""

    @override
    def hive(self, *words: str, fails: bool = False) -> str:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = execute([*words, "--state", str(self.state), "--runtime", str(self.runtime)])
        if (code != 0) != fails:
            raise Unexpected(f"hive {' '.join(words)} ended with {code}: {out.getvalue()}{err.getvalue()}")
        return (err if fails else out).getvalue()

    @override
    def quiet(self, *words: str) -> bool:
        try:
            self.hive(*words)
        except Unexpected:
            return False
        return True
