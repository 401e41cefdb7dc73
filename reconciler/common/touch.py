"""One touch of a passkey: read what the browser sent, and check its signature. Pure; needs no daemon and no network.

The daemon checks a touch with this when it happens, and an audit checks the record of it again with the same function.
All of it is text of a browser: call it in a thread. The library is loaded at the first use (0.15 s).
"""

from __future__ import annotations

import base64
import json
import struct
from dataclasses import dataclass

from meta.errors import Refused

LONGEST = 16_384
"""Characters of what a browser sends for one touch, or for a new passkey. Longer ones are not read."""
UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, struct.error, RecursionError)
"""What the library raises for bytes that it cannot read, beside its own exceptions."""
AGAIN = "touch the passkey again, from the page as it is now"


@dataclass(frozen=True, slots=True)
class Touch:
    """The parts of an assertion, as the browser sent them. `challenge` is what the client data names, unchecked."""

    credential: bytes
    authenticator_data: bytes
    client_data: bytes
    signature: bytes
    challenge: bytes = b""

    @property
    def id(self) -> str:
        """Return the credential's id in base64url, as the rows of passkeys have it."""
        return base64.urlsafe_b64encode(self.credential).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class RelyingParty:
    """The dashboard as passkeys know it: its origin, with the port, and the relying party's id, which has none."""

    origin: str
    rp: str
    name: str = "hive"


def read_touch(text: str) -> Touch:
    """Return the parts of a credential's JSON, unchecked. Raise Refused."""
    from webauthn.helpers import parse_authentication_credential_json, parse_client_data_json
    from webauthn.helpers.exceptions import WebAuthnException

    if len(text) > LONGEST:
        raise Refused("the passkey's answer is too long", AGAIN)
    try:
        parsed = parse_authentication_credential_json(text)
        response = parsed.response
        challenge = parse_client_data_json(response.client_data_json).challenge
    except (WebAuthnException, ValueError, TypeError, RecursionError) as error:
        raise Refused("the passkey's answer cannot be read", AGAIN) from error
    return Touch(
        parsed.raw_id, response.authenticator_data, response.client_data_json, response.signature, bytes(challenge)
    )


def check_touch(touch: Touch, key: bytes, challenge: bytes, party: RelyingParty) -> int:
    """Check that the passkey with the public key `key` signed `challenge` for this party, and that a person was there.

    Return the counter of the passkey's uses, 0 if it has none. Raise Refused.
    """
    from webauthn import verify_authentication_response
    from webauthn.helpers import bytes_to_base64url
    from webauthn.helpers.exceptions import WebAuthnException

    id = bytes_to_base64url(touch.credential)
    response = {
        "clientDataJSON": bytes_to_base64url(touch.client_data),
        "authenticatorData": bytes_to_base64url(touch.authenticator_data),
        "signature": bytes_to_base64url(touch.signature),
    }
    try:
        verified = verify_authentication_response(
            credential={"id": id, "rawId": id, "type": "public-key", "response": response},
            expected_challenge=challenge,
            expected_rp_id=party.rp,
            expected_origin=party.origin,
            credential_public_key=key,
            credential_current_sign_count=0,  # the caller compares it, in the transaction that keeps the new one
            require_user_verification=True,
        )
        if json.loads(touch.client_data).get("crossOrigin"):
            raise Refused("the passkey was touched on a page inside of another site's", AGAIN)
    except (WebAuthnException, *UNREADABLE) as error:
        raise Refused(f"the touch is not valid: {str(error)[:200]}", AGAIN) from error
    return verified.new_sign_count
