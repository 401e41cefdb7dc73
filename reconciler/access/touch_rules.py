"""Who may approve without the touch of a passkey, and which card a touch is for. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from meta.consent import ApprovalCard, Consent, How
from meta.errors import Refused
from reconciler.common.touch import AGAIN, RelyingParty


@dataclass(frozen=True, slots=True)
class Holder:
    """An operator, and the session of the browser, "" for a call on hive's own sockets.

    `who` is the name in tags, `uid` the kernel's, `user` the name that a proxy gave.
    """

    who: str
    uid: int | None = None
    user: str = ""
    session: str = ""

    @property
    def root(self) -> bool:
        """Return True for root, on a socket or by a link that root made."""
        return self.uid == 0 and not self.user

    @property
    def key(self) -> str:
        """Return what challenges are kept by. It is never empty."""
        return f"{self.who}\0{self.session}"


def free_of_touch(holder: Holder, party: RelyingParty, *, required: bool, without: bool) -> Consent | None:
    """Return how an approval without a touch is recorded. Raise Refused if it needs one.

    Only root on hive's own socket may do without: a browser of root can be used by another program of its user.
    """
    if not required:
        return None
    if without and holder.root and not holder.session:
        return Consent(How.ROOT)
    if without:
        raise Refused("only root may approve without a passkey", "`sudo hive approve ID --without-passkey`")
    raise Refused(
        "an approval needs the touch of a passkey here (HIVE_DASHBOARD_APPROVE_BY_PASSKEY)",
        f"approve on {party.origin}; root can `hive approve ID --without-passkey`, which is recorded",
    )


def same_card(touched: Mapping[str, object], wanted: Mapping[str, object]) -> ApprovalCard:
    """Return the card of a touch. Raise Refused if the caller wants to approve another one.

    The commit may be named by its first digits, and what is None is not compared.
    """
    values: dict[str, Any] = dict(touched)
    card = ApprovalCard(**values)
    for name, value in wanted.items():
        own = getattr(card, name)
        if value is None or value == own:
            continue
        if name == "commit" and isinstance(value, str) and len(value) >= 7 and card.commit.startswith(value):
            continue
        raise Refused(f"the touch was for {name} {str(own)[:60]}, not {str(value)[:60]}", AGAIN)
    return card
