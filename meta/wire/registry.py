"""Every wire type by its name. Building them all takes a while: import this only where all are needed."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import TypeAdapter

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
"""The objects. The plain words are ENUMS."""

ENUMS = {kind.__name__: kind for kind in (ApprovalKind, ApprovalStatus, CancelLooseEndKind)}
