"""`mode`: which version of an object a change may replace."""

from typing import Literal, TypeAlias

from ..exceptions import InvalidOptionError, ObjectAlreadyExists, RevisionMismatchError
from ..models import ObjectInfo
from .metadata import Entry

__all__ = (
    "AmendMode",
    "Condition",
    "Decision",
    "PutMode",
    "RestoreMode",
    "WriteMode",
    "amend_condition",
    "exact",
    "put_condition",
    "require",
)


class Decision:
    """Decides what a put may replace; it refuses by raising an error.

    The write that follows is conditional on the revision that the decision was about: if
    another writer is faster, nothing is written, and the decision is made anew.
    """

    async def before_sending(self, now: Entry) -> None:
        """Decide whether the chunks are worth sending."""

    async def before_writing(self, now: Entry) -> None:
        """Decide whether to write the metadata, which turns the chunks into an object."""


PutMode: TypeAlias = Literal["overwrite", "create"] | int | ObjectInfo
"""What a put may replace: anything, nothing, or one revision."""

RestoreMode: TypeAlias = Literal["create", "overwrite", "missing"]
"""What to do about existing objects: raise an error, replace them, or keep them."""

WriteMode: TypeAlias = PutMode | Decision
"""A `PutMode`, or a `Decision`, which is internal to this package."""

AmendMode: TypeAlias = Literal["overwrite"] | int | ObjectInfo
"""Which version may be changed or deleted: any, or one revision."""


Condition: TypeAlias = int | Decision | None
"""The revision that may be replaced; 0: no live object may exist; `None`: any."""


def put_condition(bucket: str, name: str, mode: WriteMode) -> Condition:
    """Translate the `mode` of `put` or `add_link` into a condition.

    Args:
        bucket: The bucket, for error messages.
        name: The object's name.
        mode: The caller's `mode`.

    Returns:
        The condition.

    Raises:
        InvalidOptionError: If the mode is invalid, or a version of another object.
    """
    if mode == "overwrite":
        return None
    if mode == "create":
        return 0
    if isinstance(mode, Decision):
        return mode
    if isinstance(mode, ObjectInfo):
        if (mode.bucket, mode.name) != (bucket, name):
            msg = (
                f"Bucket '{bucket}', object {name!r}: mode is a version of "
                f"{mode.name!r} in '{mode.bucket}'; give a version of this object."
            )
            raise InvalidOptionError(msg, bucket=bucket, name=name)
        mode = mode.revision
    if type(mode) is not int or mode < 1:
        msg = (
            f'Bucket \'{bucket}\', object {name!r}: mode must be "overwrite", "create", a '
            f"revision from 1, or an ObjectInfo, got {mode!r}."
        )
        raise InvalidOptionError(msg, bucket=bucket, name=name)
    return mode


def amend_condition(bucket: str, name: str, mode: AmendMode) -> Condition:
    """Translate the `mode` of `delete`, `rename` or `update_meta` into a condition.

    Args:
        bucket: The bucket, for error messages.
        name: The object's name.
        mode: The caller's `mode`.

    Returns:
        The condition.

    Raises:
        InvalidOptionError: If the mode is invalid, or a version of another object.
    """
    given: object = mode
    if given == "create":
        msg = (
            f"Bucket '{bucket}', object {name!r}: mode=\"create\" is for new objects only; "
            'give "overwrite", a revision from 1, or an ObjectInfo.'
        )
        raise InvalidOptionError(msg, bucket=bucket, name=name)
    return put_condition(bucket, name, mode)


def exact(bucket: str, name: str | ObjectInfo, mode: AmendMode) -> tuple[str, AmendMode]:
    """Split the target of a change, which may be an `ObjectInfo`, into name and mode.

    Raises:
        InvalidOptionError: If the mode names a different revision.
    """
    if not isinstance(name, ObjectInfo):
        return name, mode
    if mode != "overwrite" and mode not in (name, name.revision):
        msg = (
            f"Bucket '{bucket}', object {name.name!r}: the ObjectInfo names revision "
            f"{name.revision}, but mode={mode!r} names a different one; leave mode out."
        )
        raise InvalidOptionError(msg, bucket=bucket, name=name.name)
    return name.name, name


def require(bucket: str, name: str, before: Entry, condition: Condition) -> None:
    """Refuse a change that its condition does not allow.

    Raises:
        ObjectAlreadyExists: If there is a live object and there must be none.
        RevisionMismatchError: If the object is at another revision.
    """
    if condition is None or isinstance(condition, Decision):
        return
    if condition == 0:
        # Metadata that cannot be parsed is no live object: a put repairs it.
        if before.live is not None:
            msg = (
                f"Bucket '{bucket}': {name!r} exists (revision {before.revision}), "
                'and mode="create" does not replace it; use mode="overwrite" to replace it.'
            )
            raise ObjectAlreadyExists(msg, bucket=bucket, name=name)
    elif before.revision != condition or before.expired:
        # An expired object has no revision, like one that was never put.
        now = 0 if before.expired else before.revision
        msg = (
            f"Bucket '{bucket}': {name!r} is at revision {now}, not at {condition}; read it "
            "again and decide anew."
        )
        raise RevisionMismatchError(msg, bucket=bucket, name=name)
