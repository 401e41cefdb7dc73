"""A login in a folder of its own, for a CLI that removes the login that is there before it has a new one.

codex does so, and it refuses to start if its folder does not exist. The commands run as the CLI does, and so under its
uid: the harness may not write into its home on each host.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.login.table import LoginRow

_BEGIN = """\
umask 077
home=${VARIABLE:-$HOME/FOLDER}
mkdir -p "$home" || exit
command -v "$1" >/dev/null || { echo "$1 is not installed" >&2; exit 127; }
"""
_LOGIN = """\
new=$home/FILE.login
trap 'rm -rf "$new"' EXIT
trap 'exit 143' HUP INT TERM
rm -rf "$new" && mkdir "$new" || exit
[ ! -f "$home/config.toml" ] || cp "$home/config.toml" "$new" || exit
VARIABLE=$new "$@" || exit
[ -f "$new/FILE" ] || { echo "the CLI reports a login and wrote no FILE" >&2; exit 1; }
mv -f "$new/FILE" "$home/FILE"
"""
# The name of the folder has that of the file in it, so no backup has what a killed login left there.
_OTHER = 'exec "$@"\n'


def login_aside(row: LoginRow, command: Sequence[str]) -> tuple[str, ...]:
    """Return the command that logs in in an empty folder, and replaces the login that is there once it has one."""
    return _shell(row, _BEGIN + _LOGIN, command)


def with_folder(row: LoginRow, command: Sequence[str]) -> tuple[str, ...]:
    """Return the command after one that makes the folder of the CLI, with mode 0700, if it is missing."""
    return _shell(row, _BEGIN + _OTHER, command)


def _shell(row: LoginRow, script: str, command: Sequence[str]) -> tuple[str, ...]:
    text = script.replace("VARIABLE", row.variable).replace("FOLDER", row.folder).replace("FILE", row.file)
    return ("sh", "-c", text, "sh", *command)
