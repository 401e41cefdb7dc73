"""The filter's program, run by a small interpreter: what it returns for every call of every machine."""

from __future__ import annotations

import ctypes
import errno
import struct

import pytest

from meta.process.seccomp.program import ALLOW, ERROR, KILL, MACHINES, instructions, program
from meta.process.seccomp.table import CALLS, FAMILIES, NEWEST, SOCKET_CALLS, Call

HIGH = 0xABCD << 32
LANDLOCK = (444, 445, 446)
TIOCSTI = 0x5412


def judge(machine: str, number: int, *arguments: int, arch: int | None = None, nested: bool = False) -> int:
    """Run the program on one call, as the kernel does."""
    values = (*arguments, *[0] * 6)[:6]
    data = struct.pack("<iIQ6Q", number, MACHINES[machine] if arch is None else arch, 0, *values)
    code, at, word = instructions(machine, nested=nested), 0, 0
    while True:
        operation, if_true, if_false, operand = code[at]
        at += 1
        match operation:
            case 0x20:
                (word,) = struct.unpack_from("<I", data, operand)
            case 0x54:
                word &= operand
            case 0x06:
                return operand
            case _:
                tests = {0x15: word == operand, 0x25: word > operand, 0x45: bool(word & operand)}
                at += if_true if tests[operation] else if_false


def number_of(call: Call, machine: str) -> int | None:
    return call.x86_64 if machine == "x86_64" else call.aarch64


def rows(machine: str) -> dict[int, Call]:
    found = {number_of(call, machine): call for call in CALLS}
    return {number: call for number, call in found.items() if number is not None}


@pytest.mark.parametrize("machine", list(MACHINES))
def test_every_row_without_a_condition_is_refused_with_its_error(machine: str) -> None:
    for number, call in rows(machine).items():
        if call.when is None:
            assert judge(machine, number) == ERROR | call.error, call.name


@pytest.mark.parametrize("machine", list(MACHINES))
def test_a_condition_is_about_the_lower_half_of_its_argument(machine: str) -> None:
    for number, call in rows(machine).items():
        if call.when is None:
            continue
        bits = [1 << bit for bit in range(32) if call.when.bits >> bit & 1]
        refused = [*bits, *call.when.values, *([0x40000, 1] if call.when.allowed else [])]
        allowed = [*call.when.allowed, *([] if call.when.allowed else [0, 0x800])]
        for value in refused:
            before = [0] * call.when.argument
            assert judge(machine, number, *before, value) == ERROR | call.error, call.name
            assert judge(machine, number, *before, value | HIGH) == ERROR | call.error, call.name
        for value in allowed:
            assert judge(machine, number, *[0] * call.when.argument, value) == ALLOW, call.name


@pytest.mark.parametrize("machine", list(MACHINES))
def test_every_other_call_up_to_the_newest_is_allowed_and_none_after_it(machine: str) -> None:
    special = {*rows(machine), *SOCKET_CALLS[machine]}
    allowed = {number for number in range(NEWEST + 1) if judge(machine, number) == ALLOW}
    assert set(range(NEWEST + 1)) - special <= allowed
    assert set(LANDLOCK) <= allowed
    for number in (NEWEST + 1, 0x40000000, 0x40000000 | 41, -1):
        assert judge(machine, number) == ERROR | errno.ENOSYS


@pytest.mark.parametrize("machine", list(MACHINES))
def test_a_program_of_another_machine_is_ended(machine: str) -> None:
    for arch in (0x40000003, 0x40000028, *(other for name, other in MACHINES.items() if name != machine)):
        assert judge(machine, 39, arch=arch) == KILL


@pytest.mark.parametrize("machine", list(MACHINES))
def test_socket_families_are_an_allow_list(machine: str) -> None:
    names = {family.number for family in FAMILIES}
    for number in SOCKET_CALLS[machine]:
        for family in range(64):
            expected = ALLOW if family in names else ERROR | errno.EAFNOSUPPORT
            assert judge(machine, number, family | HIGH, 1) == expected


@pytest.mark.parametrize("machine", list(MACHINES))
def test_types_and_protocols_of_the_internet_and_netlink_are_allow_lists(machine: str) -> None:
    number, cloexec = SOCKET_CALLS[machine][0], 0o2000000
    assert judge(machine, number, 2, 2 | cloexec, 17) == ALLOW
    assert judge(machine, number, 2, 5, 0) == ERROR | errno.ESOCKTNOSUPPORT
    assert judge(machine, number, 10, 1, 132) == ERROR | errno.EPROTONOSUPPORT
    assert judge(machine, number, 16, 3, 0) == ALLOW
    assert judge(machine, number, 16, 3, 12) == ERROR | errno.EPROTONOSUPPORT


@pytest.mark.parametrize("machine", list(MACHINES))
def test_a_sandbox_for_nix_may_nest_another_and_nothing_more(machine: str) -> None:
    for number, call in rows(machine).items():
        if call.when is None:
            expected = ALLOW if call.nested else ERROR | call.error
            assert judge(machine, number, nested=True) == expected, call.name
    assert judge(machine, SOCKET_CALLS[machine][0], 40, 1, nested=True) == ERROR | errno.EAFNOSUPPORT


@pytest.mark.parametrize("machine", list(MACHINES))
def test_it_has_the_form_that_the_kernel_takes(machine: str) -> None:
    code = instructions(machine)
    assert len(program(machine)) == 8 * len(code) <= 8 * 4096
    for at, (operation, if_true, if_false, _) in enumerate(code):
        if operation in (0x15, 0x25, 0x45):
            assert at + 1 + max(if_true, if_false) < len(code)


@pytest.mark.parametrize("machine", list(MACHINES))
def test_the_numbers_are_those_that_libseccomp_knows(machine: str) -> None:
    try:
        resolve = ctypes.CDLL("libseccomp.so.2").seccomp_syscall_resolve_name_arch
    except OSError:
        pytest.skip("libseccomp is not installed (apt-get install libseccomp2)")
    known = {call.name: resolve(MACHINES[machine], call.name.encode()) for call in CALLS}
    ours = {call.name: number_of(call, machine) for call in CALLS}
    younger = {name for name, number in known.items() if number == -1}
    assert younger <= {"open_tree_attr"}
    assert {name: number if number >= 0 else None for name, number in known.items() if name not in younger} == {
        name: number for name, number in ours.items() if name not in younger
    }
    sockets = tuple(resolve(MACHINES[machine], name) for name in (b"socket", b"socketpair"))
    assert sockets == SOCKET_CALLS[machine]
