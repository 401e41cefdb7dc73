"""New passkeys: the options for a browser, and the check of what its authenticator made.

All of it is text of a browser: call it in a thread. The library is loaded at the first use.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from meta.errors import Refused
from reconciler.common.touch import AGAIN, LONGEST, UNREADABLE, RelyingParty

TIMEOUT = 110_000
"""Milliseconds that a browser waits for the person, a little less than the challenge lives."""


@dataclass(frozen=True, slots=True)
class NewKey:
    """What an authenticator made. `id` is the credential's in base64url, `key` the public key, as COSE."""

    id: str
    key: bytes
    count: int


def creation_options(party: RelyingParty, hive: str, owner: str, challenge: bytes, exclude: Iterable[str]) -> str:
    """Return the options for `navigator.credentials.create`, as JSON.

    The passkey can be found without a user's name, and asks for a finger, a face or a PIN. `exclude` has the ids of
    those that exist. An authenticator that holds one of them makes no second one.
    """
    from webauthn import generate_registration_options, options_to_json
    from webauthn.helpers import base64url_to_bytes
    from webauthn.helpers.structs import (
        AuthenticatorSelectionCriteria,
        PublicKeyCredentialDescriptor,
        ResidentKeyRequirement,
        UserVerificationRequirement,
    )

    options = generate_registration_options(
        rp_id=party.rp,
        rp_name=party.name,
        user_id=hashlib.sha256(f"{hive}\0{owner}".encode()).digest(),
        user_name=owner,
        challenge=challenge,
        timeout=TIMEOUT,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=base64url_to_bytes(id)) for id in exclude],
    )
    return options_to_json(options)


def request_options(party: RelyingParty, challenge: bytes, allow: Iterable[str] = ()) -> str:
    """Return the options for `navigator.credentials.get`, as JSON. Without `allow` any passkey of the site will do."""
    from webauthn import generate_authentication_options, options_to_json
    from webauthn.helpers import base64url_to_bytes
    from webauthn.helpers.structs import PublicKeyCredentialDescriptor, UserVerificationRequirement

    options = generate_authentication_options(
        rp_id=party.rp,
        challenge=challenge,
        timeout=TIMEOUT,
        allow_credentials=[PublicKeyCredentialDescriptor(id=base64url_to_bytes(id)) for id in allow],
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return options_to_json(options)


def challenge_of(credential: str) -> bytes:
    """Return the challenge that a new credential names, unchecked. Raise Refused."""
    from webauthn.helpers import base64url_to_bytes, parse_client_data_json
    from webauthn.helpers.exceptions import WebAuthnException

    if len(credential) > LONGEST:
        raise Refused("the new passkey is too long", AGAIN)
    try:
        client_data = json.loads(credential)["response"]["clientDataJSON"]
        return bytes(parse_client_data_json(base64url_to_bytes(client_data)).challenge)
    except (WebAuthnException, ValueError, TypeError, KeyError, RecursionError) as error:
        raise Refused("the new passkey cannot be read", AGAIN) from error


def check_new(credential: str, challenge: bytes, party: RelyingParty) -> NewKey:
    """Return what a credential's JSON proves. Raise Refused."""
    from webauthn import verify_registration_response
    from webauthn.helpers import bytes_to_base64url
    from webauthn.helpers.exceptions import WebAuthnException

    try:
        verified = verify_registration_response(
            credential=credential,
            expected_challenge=challenge,
            expected_rp_id=party.rp,
            expected_origin=party.origin,
            require_user_verification=True,
        )
    except (WebAuthnException, *UNREADABLE) as error:
        raise Refused(f"the new passkey is not valid: {str(error)[:200]}", AGAIN) from error
    return NewKey(bytes_to_base64url(verified.credential_id), verified.credential_public_key, verified.sign_count)
