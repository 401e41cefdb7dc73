"""Every wire type by its name. Building all of them is slow: import this module only if all are needed.

`early.` marks the types of an older peer, `pod.` those of the pod protocol.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import cast

from pydantic import TypeAdapter

from meta.wire import early, pod
from meta.wire.agent import AgentRequest, AgentResponse
from meta.wire.common import (
    Approval,
    ApprovalKind,
    ApprovalStatus,
    CancelLooseEndKind,
    InboxRow,
    LooseEnd,
    Message,
    ReminderTiming,
    Wire,
)
from meta.wire.events import HelperEvent
from meta.wire.host import HostRequest, HostResponse
from meta.wire.manager import ManagerRequest, ManagerResponse

TYPES: Mapping[str, TypeAdapter[Wire]] = {
    "HostRequest": TypeAdapter(HostRequest),
    "HostResponse": TypeAdapter(HostResponse),
    "Approval": TypeAdapter(Approval),
    "Message": TypeAdapter(Message),
    "InboxRow": TypeAdapter(InboxRow),
    "ReminderTiming": TypeAdapter(ReminderTiming),
    "LooseEnd": TypeAdapter(LooseEnd),
    "AgentRequest": TypeAdapter(AgentRequest),
    "AgentResponse": TypeAdapter(AgentResponse),
    "HelperEvent": TypeAdapter(HelperEvent),
    "ManagerRequest": TypeAdapter(ManagerRequest),
    "ManagerResponse": TypeAdapter(ManagerResponse),
}
EARLY: Mapping[str, TypeAdapter[Wire]] = {
    "HostRequest": TypeAdapter(early.HostRequest),
    "HostResponse": TypeAdapter(early.HostResponse),
    "Approval": TypeAdapter(early.Approval),
    "Message": TYPES["Message"],
    "AgentRequest": TypeAdapter(early.AgentRequest),
    "AgentResponse": TypeAdapter(early.AgentResponse),
    "HelperEvent": TypeAdapter(early.ApprovalResolved),
    "ManagerRequest": TypeAdapter(early.ManagerRequest),
    "ManagerResponse": TypeAdapter(early.AgentResponse),
}
POD: Mapping[str, TypeAdapter[Wire]] = {
    "Method": TypeAdapter(pod.Method),
    "PodEvent": TypeAdapter(pod.PodEvent),
    "Event": TypeAdapter(pod.Event),
    "Notification": TypeAdapter(pod.Notification),
    "Greeting": TypeAdapter(pod.Greeting),
    "ScopeRule": TypeAdapter(pod.ScopeRule),
}
ENUMS = {kind.__name__: kind for kind in (ApprovalKind, ApprovalStatus, CancelLooseEndKind)}
POD_ENUMS = {
    "NotificationLevel": pod.Level,
    "NotificationSource": pod.Source,
    "TurnResult": pod.TurnResult,
    "RunResult": pod.RunResult,
    "ErrorCode": pod.ErrorCode,
    "Permission": pod.Permission,
}


def adapters() -> dict[str, TypeAdapter[object]]:
    """Return every type, enums too, by the name that `hive wire canonical` takes."""
    early_words = {name: kind for name, kind in ENUMS.items() if name != "CancelLooseEndKind"}
    parts: tuple[tuple[str, Mapping[str, TypeAdapter[Wire]], Mapping[str, type[StrEnum]]], ...] = (
        ("", TYPES, ENUMS),
        ("early.", EARLY, early_words),
        ("pod.", POD, POD_ENUMS),
    )
    types: dict[str, TypeAdapter[object]] = {}
    for prefix, objects, words in parts:
        types |= {prefix + name: cast("TypeAdapter[object]", adapter) for name, adapter in objects.items()}
        types |= {prefix + name: TypeAdapter(kind) for name, kind in words.items()}
    return types
