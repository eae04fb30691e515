"""Dead letters: what is published about a change after its last attempt."""

import dataclasses
import json
from typing import Any

from faststream_objstore.models import ObjectInfo

__all__ = ("described", "letter", "shortened")

# Of an error's text, in UTF-8.
_MOST_ERROR_BYTES = 4096
_MOST_LOGGED_BYTES = 512


def shortened(text: str, most: int = _MOST_LOGGED_BYTES) -> str:
    """Cut a text to `most` bytes of UTF-8, note how much was cut, and make it encodable."""
    encoded = text.encode("utf-8", "backslashreplace")
    if len(encoded) <= most:
        return encoded.decode()
    kept = encoded[:most].decode("utf-8", "ignore")
    return f"{kept} … ({len(encoded) - len(kept.encode())} bytes more)"


def described(error: BaseException, most: int | None = _MOST_LOGGED_BYTES) -> str:
    """The type and text of any error, cut to `most` bytes unless that is `None`."""
    try:
        text = str(error)
    except Exception as failure:  # noqa: BLE001 - __str__ may raise anything
        text = f"(its text raises {type(failure).__name__})"
    text = f"{type(error).__name__}: {text}"
    return text if most is None else shortened(text, most)


def letter(
    info: ObjectInfo, *, durable: str | None, error: str, attempts: int, most: int
) -> dict[str, Any]:
    """Make the dead letter of a change.

    Args:
        info: The version of the object.
        durable: The subscriber's durable.
        error: Why the change was given up.
        attempts: How often it was delivered.
        most: The maximum size of its JSON in bytes. The largest fields of the object are
            replaced by `None` until it fits, and are listed in `left_out`.

    Returns:
        The body.
    """
    described_object: dict[str, Any] = dataclasses.asdict(info)
    for field in ("mtime", "expires"):
        moment = described_object[field]
        described_object[field] = moment.isoformat() if moment else None
    body: dict[str, Any] = _encodable(
        {
            "bucket": info.bucket,
            "object": described_object,
            "durable": durable,
            "error": shortened(error, _MOST_ERROR_BYTES),
            "attempts": attempts,
        }
    )
    left_out: list[str] = []
    while _size(body) > most:
        # Bucket and name identify the object, so they stay.
        fields = {
            key: _size(value)
            for key, value in body["object"].items()
            if key not in {"bucket", "name"} and value is not None
        }
        if not fields:
            break
        largest = max(fields, key=fields.__getitem__)
        body["object"][largest] = None
        left_out.append(largest)
        body["left_out"] = left_out
    return body


def _encodable(value: Any) -> Any:
    """Replace lone surrogates, which JSON may contain but UTF-8 cannot represent."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_encodable(key): _encodable(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encodable(one) for one in value]
    return value


def _size(value: Any) -> int:
    return len(json.dumps(value).encode())
