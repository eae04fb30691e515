"""The exceptions of this package, and nothing else.

Every error is an `ObjStoreError`. Where nats-py has a class of the same name, ours is a
subclass of it, so `except nats.js.errors.ObjectNotFoundError` keeps working. Mistakes of the
caller are also `ValueError`s (or `TypeError`s, where a type is wrong).

    ObjStoreError
    ├── BucketError
    │   ├── InvalidBucketNameError      nats-py's, ValueError
    │   ├── BucketNotDeclaredError      LookupError
    │   ├── BucketNotFoundError         nats-py's
    │   ├── BucketConfigMismatchError   nats-py's BadBucketError; differs from what exists
    │   ├── BucketInUseError            another declaration claims the bucket
    │   ├── BucketSealedError           nats-py's APIError; permanently read-only
    │   ├── BucketReadOnlyError         it follows another bucket, which is written to
    │   ├── OriginRecreatedError        the bucket that it follows was made anew
    │   ├── FeatureNotEnabledError      the bucket or its server does not support it
    │   └── BucketFullError             nats-py's APIError; `max_bytes` has been reached
    ├── ObjectError
    │   ├── InvalidObjectNameError      nats-py's, ValueError
    │   ├── ObjectNotFoundError         nats-py's
    │   │   ├── ObjectDeletedError      nats-py's
    │   │   └── ClaimNotFoundError      the body of a claim-checked message is gone
    │   ├── ObjectAlreadyExists         nats-py's
    │   ├── RevisionMismatchError       the object changed before the write
    │   ├── ObjectChangedError          the object changed during the read
    │   ├── ObjectTooLargeError         more bytes than the caller allows
    │   ├── ObjectLoadError             its content cannot be decoded or loaded
    │   ├── InvalidClaimError           a message's reference is malformed or not allowed
    │   ├── InvalidLinkError            ValueError
    │   ├── LinkIsABucketError          nats-py's
    │   ├── BadObjectMetaError          nats-py's: metadata that cannot be parsed
    │   └── CorruptObjectError
    │       ├── IncompleteObjectError   chunks are missing, or there are too many
    │       └── DigestMismatchError     nats-py's
    ├── InvalidOptionError              ValueError
    │   └── InvalidPatternError
    ├── UnsupportedDataError            TypeError
    ├── InvalidDumpError                ValueError; a file is no dump, or is damaged
    ├── BulkError                       some objects failed, the others succeeded
    ├── TransactionEndedError           RuntimeError; used after its block
    ├── StoreTimeoutError               nats-py's TimeoutError
    │   ├── ConnectionLostError         the connection was lost before the answer came
    │   └── PermissionDeniedError       the server denies this user a subject
    ├── NotConnectedError               the broker is not connected
    │   └── ServerUnreachableError      nats-py's NoServersError
    ├── JetStreamNotEnabledError        nats-py's ServiceUnavailableError
    └── StoreAPIError                   nats-py's APIError: any other refusal
"""

from typing import TYPE_CHECKING, cast

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
    "BucketReadOnlyError",
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
    "InvalidDumpError",
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
    "OriginRecreatedError",
    "PermissionDeniedError",
    "RevisionMismatchError",
    "ServerUnreachableError",
    "StoreAPIError",
    "StoreTimeoutError",
    "TransactionEndedError",
    "UnsupportedDataError",
)


class ObjStoreError(Exception):
    """Base class of all errors in this package.

    Args:
        message: What happened and what to do about it.
        bucket: The bucket that the error is about, if any.
        name: The object that the error is about, if any.
    """

    # Read by nats-py's `APIError`; subclasses that inherit from it set them.
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
    """No `Buckets` of this broker declares the requested bucket."""


class BucketNotFoundError(BucketError, nats.js.errors.BucketNotFoundError):
    """The bucket's stream does not exist on the server."""

    code: int | None = 404
    err_code: int | None = 10059


class BucketConfigMismatchError(BucketError, nats.js.errors.BadBucketError):
    """An existing bucket differs from its declaration; the message lists each field."""


class BucketInUseError(BucketError):
    """Another declaration would rewrite the bucket's stream, or already owns the bucket."""


class BucketSealedError(BucketError, nats.js.errors.APIError):
    """The bucket is sealed: it can be read, but never changed."""

    code: int | None = 400
    err_code: int | None = 10109


class BucketReadOnlyError(BucketError):
    """The bucket follows another one, its origin, which is the one to write to."""


