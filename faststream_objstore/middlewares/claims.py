"""Message bodies as objects, and the references to them that travel in a header."""

import asyncio
import json
import logging
import re
import secrets
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, NoReturn

from faststream.nats import NatsBroker
from typing_extensions import Self

from faststream_objstore._faststream import log_of
from faststream_objstore.backends.base import Backend
from faststream_objstore.bucket import Bucket
from faststream_objstore.exceptions import (
    BucketNotDeclaredError,
    ClaimNotFoundError,
    InvalidClaimError,
    NotConnectedError,
    ObjectChangedError,
    ObjectNotFoundError,
)
from faststream_objstore.models import ObjectInfo
from faststream_objstore.settling import run_to_completion
from faststream_objstore.store import ObjectStore
from faststream_objstore.store.expiry import Ttl

if TYPE_CHECKING:
    from faststream_objstore.changes.attached import Attachment

__all__ = ("HEADER", "Claims", "Reference")

HEADER = "Objstore-Ref"
"""The header that stands in for a body."""

# Unguessable: who can send messages, but not read the bucket, cannot name a claim.
_NAME_BYTES = 16
_NAME = re.compile(r"[0-9a-f]{32}")
_DIGEST = re.compile(r"SHA-256=[A-Za-z0-9_-]{43}=")
_LONGEST_REFERENCE = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Which object holds a message's body, and what that body is.

    Attributes:
        bucket: The bucket.
        name: The object.
        size: Bytes of the body.
        digest: `SHA-256=` and the padded base64url digest of the body.
    """

    bucket: str
    name: str
    size: int
    digest: str

    def header(self) -> str:
        """The header's value: one line of compact JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @classmethod
    def read(cls, header: object, *, body: bytes, bucket: str, prefix: str) -> Self:
        """The reference in a header that anybody may have written.

        Args:
            header: The header's value.
            body: The message's own, which must be empty.
            bucket: The only bucket that it may name.
            prefix: What the object's name must begin with, before 32 hex digits.

        Raises:
            InvalidClaimError: If it is not what `header()` writes for that bucket.
        """

        def refuse(why: str) -> NoReturn:
            shown = str(header)[:200]
            msg = (
                f"Bucket '{bucket}': the {HEADER} header of a message {why}, so it is not "
                f"followed: {shown!r}. Every service on the subject needs a claim check on "
                "this bucket and prefix."
            )
            raise InvalidClaimError(msg, bucket=bucket)

        if body:
            # A service without the middleware has passed on the header of another message.
            refuse("comes with a body of its own")
        if not isinstance(header, str) or len(header) > _LONGEST_REFERENCE:
            refuse("is not a reference")
        try:
            fields = json.loads(header)
        except (ValueError, RecursionError):
            refuse("is not JSON")
        if not isinstance(fields, dict) or set(fields) != set(cls.__slots__):
            refuse(f"does not have exactly the fields {', '.join(cls.__slots__)}")
        name, size, digest = fields["name"], fields["size"], fields["digest"]
        if fields["bucket"] != bucket:
            refuse("names another bucket")
        if (
            not isinstance(name, str)
            or not name.startswith(prefix)
            or not _NAME.fullmatch(name[len(prefix) :])
        ):
            refuse(f"names an object that is not {prefix!r} and 32 hex digits")
        if type(size) is not int or size < 0:
            refuse("has no size")
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            refuse("has no SHA-256 digest")
        return cls(bucket=bucket, name=name, size=size, digest=digest)


