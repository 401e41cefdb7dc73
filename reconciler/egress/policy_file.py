"""The policy on the disk: obeyed from the start of the process, without a daemon."""

from __future__ import annotations

from pathlib import Path

from meta import own_file
from meta.errors import BadInput, Damaged
from meta.network.policy import POLICY_LIMIT, Policy, decode_policy, encode_policy

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


def save_policy(state: Path, policy: Policy) -> str:
    """Replace the kept policy. Return what is wrong, "" if nothing is.

    If the new one cannot be written, the old one is removed: what the new one takes back would be open after a restart.
    """
    path = state / FILE
    try:
        own_file.write(path, encode_policy(policy), mode=0o600)
    except OSError as error:
        text = f"the policy is obeyed, but cannot be kept in {state}: {error.strerror}"
    else:
        return ""
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return f"{text}; an older one is obeyed after a restart, until the daemon pushes"
    return f"{text}; after a restart nothing is open until the daemon pushes"
