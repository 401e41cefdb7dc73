"""A process that dies in the middle of a change of the table of leases: `python -m tests.support.lease_holder PATH`."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from harness.subagents.leases.store import LeaseStore
from harness.subagents.leases.table import Table, release


def die(table: Table) -> Table:
    """Decide to release everything, and be killed with the lock and the transaction open."""
    for each in table.allocations:
        table = release(table, each.pod)
    os.kill(os.getpid(), signal.SIGKILL)
    return table


if __name__ == "__main__":
    LeaseStore(Path(sys.argv[1])).change(die)
