"""The check of a client's first bytes: TLS may name no host that the agent may not reach."""

from __future__ import annotations

from meta.network.rule import canonical_host, is_address
from meta.network.verdict import Verdict
from reconciler.egress.answers import one_line
from reconciler.egress.client_hello import Hello, HelloReader, NotHello, looks_like_tls
from reconciler.egress.gate import AgentGate
from reconciler.egress.ports import Denied

TLS_PORT = 443


class HelloGuard:
    """Holds the first bytes of one tunnel until they are known to be fine. `host` is canonical.

    `required`: they must be a ClientHello; else they are only checked if they begin like one. `tls`: they do.
    """

    def __init__(self, gate: AgentGate, host: str, port: int) -> None:
        self._gate = gate
        self._host = host
        self._port = port
        self._held = bytearray()
        self._reader: HelloReader | None = None
        self._passed = False
        self.required = port == TLS_PORT
        self.tls = False

    def __call__(self, data: bytes) -> bytes:
        """Return all bytes so far once they may go on, b"" while more are needed. Raise Denied."""
        self._held += data
        if self._reader is None:
            like_tls = looks_like_tls(self._held[:2])
            if like_tls is None:
                return b""
            self.tls = like_tls
            if like_tls or self.required:
                self._reader, data = HelloReader(), bytes(self._held)
        if self._reader is not None:
            hello = self._read(self._reader, data)
            if hello is None:
                return b""
            self._check(hello)
        self._passed = True
        return bytes(self._held)

    @property
    def waiting(self) -> bool:
        """Return True while a client owes bytes: a ClientHello at the port of TLS, or the rest of one elsewhere."""
        return not self._passed and (self.required or bool(self._held))

    def _read(self, reader: HelloReader, data: bytes) -> Hello | None:
        try:
            return reader.feed(data)
        except NotHello as error:
            verdict = Verdict.SNI if self.tls else Verdict.NOT_TLS
            raise Denied(verdict, one_line(f"{self._host}:{self._port}-gets-no-clean-TLS: {error}")) from error

    def _check(self, hello: Hello) -> None:
        if hello.name == self._host:
            return
        target = f"{self._host}:{self._port}"
        if not hello.name:
            if self.required and not is_address(self._host):
                raise Denied(Verdict.SNI, f"TLS-to-{target}-names-no-host")
            return
        try:
            self._gate.check(hello.name, self._port)
        except Denied as denied:
            phrase = one_line(f"TLS-to-{target}-names-{hello.name[:100]}: {denied.phrase}")
            name = "" if denied.verdict is Verdict.BAD_REQUEST else canonical_host(hello.name)
            raise Denied(Verdict.SNI, phrase, name) from denied
