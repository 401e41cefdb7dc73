"""An authenticator in software: makes passkeys with ES256 and touches them, as a browser would pass it on."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from dataclasses import dataclass, field

import cbor2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

PRESENT, VERIFIED, ATTESTED = 0x01, 0x04, 0x40


def b64(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass
class SoftKey:
    """One passkey. `count` is its counter; a key that does not count has None. `flags`: who was there at a touch.

    `inside`: the page that asks is inside of a page of another site.
    """

    origin: str = "http://localhost:8420"
    count: int | None = 0
    flags: int = PRESENT | VERIFIED
    id: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    private: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    inside: bool = False

    @property
    def name(self) -> str:
        """Return its id as hive has it."""
        return b64(self.id)

    @property
    def public(self) -> bytes:
        """Return the public key, as COSE."""
        numbers = self.private.public_key().public_numbers()
        key = {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")}
        return cbor2.dumps(key)

    def create(self, options: str) -> str:
        """Return the credential for `navigator.credentials.create(options)`, as JSON."""
        asked = json.loads(options)
        data = self._data(asked["rp"]["id"], ATTESTED) + bytes(16) + len(self.id).to_bytes(2, "big") + self.id
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data + self.public})
        client = self._client("webauthn.create", asked["challenge"])
        return self._credential({"clientDataJSON": b64(client), "attestationObject": b64(attestation)})

    def touch(self, options: str) -> str:
        """Return the credential for `navigator.credentials.get(options)`, as JSON."""
        asked = json.loads(options)
        if self.count is not None:
            self.count += 1
        data, client = self._data(asked["rpId"]), self._client("webauthn.get", asked["challenge"])
        signature = self.private.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        answer = {"clientDataJSON": b64(client), "authenticatorData": b64(data), "signature": b64(signature)}
        return self._credential(answer)

    def _data(self, rp: str, more: int = 0) -> bytes:
        count = (self.count or 0).to_bytes(4, "big")
        return hashlib.sha256(rp.encode()).digest() + bytes([self.flags | more]) + count

    def _client(self, kind: str, challenge: str) -> bytes:
        fields = {"type": kind, "challenge": challenge, "origin": self.origin, "crossOrigin": self.inside}
        return json.dumps(fields, separators=(",", ":")).encode()

    def _credential(self, response: dict[str, str]) -> str:
        return json.dumps({"id": self.name, "rawId": self.name, "type": "public-key", "response": response})
