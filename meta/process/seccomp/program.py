"""The filter as a program of classic BPF, for bubblewrap's `--seccomp` and for seccomp(2).

Made here and not by libseccomp, which can neither refuse calls younger than a number nor be found from Python on every
system: see docs/decisions/0013-seccomp.md. Each row is one block that ends with a return, so that no jump is longer
than its block, and a block can be read by itself.
"""

from __future__ import annotations

import errno
import functools
import struct

from meta.process.seccomp.table import CALLS, FAMILIES, NEWEST, SOCKET_CALLS, Call, Family, When

MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
"""AUDIT_ARCH_* by the name that uname(2) gives."""

LOAD, EQUAL, GREATER, ANY_BIT, AND, RETURN = 0x20, 0x15, 0x25, 0x45, 0x54, 0x06
KILL, ERROR, ALLOW = 0x80000000, 0x00050000, 0x7FFF0000
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16
_TYPE = 0xF
"""The bits of socket(2)'s type that are no flags."""

Instruction = tuple[int, int, int, int]
"""Code, jump if true, jump if false, operand: the fields of struct sock_filter."""


@functools.cache
def program(machine: str, *, nested: bool = False) -> bytes:
    """Return the filter for `machine` as an array of struct sock_filter. KeyError if the machine is not known.

    `nested` True leaves out the rows that a sandbox within the sandbox needs.
    """
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in instructions(machine, nested=nested))


def instructions(machine: str, *, nested: bool = False) -> list[Instruction]:
    """Return the filter's instructions.

    A call by the rules of another machine (32 bit programs) ends the process with SIGSYS: there is no error that such
    a program could act upon. x32 on x86_64 has numbers above `NEWEST`, so it is refused with those.
    """
    code: list[Instruction] = [(LOAD, 0, 0, _ARCH), (EQUAL, 1, 0, MACHINES[machine]), (RETURN, 0, 0, KILL)]
    code += [(LOAD, 0, 0, _NUMBER), (GREATER, 0, 1, NEWEST), _error(errno.ENOSYS)]
    for call in CALLS:
        number = call.x86_64 if machine == "x86_64" else call.aarch64
        if number is not None and not (nested and call.nested):
            code += _block(number, _call(call))
    for number in SOCKET_CALLS[machine]:
        code += _block(number, _socket())
    return [*code, (RETURN, 0, 0, ALLOW)]


def _block(value: int, body: list[Instruction]) -> list[Instruction]:
    """Return code that runs `body`, which ends with a return, if the loaded word is `value`."""
    return [(EQUAL, 0, len(body), value), *body]


def _call(call: Call) -> list[Instruction]:
    if call.when is None:
        return [_error(call.error)]
    return _condition(call.when, _error(call.error))


def _condition(when: When, refusal: Instruction) -> list[Instruction]:
    load, allow = _argument(when.argument), (RETURN, 0, 0, ALLOW)
    if when.bits:
        return [load, (ANY_BIT, 0, 1, when.bits), refusal, allow]
    if when.values:
        return [load, *_one_of(when.values), allow, refusal]
    return [load, *_one_of(when.allowed), refusal, allow]


def _one_of(values: tuple[int, ...]) -> list[Instruction]:
    """Return code that skips the instruction after it if the loaded word is one of `values`."""
    return [(EQUAL, len(values) - index, 0, value) for index, value in enumerate(values)]


def _socket() -> list[Instruction]:
    code = [_argument(0)]
    for family in FAMILIES:
        code += _block(family.number, _family(family))
    return [*code, _error(errno.EAFNOSUPPORT)]


def _family(family: Family) -> list[Instruction]:
    code: list[Instruction] = []
    if family.types is not None:
        code += [_argument(1), (AND, 0, 0, _TYPE), *_one_of(family.types), _error(errno.ESOCKTNOSUPPORT)]
    if family.protocols is not None:
        code += [_argument(2), *_one_of(family.protocols), _error(errno.EPROTONOSUPPORT)]
    return [*code, (RETURN, 0, 0, ALLOW)]


def _argument(index: int) -> Instruction:
    return (LOAD, 0, 0, _ARGUMENTS + 8 * index)  # both machines keep the lower half first


def _error(number: int) -> Instruction:
    return (RETURN, 0, 0, ERROR | number)
