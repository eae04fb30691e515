"""The lineage of an object that a publisher stored. Values only, no I/O."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from typing_extensions import Self

__all__ = ("ObjectSource",)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectSource:
    """The version of an object that a result was made from: the result's lineage.

    A publisher keeps it in the result's metadata, under the keys in brackets.

    Attributes:
        bucket: The bucket of the source (`objstore.source.bucket`).
        name: Its name (`objstore.source.name`).
        revision: Its revision (`objstore.source.revision`).
        digest: Its digest; `None` if it has none (`objstore.source.digest`).
        created: When the source's bucket was created, according to its stream: revisions
            start again in a bucket that is recreated (`objstore.source.created`).
        rebuild: The publisher's `rebuild` option (`objstore.rebuild`).
    """

    bucket: str
    name: str
    revision: int
    digest: str | None = None
    created: str = ""
    rebuild: str | None = None

    @classmethod
    def read(cls, metadata: Mapping[str, str] | None) -> Self | None:
        """The lineage in an object's metadata; `None` if it is not a publisher's result."""
        texts = metadata or {}
        bucket, name = texts.get(_SOURCE_BUCKET), texts.get(_SOURCE_NAME)
        revision = texts.get(_SOURCE_REVISION, "")
        # Anyone who can write to a bucket can write anything.
        if not bucket or not name or not re.fullmatch(r"[0-9]{1,19}", revision):
            return None
        return cls(
            bucket=bucket,
            name=name,
            revision=int(revision),
            digest=texts.get(_SOURCE_DIGEST),
            created=texts.get(_SOURCE_CREATED, ""),
            rebuild=texts.get(_REBUILD),
        )

    def as_metadata(self) -> dict[str, str]:
        """The metadata entries that record it."""
        texts = {
            _SOURCE_BUCKET: self.bucket,
            _SOURCE_NAME: self.name,
            _SOURCE_REVISION: str(self.revision),
            _SOURCE_DIGEST: self.digest,
            _SOURCE_CREATED: self.created,
            _REBUILD: self.rebuild,
        }
        return {key: text for key, text in texts.items() if text is not None}


_SOURCE_BUCKET = "objstore.source.bucket"
_SOURCE_NAME = "objstore.source.name"
_SOURCE_REVISION = "objstore.source.revision"
_SOURCE_DIGEST = "objstore.source.digest"
_SOURCE_CREATED = "objstore.source.created"
_REBUILD = "objstore.rebuild"
