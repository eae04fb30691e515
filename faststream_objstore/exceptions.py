"""The exceptions of this package, and nothing else.

Every error is an `ObjStoreError`. Where nats-py has a class of the same name, ours is
that class too, so `except nats.js.errors.ObjectNotFoundError` keeps working. What the
caller got wrong is also a `ValueError` (or a `TypeError`, where it is a type).

    ObjStoreError
    ├── BucketError
    │   ├── InvalidBucketNameError      nats-py's, ValueError
    │   ├── BucketNotDeclaredError      LookupError
    │   ├── BucketNotFoundError         nats-py's
    │   ├── BucketConfigMismatchError   nats-py's BadBucketError; differs from what exists
    │   ├── BucketInUseError            something else rewrites the bucket's stream
    │   ├── BucketSealedError           nats-py's APIError; read-only for ever
    │   ├── FeatureNotEnabledError      the bucket, or its server, does not have it
    │   └── BucketFullError             nats-py's APIError; `max_bytes` is reached
    ├── ObjectError
    │   ├── InvalidObjectNameError      nats-py's, ValueError
    │   ├── ObjectNotFoundError         nats-py's
    │   │   ├── ObjectDeletedError      nats-py's
    │   │   └── ClaimNotFoundError      the body of a message is gone
    │   ├── ObjectAlreadyExists         nats-py's
    │   ├── RevisionMismatchError       the object moved on before the write
    │   ├── ObjectChangedError          the object moved on during the read
    │   ├── ObjectTooLargeError         more bytes than the caller allows
    │   ├── ObjectLoadError             its content cannot be decoded or loaded
    │   ├── InvalidClaimError           a message's reference that is not followed
    │   ├── InvalidLinkError            ValueError
    │   ├── LinkIsABucketError          nats-py's
    │   ├── BadObjectMetaError          nats-py's: metadata that does not parse
    │   └── CorruptObjectError
    │       ├── IncompleteObjectError   chunks are missing, or there are too many
    │       └── DigestMismatchError     nats-py's
    ├── InvalidOptionError              ValueError
    │   └── InvalidPatternError
    ├── UnsupportedDataError            TypeError
    ├── BulkError                       some of many objects; the rest is done
    ├── TransactionEndedError           RuntimeError; used after its block
    ├── StoreTimeoutError               nats-py's TimeoutError
    │   ├── ConnectionLostError         the connection went, and the answer with it
    │   └── PermissionDeniedError       the server refuses this user a subject
    ├── NotConnectedError               the broker is not connected
    │   └── ServerUnreachableError      nats-py's NoServersError
    ├── JetStreamNotEnabledError        nats-py's ServiceUnavailableError
    └── StoreAPIError                   nats-py's APIError: any other refusal
"""

from typing import TYPE_CHECKING

import nats.errors
import nats.js.errors

if TYPE_CHECKING:
    from .models import BulkResult

__all__ = (
    "BadObjectMetaError",
    "BucketConfigMismatchError",
    "BucketError",
    "BucketFullError",
    "BucketInUseError",
    "BucketNotDeclaredError",
    "BucketNotFoundError",
    "BucketSealedError",
    "BulkError",
    "ClaimNotFoundError",
    "ConnectionLostError",
    "CorruptObjectError",
    "DigestMismatchError",
    "FeatureNotEnabledError",
    "IncompleteObjectError",
    "InvalidBucketNameError",
    "InvalidClaimError",
    "InvalidLinkError",
    "InvalidObjectNameError",
    "InvalidOptionError",
    "InvalidPatternError",
    "JetStreamNotEnabledError",
    "LinkIsABucketError",
    "NotConnectedError",
    "ObjStoreError",
    "ObjectAlreadyExists",
    "ObjectChangedError",
    "ObjectDeletedError",
    "ObjectError",
    "ObjectLoadError",
    "ObjectNotFoundError",
    "ObjectTooLargeError",
    "PermissionDeniedError",
    "RevisionMismatchError",
    "ServerUnreachableError",
    "StoreAPIError",
    "StoreTimeoutError",
    "TransactionEndedError",
    "UnsupportedDataError",
)


class ObjStoreError(Exception):
    """Base of every error of this package.

    Args:
        message: What happened and what to do about it.
        bucket: The bucket it happened in, where there is one.
        name: The object it happened to, where there is one.
    """

    # nats-py's `APIError` reads these; the classes that mix it in refine them.
    code: int | None = None
    err_code: int | None = None
    stream: str | None = None
    seq: int | None = None
    description: str | None

    def __init__(
        self,
        message: str,
        *,
        bucket: str | None = None,
        name: str | None = None,
    ) -> None:
        Exception.__init__(self, message)
        self.message = message
        self.description = message
        self.bucket = bucket
        self.name = name

    def __str__(self) -> str:
        return self.message

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r})"

    # nats-py's `APIError` is a dataclass, which would compare errors by value
    # and make them unhashable.
    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild, (type(self), self.message, self.__dict__.copy()))


def _rebuild(
    cls: type[ObjStoreError], message: str, state: dict[str, object]
) -> ObjStoreError:
    error = cls.__new__(cls)
    ObjStoreError.__init__(error, message)
    error.__dict__.update(state)
    return error


class BucketError(ObjStoreError):
    """Something is wrong with a bucket as a whole."""


class InvalidBucketNameError(BucketError, nats.js.errors.InvalidBucketNameError, ValueError):
    """A bucket name is not `[A-Za-z0-9_-]+` (ADR-20)."""


class BucketNotDeclaredError(BucketError, LookupError):
    """A bucket is asked for that no `Buckets` of this broker declares."""


class BucketNotFoundError(BucketError, nats.js.errors.BucketNotFoundError):
    """The bucket's stream does not exist on the server."""

    code: int | None = 404
    err_code: int | None = 10059


