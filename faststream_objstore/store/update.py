"""`update_meta` and `rename`: changing metadata or the name, but not the content."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

from ..exceptions import BucketNotFoundError, InvalidOptionError, ObjectNotFoundError
from ..models import ObjectInfo, ObjectLink
from ..settling import run_to_completion
from . import metadata
from .expiry import Until, life_of
from .given import NOTHING_GIVEN, AnyMeta, Given, described
from .handle import announce
from .links import LinkVerbs, put_link
from .modes import AmendMode, PutMode, amend_condition, put_condition

__all__ = ("UpdateVerbs", "require_change")


class UpdateVerbs(LinkVerbs):
    """The verbs of `ObjectStore` that change metadata and leave the content."""

    async def update_meta(
        self,
        name: str,
        meta: AnyMeta | None = None,
        *,
        mode: AmendMode = "overwrite",
        ttl: timedelta | float | None = None,
    ) -> ObjectInfo:
        """Replace description, headers and metadata; rename the object; or make a link.

        The newest version is changed, whatever is put in the meantime; its content stays, and
        so does the time at which it expires.

        Args:
            name: The object's name.
            meta: The new metadata. Fields that are left out are removed, except the name. A
                different name renames the object. A link in its options is stored, as by
                `add_link`; in that case `name` need not exist. If not given, they stay.
            mode: Which version may be changed: `"overwrite"` for any, or the revision
                (or the `ObjectInfo`) that must be the newest.
            ttl: How long the object lives from now on, as for `put`; 0 means for ever. The
                content is stored again for that.

        Returns:
            The new version.

        Raises:
            InvalidOptionError: If there is neither `meta` nor `ttl`, or if `ttl` is given
                together with a new name or a new link.
            RevisionMismatchError: If the object is not at the revision given by `mode`.
            ObjectNotFoundError: If the object does not exist or has been deleted.
            ObjectAlreadyExists: If the new name is taken.
        """
        from .amend import amend  # noqa: PLC0415 - see `store/__init__.py`

        require_change(self._bucket, name, meta, ttl)
        life = life_of(self._bucket, name, ttl)
        condition = amend_condition(self._bucket, name, mode)
        given = NOTHING_GIVEN if meta is None else Given.of(meta)
        change = self._amended if meta is None else self._change(name, given)
        backend = await self._target()
        if ttl is not None and given.options and given.options.link:
            msg = (
                f"Bucket '{self._bucket}', object {name!r}: a link and a ttl cannot be given "
                "together; make the link first."
            )
            raise InvalidOptionError(msg, bucket=self._bucket, name=name)
        if ttl is not None:
            from .renew import renew  # noqa: PLC0415 - see `store/__init__.py`

            info, message = await renew(backend, name, change, life, condition=condition)
            await announce(backend, message)
            return info
        link = given.options.link if given.options else None
        if link is not None:
            entry = await metadata.find(
                backend, metadata.subject_of(backend, name), leader=True
            )
            # The same link again is an update like any other: a rename, a description.
            if entry.live is None or entry.live.link != link:
                if given.name not in {None, "", name}:
                    msg = (
                        f"Bucket '{self._bucket}', object {name!r}: a new link and the new "
                        f"name {given.name!r} cannot be combined; make the link under that "
                        "name."
                    )
                    raise InvalidOptionError(msg, bucket=self._bucket, name=name)
                await self._require_target(backend, name, link)
                return await self._link(name, link, change, condition)
        info, messages = await run_to_completion(
            amend(backend, name, change, self._amended, condition=condition)
        )
        await announce(backend, *messages)
        return info

    async def _restore_link(
        self,
        name: str,
        link: ObjectLink,
        meta: AnyMeta,
        *,
        mode: PutMode,
        ttl: Until | None,
    ) -> ObjectInfo:
        """Store a link of a dump in one step, with its metadata and the end of its life.

        It leads where it led when it was dumped, even if nothing is there. With
        `"overwrite"` it replaces an object with content, too.
        """
        condition = put_condition(self._bucket, name, mode)
        backend = await self._target()
        with suppress(ObjectNotFoundError, BucketNotFoundError):
            await self._require_target(backend, name, link)
        info, message = await run_to_completion(
            put_link(
                backend,
                name,
                link,
                self._change(name, Given.of(meta)),
                condition=condition,
                ttl=ttl,
                over_content=True,
            )
        )
        await announce(backend, message)
        return info

    def _change(self, name: str, given: Given) -> Callable[[ObjectInfo], ObjectInfo]:
        """What `update_meta` makes of a version."""

        def change(info: ObjectInfo) -> ObjectInfo:
            renamed = replace(info, name=given.name or name)
            # nats-py's class has no metadata; then there is nothing to say about it.
            texts = given.metadata if given.has_metadata else info.metadata
            said = described(
                renamed, description=given.description, headers=given.headers, texts=texts
            )
            return self._origin.mark(said, before=info)

        return change

    async def rename(self, name: str, to: str, *, mode: AmendMode = "overwrite") -> ObjectInfo:
        """Rename an object; its content is not moved.

        Watchers see the old name deleted and the new one put.

        Args:
            name: The object.
            to: Its new name; free, or that of a deleted object.
            mode: Which version of `name` may be renamed: `"overwrite"` for any, or the
                revision (or the `ObjectInfo`) that must be the newest.

        Raises:
            RevisionMismatchError: If `name` is at another revision than `mode`.
            ObjectNotFoundError: If there is no such object, or it is deleted.
            ObjectAlreadyExists: If the new name is taken.
        """
        from .amend import amend  # noqa: PLC0415 - see `store/__init__.py`

        condition = amend_condition(self._bucket, name, mode)
        backend = await self._target()
        metadata.subject_of(backend, to)
        info, messages = await run_to_completion(
            amend(
                backend,
                name,
                lambda info: replace(self._amended(info), name=to),
                self._amended,
                condition=condition,
            )
        )
        await announce(backend, *messages)
        return info


def require_change(
    bucket: str, name: str, meta: AnyMeta | None, ttl: timedelta | float | None
) -> None:
    """Refuse an update that changes nothing.

    Raises:
        InvalidOptionError: If there is neither new metadata nor a new `ttl`.
    """
    if meta is None and ttl is None:
        msg = (
            f"Bucket '{bucket}', object {name!r}: update_meta takes new metadata, a ttl, or "
            "both."
        )
        raise InvalidOptionError(msg, bucket=bucket, name=name)
