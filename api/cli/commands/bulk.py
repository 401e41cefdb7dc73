"""The same decision about several proposals."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from api.cli.client.exit_codes import Failed, Unreachable
from api.cli.client.http import Row
from api.cli.render import output
from meta.errors import HiveError


def each(ids: Sequence[int], one: Callable[[int], Row], json: bool, verb: str) -> None:
    """Do `one` for each id, whatever becomes of the others; with `json` print the list of their cards.

    What goes wrong is said at once. Failed when anything did.
    """
    wanted = list(dict.fromkeys(ids))
    cards: list[Row] = []
    for id in wanted:
        try:
            cards.append(one(id))
        except Unreachable:
            raise
        except HiveError as error:
            output.say_error(error)
    if json:
        output.say_json(cards)
    if len(cards) < len(wanted):
        missing = len(wanted) - len(cards)
        raise Failed(f"{missing} of {len(wanted)} could not be {verb}", "see the reasons above")
