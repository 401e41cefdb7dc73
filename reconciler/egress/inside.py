"""What an agent may ask about its own way out: meta.network.inside."""

from __future__ import annotations

import re

import h11

from meta.network.inside import WAY_OUT
from meta.network.verdict import Verdict
from reconciler.egress import answers
from reconciler.egress.limits import REFUSED_SHOWN
from reconciler.egress.ports import Denied, Gate

_TARGET = re.compile(re.escape(WAY_OUT) + r"(?:\?after=([0-9]{1,15}))?")


def answer_inside(gate: Gate, request: h11.Request) -> list[h11.Event]:
    """Return the answer to a target that begins with `/.hive/`. Raise Denied."""
    match = _TARGET.fullmatch(request.target.decode("ascii", "replace"))
    if match is None or request.method not in (b"GET", b"HEAD"):
        raise Denied(Verdict.NO_ROUTE, f"only-GET-{WAY_OUT}-is-served-here")
    refused, last = gate.refused_after(int(match[1] or 0))
    shown = sorted(refused, key=lambda row: -row[2])[:REFUSED_SHOWN]
    # routes in the order of the operator's file: of several of a kind the first counts
    content: dict[str, object] = {
        "routes": dict(gate.routes()),
        "held": gate.policy.held,
        "refused": [{"host": host, "port": port, "count": count} for host, port, count in shown],
        "next": last,
    }
    if more := len(refused) - len(shown):
        content["more"] = more
    if upstreams := gate.git_upstreams():
        content["upstreams"] = dict(sorted(upstreams.items()))
    return answers.document(content, request.method)
