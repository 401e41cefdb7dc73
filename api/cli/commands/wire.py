"""`hive wire`: read and write the wire types without a daemon, for the authors of other peers.

Annotations are read at run time here, so evaluation is not postponed.
"""

import sys
from collections.abc import Callable, Iterable, Iterator

import typer

from api.cli.command import LOOK, epilog
from meta.errors import BadInput

EXAMPLE = """echo 'AgentRequest {"cmd":"recv"}' | hive wire canonical"""


def register(app: typer.Typer) -> None:
    """Add the group to the parser."""
    group = typer.Typer(help="What hive reads and writes on its sockets.", no_args_is_help=True)
    group.command("canonical", epilog=epilog((EXAMPLE,)))(canonical)
    app.add_typer(group, name="wire", rich_help_panel=LOOK)


def canonical() -> None:
    """Read lines `TYPE JSON`; print for each `ok` and the JSON as hive writes it, or `err` and the reason.

    TYPE is a name as in docs/reference/wire.md (AgentRequest); `early.` and `pod.` before it are other protocols.
    """
    for answer in answers(sys.stdin.buffer):
        sys.stdout.buffer.write(answer + b"\n")
        sys.stdout.buffer.flush()  # the peer may send the next line only after this answer


def answers(lines: Iterable[bytes]) -> Iterator[bytes]:
    """Yield one answer, without its newline, for each line."""
    canonical_of = _reader()
    for line in lines:
        name, _, given = line.rstrip(b"\n").partition(b" ")
        try:
            yield b"ok " + canonical_of(name.decode("ascii", "replace"), given)
        except BadInput as error:
            yield b"err " + " ".join(error.summary.split()).encode("utf-8", "replace")


def _reader() -> Callable[[str, bytes], bytes]:
    """Build all types. This is slow, so no other command does it."""
    from meta.wire.codec import decode
    from meta.wire.registry import adapters

    known = adapters()

    def canonical_of(name: str, given: bytes) -> bytes:
        if name not in known:
            raise BadInput(f"unknown type {name[:60]!r}", "see docs/reference/wire.md")
        return known[name].dump_json(decode(known[name], given), by_alias=True)

    return canonical_of
