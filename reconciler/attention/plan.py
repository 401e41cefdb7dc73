"""The plan of notifications: which rows are sent now, from the rows, what was sent before, and the time. Pure.

It is level-triggered: a row that was not sent and is still there is sent when that is allowed. So a row that goes away
before that is never sent, and nothing has to be queued.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, tzinfo

from reconciler.attention.holding import Held
from reconciler.attention.row import Row, Severity

HOUR = 3600.0
OWN = "daemon-task:notify"
"""The key of the row about notifications that fail. It is never sent itself."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """The quiet hours of each day, in minutes since midnight. They may span midnight."""

    begin: int
    end: int

    def holds(self, moment: datetime) -> bool:
        """Return True if `moment` is within the quiet hours."""
        minute = moment.hour * 60 + moment.minute
        if self.begin <= self.end:
            return self.begin <= minute < self.end
        return minute >= self.begin or minute < self.end

    def next_end(self, moment: datetime) -> datetime:
        """Return the first end of quiet hours after `moment`."""
        end = moment.replace(hour=self.end // 60, minute=self.end % 60, second=0, microsecond=0)
        return end if end > moment else end + timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Settings:
    """The rules of notifications.

    Rows below `least` are never sent. New rows are collected for `group` seconds. At most `per_hour` notifications are
    sent within an hour (see `most`). In the `quiet` hours only critical rows are sent, and the others afterwards
    together. A row that was away for `forget` seconds is new if it comes back. `zone` None is the host's local time.
    """

    least: Severity = Severity.NORMAL
    quiet: Quiet | None = None
    group: float = 10.0
    per_hour: int = 12
    forget: float = 60.0
    zone: tzinfo | None = None

    def most(self, *, critical: bool) -> int:
        """Return how many notifications an hour may have. A quarter is kept for critical rows.

        An agent that makes many rows then cannot silence these. Of a single one nothing can be kept.
        """
        return self.per_hour if critical else max(1, self.per_hour - max(1, self.per_hour // 4))

    def quiet_until(self, now: float) -> float | None:
        """Return the end of the quiet hours that hold `now`; None if none do. Both are in Unix seconds."""
        moment = datetime.fromtimestamp(now, self.zone)
        if self.quiet is None or not self.quiet.holds(moment):
            return None
        return self.quiet.next_end(moment).timestamp()


@dataclass(frozen=True, slots=True)
class Memory:
    """What is known of earlier looks. Times are Unix seconds.

    `sent`: when each row was sent; `times`: the notifications of the last hour. These two are durable. `new`: when each
    row that was not sent was first seen. `away`: since when a row that was sent is not there.
    """

    sent: Mapping[str, float] = field(default_factory=dict)
    times: tuple[float, ...] = ()
    new: Mapping[str, float] = field(default_factory=dict)
    away: Mapping[str, float] = field(default_factory=dict)

    def with_sent(self, rows: Iterable[Row], now: float) -> Memory:
        """Return the memory after one notification with `rows`."""
        keys = {row.key for row in rows}
        new = {key: at for key, at in self.new.items() if key not in keys}
        return replace(self, sent={**self.sent, **dict.fromkeys(keys, now)}, times=(*self.times, now), new=new)


@dataclass(frozen=True, slots=True)
class Plan:
    """The memory after a look, the rows to send now, and when to look again at the latest (None: no such time).

    `held` has the rows that are not sent now because of a setting.
    """

    memory: Memory
    send: tuple[Row, ...] = ()
    until: float | None = None
    held: tuple[Held, ...] = ()


def plan(rows: Sequence[Row], memory: Memory, now: float, settings: Settings) -> Plan:
    """Return what to send. `rows` are all rows, sorted. A clock that was set back delays nothing for long."""
    wanted = [row for row in rows if row.severity.rank <= settings.least.rank and row.key != OWN]
    after = _look(wanted, memory, now, settings)
    quiet = settings.quiet_until(now)
    free = tuple(row for row in wanted if row.key in after.new and (quiet is None or row.severity is Severity.CRITICAL))
    asleep = len(after.new) - len(free)
    held = (Held(asleep, quiet, "HIVE_NOTIFY_QUIET"),) if quiet is not None and asleep else ()
    if not free:
        return Plan(after, held=held)
    due = min(after.new[row.key] for row in free) + settings.group
    most = settings.most(critical=any(row.severity is Severity.CRITICAL for row in free))
    if len(after.times) >= most and (room := after.times[-most] + HOUR) > max(due, now):
        return Plan(after, until=room, held=(*held, Held(len(free), room, "HIVE_NOTIFY_PER_HOUR")))
    return Plan(after, free, held=held) if now >= due else Plan(after, until=due, held=held)


def _look(wanted: Sequence[Row], memory: Memory, now: float, settings: Settings) -> Memory:
    """Return the memory with what this look shows: new rows, and rows that are away or forgotten."""
    present = {row.key for row in wanted}
    away = {key: min(memory.away.get(key, now), now) for key in memory.sent if key not in present}
    forgotten = {key for key, since in away.items() if now - since >= settings.forget}
    sent = {key: at for key, at in memory.sent.items() if key not in forgotten}
    return Memory(
        sent=sent,
        times=tuple(at for at in (min(time, now) for time in memory.times) if now - at < HOUR),
        new={row.key: min(memory.new.get(row.key, now), now) for row in wanted if row.key not in sent},
        away={key: since for key, since in away.items() if key not in forgotten},
    )
