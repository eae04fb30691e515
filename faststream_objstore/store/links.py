"""Links: names that stand for another object, or for a whole bucket (ADR-20)."""

from collections.abc import Callable

from .. import wire
from ..backends.base import Backend, WrongRevision
from ..exceptions import InvalidLinkError, ObjectAlreadyExists
from ..messages import StoredMessage
from ..models import ObjectInfo, ObjectLink, ObjectMetaOptions, validate_bucket_name
from ..settling import run_to_completion
from . import expiry, kept, metadata, modes
from .handle import StoreHandle, announce
from .modes import Condition, PutMode, put_condition

__all__ = ("LinkVerbs", "link_over", "put_link", "require_target")


class LinkVerbs(StoreHandle):
    """The verbs of `ObjectStore` that make links."""

    async def add_link(
        self, name: str, target: str | ObjectInfo, *, mode: PutMode = "overwrite"
    ) -> ObjectInfo:
        """Store a link: reading `name` then reads the target's newest version.

        Args:
            name: The link's name; free, deleted, or a link already.
            target: A name in this bucket, or an object of any bucket.
            mode: Which link may be replaced: `"overwrite"` for any, `"create"` for none,
                or the revision (or the `ObjectInfo`) that must be the newest.

        Raises:
            ObjectNotFoundError: If the target does not exist or is deleted.
            InvalidLinkError: If the target is a link, or `name` itself.
            ObjectAlreadyExists: If `name` is an object with content, or `mode` is
                `"create"` and it is a link.
            RevisionMismatchError: If `name` is at another revision than `mode`.
        """
        condition = put_condition(self._bucket, name, mode)
        backend = await self._target()
        link = (
            ObjectLink(target.bucket, target.name)
            if isinstance(target, ObjectInfo)
            else ObjectLink(self._bucket, target)
        )
        # Not `None`, which would be a link to the bucket.
        wire.metadata_subject(link.bucket, link.name)  # type: ignore[arg-type]
        await self._require_target(backend, name, link)
        return await self._link(name, link, self._amended, condition)

    async def add_bucket_link(
        self, name: str, bucket: str | StoreHandle, *, mode: PutMode = "overwrite"
    ) -> ObjectInfo:
        """Store a link to a whole bucket; it names the bucket and has no content.

        Args:
            name: The link's name; free, deleted, or a link already.
            bucket: Another bucket, which exists.
            mode: As for `add_link`.

        Raises:
            BucketNotFoundError: If that bucket does not exist.
            InvalidLinkError: If it is this bucket.
            ObjectAlreadyExists: If `name` is an object with content, or `mode` is
                `"create"` and it is a link.
            RevisionMismatchError: If `name` is at another revision than `mode`.
        """
        condition = put_condition(self._bucket, name, mode)
        of = bucket.bucket if isinstance(bucket, StoreHandle) else validate_bucket_name(bucket)
        link = ObjectLink(of)
        await self._require_target(await self._target(), name, link)
        return await self._link(name, link, self._amended, condition)

    async def _require_target(self, backend: Backend, name: str, link: ObjectLink) -> None:
        """Refuse a link that ADR-20 forbids, or whose target is not there."""
        metadata.subject_of(backend, name)
        # What is wrong with a link to itself is `put_link`'s to say.
        if link in {ObjectLink(self._bucket, name), ObjectLink(self._bucket)}:
            return
        holder = (
            backend
            if link.bucket == self._bucket
            else await backend.other(validate_bucket_name(link.bucket))
        )
        if link.name is None:
            return
        require_target(self._bucket, name, await metadata.read(holder, link.name, leader=True))

    async def _link(
        self,
        name: str,
        target: ObjectLink,
        change: Callable[[ObjectInfo], ObjectInfo],
        condition: Condition,
    ) -> ObjectInfo:
        backend = await self._target()
        info, message = await run_to_completion(
            put_link(backend, name, target, change, condition=condition)
        )
        await announce(backend, message)
        return info


def require_target(bucket: str, name: str, target: ObjectInfo) -> None:
    """Refuse a link to a link.

    Raises:
        InvalidLinkError: If the target is one.
    """
    if target.is_link():
        msg = (
            f"Bucket '{bucket}': {name!r} cannot link to {target.name!r} in "
            f"'{target.bucket}', which is a link itself (ADR-20); link to its target."
        )
        raise InvalidLinkError(msg, bucket=bucket, name=name)


def link_over(
    backend: Backend,
    name: str,
    target: ObjectLink,
    entry: metadata.Entry,
    *,
    over_content: bool = False,
) -> ObjectInfo:
    """A link in place of what a name holds; raises as `put_link`."""
    if target in {ObjectLink(backend.bucket, name), ObjectLink(backend.bucket)}:
        msg = f"Bucket '{backend.bucket}': a link {name!r} to itself leads nowhere."
        raise InvalidLinkError(msg, bucket=backend.bucket, name=name)
    if entry.live and not entry.live.is_link() and not over_content:
        msg = (
            f"Bucket '{backend.bucket}': {name!r} is an object and is not replaced by "
            "a link; delete it first, or choose another name."
        )
        raise ObjectAlreadyExists(msg, bucket=backend.bucket, name=name)
    return ObjectInfo(
        name=name,
        bucket=backend.bucket,
        # nats-py refuses metadata without one, though a link has no chunks.
        nuid=metadata.new_nuid(),
        options=ObjectMetaOptions(link=target),
    )


async def put_link(
    backend: Backend,
    name: str,
    target: ObjectLink,
    change: Callable[[ObjectInfo], ObjectInfo],
    *,
    condition: modes.Condition = None,
    ttl: expiry.Until | None = None,
    over_content: bool = False,
) -> tuple[ObjectInfo, StoredMessage]:
    """Store a link under a name that holds a link, a deleted object, or nothing.

    Args:
        backend: The bucket.
        name: The link's name.
        target: Where it leads; need not exist.
        change: Makes the link's metadata.
        condition: What it may replace; `None` for any link.
        ttl: When it expires.
        over_content: Whether it may replace an object with content.

    Raises:
        ObjectAlreadyExists: If an object with content has the name, or a link that the
            condition does not allow to replace.
        RevisionMismatchError: If the name is at another revision.
        InvalidLinkError: If the link would point at itself.
        ExpiredError: If its time is over.
    """
    subject = metadata.subject_of(backend, name)
    life = await expiry.settle(backend, name, ttl)
    while True:
        entry = await metadata.find(backend, subject, leader=True)
        modes.require(backend.bucket, name, entry, condition)
        link = link_over(backend, name, target, entry, over_content=over_content)
        plan = await kept.plan(backend, entry)
        try:
            written = await metadata.write(
                backend,
                subject,
                change(link),
                replaces=entry.revision,
                raw=expiry.with_life(plan.raw, life),
            )
        except WrongRevision:
            continue
        await kept.settle(backend, entry, plan, by=written[0].revision)
        return written
