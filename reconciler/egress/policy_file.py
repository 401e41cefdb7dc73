"""The policy on the disk: obeyed from the start of the process, without a daemon."""

from __future__ import annotations

from pathlib import Path

from meta import own_file
from meta.errors import BadInput, Damaged, DiskFull
from meta.network.policy import POLICY_LIMIT, Policy, decode_policy, encode_policy
from reconciler.egress.files import write_file

FILE = "policy.json"


def load_policy(state: Path) -> tuple[Policy | None, str]:
    """Return the kept policy, None if there is none that can be read, and what is wrong."""
    path = state / FILE
    try:
        return decode_policy(own_file.read(path, POLICY_LIMIT, hint="")), ""
    except FileNotFoundError:
        return None, ""
    except (BadInput, Damaged) as error:
        what = error.summary
    except OSError as error:
        what = str(error.strerror)
    return None, f"{path} cannot be read, so nothing is open until the daemon pushes a policy: {what}"


def save_policy(state: Path, policy: Policy) -> None:
    """Replace the kept policy. Raise DiskFull, and keep the old one."""
    try:
        write_file(state / FILE, encode_policy(policy))
    except OSError as error:
        text = f"the policy cannot be kept in {state}: {error.strerror}"
        raise DiskFull(text, "make room there; the old policy is still obeyed") from error
