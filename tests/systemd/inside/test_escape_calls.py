"""The filter of system calls of the harness's unit, in a container: the same rows as in a sandbox of backend `local`.

The prober is the same, too. Rows that systemd cannot express are named in docs/reference/seccomp.md.
"""

from __future__ import annotations

import errno
import json
import os
from typing import Any

from meta.process.seccomp.table import CALLS
from meta.process.seccomp.unit import in_unit, settings
from tests.nix.evaluate import ROOT
from tests.systemd.inside.conftest import NixosHost
from tests.systemd.inside.entered import enter
from tests.systemd.inside.surroundings import ALICE

HERE = "x86_64" if os.uname().machine == "x86_64" else "aarch64"
NAME = "meta.process.seccomp.table"
TABLE, PROBER = (
    (ROOT / path).read_text(encoding="utf-8") for path in ("meta/process/seccomp/table.py", "tests/support/prober.py")
)
PROGRAM = f"""import sys, types
table = sys.modules[{NAME!r}] = types.ModuleType({NAME!r})
for name in ("meta", "meta.process", "meta.process.seccomp"):
    sys.modules[name] = types.ModuleType(name)
exec({TABLE!r}, table.__dict__)
exec({PROBER.replace("call(0x40000000 | 39)", "in_child(lambda: call(0x40000000 | 39))")!r})
"""
"""The prober and its table in one text, since a container has no checkout. systemd ends a program for x32 calls."""

FILTER = tuple(f"--property={key}={value}" for key, value in settings().items())


async def test_each_call_of_the_table_that_systemd_can_refuse_gets_its_error_in_a_container(
    nixos_host: NixosHost,
) -> None:
    alice = await enter(nixos_host, ALICE)
    plain: Any = json.loads(alice.text("/usr/bin/python3", "-I", "-c", PROGRAM).splitlines()[-1])
    filtered: Any = json.loads(alice.text("/usr/bin/python3", "-I", "-c", PROGRAM, more=FILTER).splitlines()[-1])
    wanted = {call.name: call.error for call in CALLS if getattr(call, HERE) is not None and in_unit(call)}
    assert {name: filtered["calls"].get(name) for name in wanted} == wanted
    assert {name: plain["calls"].get(name) for name in wanted} != wanted, "without the filter some work"
    families = {int(family) for family, error in filtered["families"].items() if error == 0}
    assert families == {1, 2, 10, 16}
    assert set(filtered["families"].values()) == {0, errno.EAFNOSUPPORT}
