"""The real program against a stand-in for hive: hello, turns, drains, restarts of either side."""

from __future__ import annotations

import asyncio
import signal

from meta.wire.agent import AckTurn, Recv, RequeueInflight, Send
from meta.wire.link import Drain, Probe, Resume, TurnState

