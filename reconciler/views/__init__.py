"""The values that users and programs get: frozen, converted to JSON by the API. Times are Unix seconds."""

from __future__ import annotations

from reconciler.views.agents import AgentOutcome, LoginResult, PlanRow, Remains, TurnResult
from reconciler.views.diffs import BuildLog, Change, Diff, SettingsText
from reconciler.views.proposals import Card, RefusedTip, WaitingTips
from reconciler.views.records import AgentDigest, Digest, Event, LogPart, LogRow
from reconciler.views.status import AgentStatus, ModelStatus, PodView, Status, WorkspaceView
from reconciler.views.usage import AgentUsage, BudgetUse, ModelUsage, TurnUsage, UsageReport

__all__ = [
    "AgentDigest",
    "AgentOutcome",
    "AgentStatus",
    "AgentUsage",
    "BudgetUse",
    "BuildLog",
    "Card",
    "Change",
    "Diff",
    "Digest",
    "Event",
    "LogPart",
    "LogRow",
    "LoginResult",
    "ModelStatus",
    "ModelUsage",
    "PlanRow",
    "PodView",
    "RefusedTip",
    "Remains",
    "SettingsText",
    "Status",
    "TurnResult",
    "TurnUsage",
    "UsageReport",
    "WaitingTips",
    "WorkspaceView",
]