class BucketConfigMismatchError(BucketError, nats.js.errors.BadBucketError):
    """A declaration differs from the bucket that exists; each field is listed."""


class BucketInUseError(BucketError):
    """Another declaration would rewrite the bucket's stream, or holds the bucket."""


class BucketSealedError(BucketError, nats.js.errors.APIError):
    """The bucket is sealed: it can be read, never changed."""

    code: int | None = 400
    err_code: int | None = 10109


class BucketFullError(BucketError, nats.js.errors.APIError):
    """The bucket's `max_bytes` (or the account's storage) is used up."""

    code: int | None = 503
    err_code: int | None = 10077


class FeatureNotEnabledError(BucketError):
    """A setting is needed that the bucket does not have, or that its server does not know."""


class ObjectError(ObjStoreError):
    """Something is wrong with one object."""


class InvalidObjectNameError(ObjectError, nats.js.errors.InvalidObjectNameError, ValueError):
    """An object name is empty, not encodable, or too long for a NATS subject."""


class ObjectNotFoundError(ObjectError, nats.js.errors.ObjectNotFoundError):
    """No object of that name was ever put, or its metadata has expired."""

    code: int | None = 404
    err_code: int | None = 10037


class ObjectDeletedError(ObjectNotFoundError, nats.js.errors.ObjectDeletedError):
    """The object was there and has been deleted."""


class ClaimNotFoundError(ObjectNotFoundError):
    """The object that holds a message's body has expired, or has been deleted."""


class InvalidClaimError(ObjectError):
    """A message refers to a body elsewhere, or not as the claim check writes it."""


class ObjectAlreadyExists(ObjectError, nats.js.errors.ObjectAlreadyExists):  # noqa: N818
    """A live object has that name already; the name without `Error` is nats-py's."""


class RevisionMismatchError(ObjectError):
    """The object is not at the revision that the write was conditional on."""


class ObjectChangedError(ObjectError):
    """The version that was asked for, or was being read, has been replaced."""


class ObjectTooLargeError(ObjectError):
    """The object has more bytes than the caller's `max_size`."""


class ObjectLoadError(ObjectError):
    """The content does not decode, or a `LiveObject`'s `load` failed; see its cause."""


class InvalidLinkError(ObjectError, ValueError):
    """A link that ADR-20 forbids: to a link, to itself, to a deleted object."""


class LinkIsABucketError(ObjectError, nats.js.errors.LinkIsABucketError):
    """The content of a link to a whole bucket was asked for."""


class BadObjectMetaError(ObjectError, nats.js.errors.BadObjectMetaError):
    """The object's metadata message does not parse; a new put or delete repairs it."""


class CorruptObjectError(ObjectError):
    """What is stored is not what was put."""


class IncompleteObjectError(CorruptObjectError):
    """The number of chunks, or of bytes, is not what the metadata says."""


class DigestMismatchError(CorruptObjectError, nats.js.errors.DigestMismatchError):
    """The SHA-256 of the chunks is not what the metadata says."""


class InvalidOptionError(ObjStoreError, ValueError):
    """An option has a value that cannot work."""


class InvalidPatternError(InvalidOptionError):
    """A pattern of object names is malformed."""


class UnsupportedDataError(ObjStoreError, TypeError):
    """`put` was given something that is not bytes, text, a file or an iterable."""


class BulkError(ObjStoreError):
    """Some of many objects failed; the rest is done.

    Args:
        message: What happened.
        result: What failed and why, and what was done.
        bucket: The bucket it happened in.
    """

    def __init__(
        self, message: str, *, result: "BulkResult", bucket: str | None = None
    ) -> None:
        super().__init__(message, bucket=bucket)
        self.result = result


class TransactionEndedError(ObjStoreError, RuntimeError):
    """A transaction was used after its block, or before it."""


class StoreTimeoutError(ObjStoreError, nats.errors.TimeoutError):
    """No progress within the store's timeout (seconds, counted per message)."""


class ConnectionLostError(StoreTimeoutError):
    """The connection was lost while an answer was out; it is back, the answer is not."""


class PermissionDeniedError(StoreTimeoutError):
    """The server refuses this user a subject; nothing was done.

    A `StoreTimeoutError`, because the server does not answer what it refuses, and other
    clients only notice that.

    Args:
        message: What happened.
        bucket: The bucket it happened in.
        name: The object it happened to.
        subject: The subject that was refused.
    """

    def __init__(
        self,
        message: str,
        *,
        bucket: str | None = None,
        name: str | None = None,
        subject: str | None = None,
    ) -> None:
        super().__init__(message, bucket=bucket, name=name)
        self.subject = subject


class NotConnectedError(ObjStoreError):
    """A store was used while its broker has no connection, or lost it for good."""


class ServerUnreachableError(NotConnectedError, nats.errors.NoServersError):
    """No NATS server answered at any of the broker's addresses."""


class JetStreamNotEnabledError(ObjStoreError, nats.js.errors.ServiceUnavailableError):
    """The server, or this account on it, has no JetStream."""

    code: int | None = 503


class StoreAPIError(ObjStoreError, nats.js.errors.APIError):
    """The JetStream API refused a request for a reason not listed here.

    Args:
        message: What happened.
        bucket: The bucket it happened in.
        name: The object it happened to.
        code: HTTP-like status of the JetStream API.
        err_code: The JetStream error code (the list is the server's `errors.json`).
    """

    def __init__(
        self,
        message: str,
        *,
        bucket: str | None = None,
        name: str | None = None,
        code: int | None = None,
        err_code: int | None = None,
    ) -> None:
        ObjStoreError.__init__(self, message, bucket=bucket, name=name)
        self.code = code
        self.err_code = err_code
