"""A container that the verbs made, for tests."""

from __future__ import annotations

from reconciler.privileged import conf
from reconciler.privileged.protocol import (
    Create,
)
from reconciler.privileged.values import Limits, Settings
from tests.reconciler.privileged.stage import ALICE, UID, Stage

SETTINGS = Settings("agent", UID, Limits(512, 100, None))

ASKED = "systemctl show --property=NeedDaemonReload --value container@alice.service"


def created(stage: Stage) -> None:
    """alice is there, with everything that a start needs."""
    stage.directories()
    stage.verbs.perform(Create(ALICE, UID, stage.system))
    stage.forget()


def written(stage: Stage) -> conf.Written:
    """The conf, read back."""
    return conf.read_back(stage.conf().read_text(), stage.host.bounds)
