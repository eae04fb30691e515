"""The chunks of one version: their subject, and the digest of their content."""

import base64
import binascii
import re
from binascii import b2a_base64

__all__ = (
    "NUID",
    "URL_SAFE",
    "base64_decode",
    "base64_encode",
    "chunk_subject",
    "decode_digest",
    "encode_digest",
)

_DIGEST_PREFIX = "SHA-256="
URL_SAFE = bytes.maketrans(b"+/", b"-_")
# Clients write 22 letters and digits, although ADR-20 does not require that.
NUID = re.compile(r"[!-)+-\-/-=?-~]{1,64}")


def chunk_subject(bucket: str, nuid: str) -> str:
    """The subject of all chunks of one version.

    Raises:
        ValueError: If `nuid` is invalid; the subject would match other versions' chunks too.
    """
    # Nearly all are letters and digits, which takes less time to see.
    if not ((nuid.isalnum() and nuid.isascii() and len(nuid) <= 64) or NUID.fullmatch(nuid)):
        msg = f"Bucket '{bucket}': {nuid[:40]!r} names no chunks."
        raise ValueError(msg)
    return f"$O.{bucket}.C.{nuid}"


def encode_digest(sha256: bytes) -> str:
    """The digest as `SHA-256=` and padded base64url."""
    return _DIGEST_PREFIX + base64_encode(sha256)


def decode_digest(digest: str | None) -> bytes | None:
    """The 32 bytes of a digest in any of the forms that clients write.

    Returns:
        `None` if there is no digest, or if it is not a SHA-256.
    """
    if not digest or digest[: len(_DIGEST_PREFIX)].upper() != _DIGEST_PREFIX:
        return None
    try:
        raw = base64_decode(digest[len(_DIGEST_PREFIX) :])
    except ValueError:
        return None
    return raw if len(raw) == 32 else None


def base64_encode(raw: bytes) -> str:
    """Padded base64url; `base64.urlsafe_b64encode` takes three calls more."""
    return b2a_base64(raw, newline=False).translate(URL_SAFE).decode()


def base64_decode(text: str) -> bytes:
    """Decode base64 in either alphabet, padded or not.

    Raises:
        ValueError: If it is not base64.
    """
    text = text.rstrip("=").replace("+", "-").replace("/", "_")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error as error:
        raise ValueError(str(error)) from error
