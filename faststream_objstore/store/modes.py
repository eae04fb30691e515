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
    "WriteMode",
    "amend_condition",
    "exact",
    "put_condition",
    "require",
)


class Decision:
    """What a put may replace. It refuses by raising an error of its own.

    The write that follows names the revision that was decided about: if another writer is
    first, nothing is written, and it is decided anew.
    """

    async def before_sending(self, now: Entry) -> None:
        """Decide whether the chunks are worth sending."""

    async def before_writing(self, now: Entry) -> None:
        """Decide whether the metadata is to be written, which makes them an object."""


PutMode: TypeAlias = Literal["overwrite", "create"] | int | ObjectInfo
"""What a put may replace: anything, nothing, or one revision."""

WriteMode: TypeAlias = PutMode | Decision
"""A `PutMode`, or what is decided then: this package's own."""

AmendMode: TypeAlias = Literal["overwrite"] | int | ObjectInfo
"""Which version may be changed or deleted: any, or one revision."""


Condition: TypeAlias = int | Decision | None
"""The revision that may be replaced; 0 for no live object; `None` for any."""


def put_condition(bucket: str, name: str, mode: WriteMode) -> Condition:
    """The condition that a `mode` of `put` or `add_link` means.

    Raises:
        InvalidOptionError: If it is no mode, or a version of another object.
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
                f"{mode.name!r} in '{mode.bucket}'; give one of this object."
            )
            raise InvalidOptionError(msg, bucket=bucket, name=name)
        mode = mode.revision
    if type(mode) is not int or mode < 1:
        msg = (
            f"Bucket '{bucket}', object {name!r}: mode={mode!r} cannot work; give "
            '"overwrite", "create", a revision from 1, or an ObjectInfo.'
        )
        raise InvalidOptionError(msg, bucket=bucket, name=name)
    return mode


def amend_condition(bucket: str, name: str, mode: AmendMode) -> Condition:
    """The condition that a `mode` of `delete`, `rename` or `update_meta` means.

    Raises:
        InvalidOptionError: If it is no mode, or a version of another object.
    """
    given: object = mode
    if given == "create":
        msg = (
            f"Bucket '{bucket}', object {name!r}: mode=\"create\" is for what does not exist; "
            'give "overwrite", a revision from 1, or an ObjectInfo.'
        )
        raise InvalidOptionError(msg, bucket=bucket, name=name)
    return put_condition(bucket, name, mode)


def exact(bucket: str, name: str | ObjectInfo, mode: AmendMode) -> tuple[str, AmendMode]:
    """The name and the mode of a change that may be given as an `ObjectInfo`.

    Raises:
        InvalidOptionError: If the mode asks for another revision.
    """
    if not isinstance(name, ObjectInfo):
        return name, mode
    if mode != "overwrite" and mode not in (name, name.revision):
        msg = (
            f"Bucket '{bucket}', object {name.name!r}: revision {name.revision} is to be "
            f"deleted, and mode={mode!r} asks for another one; leave mode out."
        )
        raise InvalidOptionError(msg, bucket=bucket, name=name.name)
    return name.name, name


def require(bucket: str, name: str, before: Entry, condition: Condition) -> None:
    """Refuse a change of what its condition does not allow.

    Raises:
        ObjectAlreadyExists: If nothing live may be there, and is.
        RevisionMismatchError: If the object is at another revision.
    """
    if condition is None or isinstance(condition, Decision):
        return
    if condition == 0:
        # Metadata that does not parse is no object: a put repairs it.
        if before.live is not None:
            msg = (
                f"Bucket '{bucket}': {name!r} exists (revision {before.revision}), "
                'and mode="create" does not replace it; use mode="overwrite" to.'
            )
            raise ObjectAlreadyExists(msg, bucket=bucket, name=name)
    elif before.revision != condition or before.expired:
        # What has expired is at none, as what was never put.
        now = 0 if before.expired else before.revision
        msg = (
            f"Bucket '{bucket}': {name!r} is at revision {now}, not at {condition}; read it "
            "again and decide anew."
        )
        raise RevisionMismatchError(msg, bucket=bucket, name=name)