class Claims:
    """Message bodies in a bucket, under a prefix.

    Args:
        bucket: The bucket, attached to a `Buckets` before its first use.
        prefix: What their names begin with.
        ttl: How long a body lives; as long as the bucket says if not given.
    """

    def __init__(self, bucket: Bucket, prefix: str, *, ttl: Ttl = None) -> None:
        self._bucket = bucket
        self._prefix = prefix
        self._ttl = ttl
        self._store = ObjectStore(bucket.name, self._backend)

    @property
    def bucket(self) -> str:
        """The bucket's name."""
        return self._bucket.name

    @property
    def broker(self) -> NatsBroker:
        """The broker that the bucket is attached to.

        Raises:
            BucketNotDeclaredError: If it is attached to none.
        """
        broker = self._attachment().broker
        if broker is None:
            msg = (
                f"Bucket '{self._bucket.name}' of the claim check has no broker: call "
                "Buckets(...).attach(broker)."
            )
            raise NotConnectedError(msg, bucket=self._bucket.name)
        return broker

    async def put(
        self, body: bytes, *, content_type: str | None, correlation_id: str | None
    ) -> Reference:
        """Store a body; nothing is left behind if that fails or is cancelled."""
        headers: dict[str, str | list[str]] = {}
        if content_type:
            headers["Content-Type"] = content_type
        if correlation_id:
            headers["correlation_id"] = correlation_id
        name = f"{self._prefix}{secrets.token_hex(_NAME_BYTES)}"
        try:
            info = await self._store.put(name, body, headers=headers, ttl=self._ttl)
        except asyncio.CancelledError:
            # A put that was past the point of no return has stored it.
            await run_to_completion(self.delete(name))
            raise
        return Reference(
            bucket=info.bucket, name=name, size=info.size, digest=str(info.digest)
        )

    async def read(self, header: object, *, body: bytes) -> tuple[Reference, bytes]:
        """Read the body that a header refers to.

        Args:
            header: The header's value.
            body: The message's own body, which must be empty.

        Returns:
            The reference and the body.

        Raises:
            InvalidClaimError: If the header, or the object it names, was not made by `put`.
            ClaimNotFoundError: If the object is gone.
        """
        reference = Reference.read(
            header, body=body, bucket=self._bucket.name, prefix=self._prefix
        )
        try:
            info = await self._store.get_info(reference.name)
            self._require_same(info, reference)
            # Exactly the version that was checked. Not `get`: its result is a subclass of
            # bytes, which orjson, used by FastStream where it is installed, does not accept.
            async with self._store.open(info) as reader:
                return reference, await reader.read()
        except (ObjectNotFoundError, ObjectChangedError) as error:
            msg = (
                f"Bucket '{self._bucket.name}': the body of a message, {reference.size} bytes "
                f"in {reference.name!r}, is gone: its ttl ran out before the message "
                "was handled, or another consumer acknowledged it with delete_after='ack'."
            )
            raise ClaimNotFoundError(
                msg, bucket=self._bucket.name, name=reference.name
            ) from error

    async def delete(self, name: str) -> None:
        """Delete a body; a failure is logged, and the body is left to the bucket's ttl."""
        try:
            await self._store.delete(name)
        except ObjectNotFoundError:
            return
        except Exception as error:  # noqa: BLE001 - the message itself has been handled
            log_of(self.broker)(
                logging.WARNING,
                f"Bucket '{self._bucket.name}': {name!r}, the body of a message that has been "
                "handled, could not be deleted",
                error,
            )

    def _require_same(self, info: ObjectInfo, reference: Reference) -> None:
        # A link would lead out of the bucket with this service's rights.
        if info.is_link() or (info.size, info.digest) != (reference.size, reference.digest):
            what = "a link" if info.is_link() else "not the body it was sent with"
            msg = (
                f"Bucket '{self._bucket.name}': a message refers to {reference.name!r}, which "
                f"is {what}, so it is not read; the sender must publish the message again."
            )
            raise InvalidClaimError(msg, bucket=self._bucket.name, name=reference.name)

    async def _backend(self) -> Backend:
        return await self._attachment().backend_of(self._bucket.name)

    def _attachment(self) -> "Attachment":
        attachment = self._bucket.attachment
        if attachment is None:
            msg = (
                f"Bucket '{self._bucket.name}' of the claim check is not attached: pass it to "
                "Buckets(broker, ...), of the broker that has the middleware."
            )
            raise BucketNotDeclaredError(msg, bucket=self._bucket.name)
        return attachment
