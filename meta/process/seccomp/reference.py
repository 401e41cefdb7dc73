"""Write docs/reference/seccomp.md from the table: `python -m meta.process.seccomp.reference`. A test compares."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

from meta.process.seccomp.table import CALLS, FAMILIES, NEWEST, Family
from meta.process.seccomp.unit import in_unit

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "seccomp.md"
_HEAD = """<!-- written by `python -m meta.process.seccomp.reference`; edit table.py beside it instead -->
# Which system calls a sandbox refuses

Everything that hive runs in bubblewrap is under this filter: agents on backend `local`, programs of `hive shell`,
`git upload-pack` on proposed repos, and evaluations by nix. A build by a nix without a daemon keeps the calls marked
*nested*, because nix makes sandboxes of its own for its builders. Why it is so: [decision
13](../decisions/0013-seccomp.md). What else a sandbox does not get from the host: [inheritance](inheritance.md).

- A refused call returns the error below. EPERM is for calls that always needed a privilege, ENOSYS for optional
  features: programs then do without.
- A call younger than number {newest} returns ENOSYS.
- A 32 bit program ends with SIGSYS ("Bad system call"); x32 calls return ENOSYS.
- Everything else is allowed, among it Landlock and further filters: a coding agent may confine its own programs more.
- The machines are x86_64 and aarch64. On others hive has no sandbox, and says so.

On backend `nixos` the harness's unit in the container has the same rows as far as systemd can express them; the last
column names the setting. Rows without one are not refused there. Programs of `hive shell` get the same settings.

## Calls

| Call | Error | Reason | Nested | Backend `nixos` |
|---|---|---|---|---|
"""
_FAMILIES = """
## Sockets

socket(2) and socketpair(2) know these families. Others return EAFNOSUPPORT, other types ESOCKTNOSUPPORT, other
protocols EPROTONOSUPPORT. On backend `nixos` `RestrictAddressFamilies` lists the families; types and protocols are
not restricted there.

| Family | Types | Protocols | Reason |
|---|---|---|---|
"""
_TYPES = {1: "SOCK_STREAM", 2: "SOCK_DGRAM", 3: "SOCK_RAW"}
_PROTOCOLS = {0: "the default", 1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6"}


def page() -> str:
    """Return the whole page."""
    return _HEAD.format(newest=NEWEST) + "".join(_calls()) + _FAMILIES + "".join(map(_family, FAMILIES))


def _calls() -> Iterator[str]:
    for call in CALLS:
        name = f"`{call.name}`" + (f" {call.when.text}" if call.when else "")
        error, setting = errno.errorcode[call.error], in_unit(call)
        nested, unit = "nested" if call.nested else "", f"`{setting}`" if setting else "not refused"
        yield f"| {name} | {error} | {call.reason} | {nested} | {unit} |\n"


def _family(family: Family) -> str:
    types = "all" if family.types is None else ", ".join(_TYPES[number] for number in family.types)
    protocols = "all" if family.protocols is None else ", ".join(_PROTOCOLS[number] for number in family.protocols)
    return f"| `{family.name}` | {types} | {protocols} | {family.reason} |\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