class OriginRecreatedError(BucketError):
    """The bucket's origin was deleted and made anew, so it cannot be followed any more."""


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
    """No object with this name was ever stored, or its metadata has expired."""

    code: int | None = 404
    err_code: int | None = 10037


class ObjectDeletedError(ObjectNotFoundError, nats.js.errors.ObjectDeletedError):
    """The object existed and has been deleted."""


class ClaimNotFoundError(ObjectNotFoundError):
    """The object that holds a message's body has expired or has been deleted."""


class InvalidClaimError(ObjectError):
    """A message's reference to its body is malformed, or names a different bucket."""


class ObjectAlreadyExists(ObjectError, nats.js.errors.ObjectAlreadyExists):  # noqa: N818
    """A live object already has this name; the class is named as in nats-py."""


class RevisionMismatchError(ObjectError):
    """The object is not at the revision that the write was conditional on.

    Read the object again and decide anew: another writer was faster.
    """


class ObjectChangedError(ObjectError):
    """The version that was requested, or was being read, has been replaced."""


class ObjectTooLargeError(ObjectError):
    """The object is larger than the caller's `max_size`."""


class ObjectLoadError(ObjectError):
    """The content cannot be decoded, or a `LiveObject`'s `load` failed; see `__cause__`."""


class InvalidLinkError(ObjectError, ValueError):
    """A link that ADR-20 forbids: to a link, to itself, to a deleted object."""


class LinkIsABucketError(ObjectError, nats.js.errors.LinkIsABucketError):
    """The content of a link to a whole bucket was requested; such a link has none."""


class BadObjectMetaError(ObjectError, nats.js.errors.BadObjectMetaError):
    """The object's metadata message cannot be parsed; a new put or delete repairs it."""


class CorruptObjectError(ObjectError):
    """The stored content is not what was put."""


class IncompleteObjectError(CorruptObjectError):
    """The number of chunks, or of bytes, is not what the metadata says."""


class DigestMismatchError(CorruptObjectError, nats.js.errors.DigestMismatchError):
    """The SHA-256 of the chunks is not what the metadata says."""


class InvalidOptionError(ObjStoreError, ValueError):
    """An option has an invalid value."""


class InvalidPatternError(InvalidOptionError):
    """A pattern of object names is malformed."""


class UnsupportedDataError(ObjStoreError, TypeError):
    """`put` was given something that is not bytes, text, a file or an iterable."""


class InvalidDumpError(ObjStoreError, ValueError):
    """A file is no dump of a bucket, or it is cut off or damaged."""


class BulkError(ObjStoreError):
    """Some objects of a bulk operation failed; the others succeeded.

    Args:
        message: What happened.
        result: Which objects failed and why, and which succeeded.
        bucket: The bucket that the operation was on.
        name: The object that the error is about, if there is one.
    """

    def __init__(
        self,
        message: str,
        *,
        result: "BulkResult | None" = None,
        bucket: str | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(message, bucket=bucket, name=name)
        # Bulk operations always give one; pickle and copy make the error without it first.
        self.result: BulkResult = cast("BulkResult", result)


class TransactionEndedError(ObjStoreError, RuntimeError):
    """A transaction was used after its block, or before it."""


class StoreTimeoutError(ObjStoreError, nats.errors.TimeoutError):
    """No progress within the store's timeout (seconds, counted per message)."""


class ConnectionLostError(StoreTimeoutError):
    """The connection was lost before the answer arrived; it is back, the answer is not."""


class PermissionDeniedError(StoreTimeoutError):
    """The server denies this user a subject; nothing was done.

    A `StoreTimeoutError`, because the server does not answer requests that it denies, so
    that other clients see a timeout.

    Args:
        message: What happened.
        bucket: The bucket that the error is about.
        name: The object that the error is about.
        subject: The subject that was denied.
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
    """A store was used while its broker had no connection, or had lost it for good."""


class ServerUnreachableError(NotConnectedError, nats.errors.NoServersError):
    """No NATS server answered at any of the broker's addresses."""


class JetStreamNotEnabledError(ObjStoreError, nats.js.errors.ServiceUnavailableError):
    """JetStream is not enabled on the server, or not for this account."""

    code: int | None = 503


class StoreAPIError(ObjStoreError, nats.js.errors.APIError):
    """The JetStream API refused a request for a reason that has no class of its own.

    Args:
        message: What happened.
        bucket: The bucket that the error is about.
        name: The object that the error is about.
        code: The JetStream API's HTTP-like status.
        err_code: The JetStream error code (see the server's `errors.json`).
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
