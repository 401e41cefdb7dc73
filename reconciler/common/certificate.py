"""A certificate file with its key: the context for TLS, and the end of its validity."""

from __future__ import annotations

import ssl
from pathlib import Path

from meta import own_file
from meta.errors import Damaged, HiveError, PermanentError

DAY = 86_400.0
RENEWED_BEFORE = 14
"""Days before the end of a certificate from which on it should have been renewed."""
_LIMIT = 2**20
"""Bytes of a certificate chain, at most."""


def context_of(certificate: str, key: str) -> ssl.SSLContext:
    """Return a server's context with the files' content. Raise PermanentError if they cannot be used together."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_alpn_protocols(["http/1.1"])
    try:
        for file in (certificate, key):  # a pipe would be waited for
            own_file.read(file, _LIMIT, follow=True)
        # A key with a passphrase fails at once, instead of asking on the terminal.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ValueError, Damaged) as error:
        raise _unusable(certificate, key, error) from error
    return context


def stamp(*paths: str) -> tuple[tuple[int, int, int] | None, ...]:
    """Return what changes when one of the files is replaced or written; None in the place of one that is missing."""
    return tuple(_stamp(Path(path)) for path in paths)


def expiry(certificate: str) -> float:
    """Return when the first certificate of the file ends, in Unix seconds. Raise OSError or PermanentError."""
    from cryptography import x509  # it takes 50 ms to load

    try:
        return x509.load_pem_x509_certificate(
            own_file.read(certificate, _LIMIT, follow=True)
        ).not_valid_after_utc.timestamp()
    except (ValueError, Damaged) as error:
        raise PermanentError(f"{certificate} is no certificate: {error}", "it has to be PEM") from error


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _unusable(certificate: str, key: str, error: Exception) -> HiveError:
    why = error.summary if isinstance(error, HiveError) else getattr(error, "strerror", None) or str(error)
    hint = "both have to be PEM, readable by hive's user, and the key without a passphrase"
    return PermanentError(f"cannot use the certificate {certificate} with the key {key}: {why}", hint)
