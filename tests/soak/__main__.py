"""`make soak`: random kills, full disks, a hostile agent and honest traffic at once, then the accounting.

The seed is printed first; with the same seed the same choices are made. How they fall together depends on the machine.
"""

from __future__ import annotations

import argparse
import secrets
import sys

from tests.soak.run import Outcome, soak


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600.0, help="how long it lives, before the accounting")
    parser.add_argument(
        "--seed", type=int, default=secrets.randbelow(10**6), help="that of an earlier run, to repeat it"
    )
    wanted = parser.parse_args()
    print(f"soak: seed {wanted.seed}, {wanted.seconds:g} s", flush=True)  # noqa: T201
    outcome = soak(wanted.seconds, wanted.seed)
    print(report(outcome))  # noqa: T201
    return 1 if outcome.faults else 0


def report(outcome: Outcome) -> str:
    """What happened, then every fault."""
    lines = [f"  {count:>7} {name.replace('_', ' ')}" for name, count in sorted(outcome.counts.items())]
    last = [each for each in outcome.samples if each.daemon == outcome.samples[-1].daemon]
    if last:
        first, end = last[0], last[-1]
        lines.append(f"  the last daemon: {first.kib} -> {end.kib} KiB of memory")
        lines.append(f"  the last daemon: {first.descriptors} -> {end.descriptors} descriptors")
    lines += [f"FAULT {fault}" for fault in outcome.faults] or ["no fault"]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
