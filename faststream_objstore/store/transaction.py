"""`store.transaction()`: several changes, of which either all happen or none."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from os import PathLike
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple, TypeVar

from typing_extensions import Self, Unpack

from .. import wire
from ..backends.base import Backend, ChunkUpload
from ..exceptions import (
    FeatureNotEnabledError,
    IncompleteObjectError,
    InvalidOptionError,
    NotConnectedError,
    PermissionDeniedError,
    StoreTimeoutError,
    TransactionEndedError,
)
from ..messages import StoredMessage
from ..models import ObjectInfo, ObjectLink, validate_bucket_name
from ..settling import run_to_completion
from . import atomic, expiry, metadata
from .atomic import View
from .expiry import life_of
from .get import Version, newest, until, verified
from .given import NOTHING_GIVEN, AnyMeta, Given
from .handle import StoreHandle, announce
from .links import require_target
from .modes import (
    AmendMode,
    Condition,
    Decision,
    PutMode,
    amend_condition,
    exact,
    put_condition,
)
from .modes import require as require_mode
from .prepare import KeywordOptions, Prepared, PutOptions, prepare
from .put import Sending
from .rename import Change
from .renew import content_of, renewable, require_same_name
from .sources import Again, PutData
from .together import each
from .update import UpdateVerbs, require_change

__all__ = ("Transaction",)

T = TypeVar("T")

# After an hour, sweep takes chunks for those of a dead writer.
_SAFE_SECONDS = 30 * 60.0


class _Sent(NamedTuple):
    """The chunks of a put, which are already stored."""

    version: ObjectInfo
    upload: ChunkUpload
    began: float
    life: expiry.Life | None


class Transaction:
    """Changes that are written together at the end of a block; see `ObjectStore.transaction`.

    Content is sent at once, metadata at the end of the block. Readers, watchers and
    subscribers see none of the changes before that, and then all of them, adjacent and in the
    order in which the block last changed each name. If the block raises or is cancelled, none
    of the changes remain.

    Each change is conditional on the version that it replaces. If another writer was faster,
    the changes without a `mode` are decided again from the current state, a limited number of
    times; a `mode` that no longer holds raises its error at the end of the block.

    Several tasks may use it, but they must have ended when the block does.
    """

    def __init__(self, store: UpdateVerbs) -> None:
        self._store = store
        self._bucket = store.bucket
        self._view: View | None = None
        self._steps: list[atomic.Step] = []
        self._sent: dict[str, _Sent] = {}
        self._committed: dict[str, ObjectInfo] = {}
        # Changes are made one after another, while content is sent concurrently.
        self._lock = asyncio.Lock()
        self._open = False

    @property
    def committed(self) -> Mapping[str, ObjectInfo]:
        """The new versions by name, delete markers included; available after the block."""
        return MappingProxyType(self._committed)

    @property
    def _stored_bytes(self) -> int:
        """The content that it has stored; observed transactions report it."""
        live = {info.nuid for info in self._committed.values() if not info.deleted}
        return sum(one.version.size for nuid, one in self._sent.items() if nuid in live)

    async def __aenter__(self) -> Self:
        if self._view is not None:
            msg = f"Bucket '{self._bucket}': a transaction is for one block; begin another."
            raise TransactionEndedError(msg, bucket=self._bucket)
        backend = await self._store._target()  # noqa: SLF001 - a room of the store
        if not backend.atomic:
            # Transactions may have been enabled since the bucket was bound.
            await backend.state()
        if not backend.atomic:
            msg = (
                f"Bucket '{self._bucket}' has no transactions. Declare it with "
                "transactions=True (and update=True, if it exists), which takes "
                "nats-server 2.12 or later."
            )
            raise FeatureNotEnabledError(msg, bucket=self._bucket)
        self._view = View(backend)
        self._open = True
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        view = self._begun()
        self._open = False
        if exc_type is not None:
            await run_to_completion(self._discard(self._sent))
            return
        messages = await run_to_completion(self._commit(view))
        await announce(view.backend, *messages)

    async def put(
        self,
        name: str,
        data: PutData,
        meta: AnyMeta | None = None,
        **options: Unpack[KeywordOptions],
    ) -> ObjectInfo:
        """Store an object; takes the arguments of `ObjectStore.put`.

        Returns:
            The new version, with revision 0: it gets its revision when the block ends.
        """
        prepared = prepare(self._bucket, name, data, meta=meta, **options)
        return await self._put(prepared, prepared.chunk_size_on(self._begun().backend))

    async def _put(
        self, prepared: Prepared, chunk_size: int, *, amends: dict[str, Any] | None = None
    ) -> ObjectInfo:
        info, condition = prepared.info, prepared.condition
        backend = self._begun().backend
        subject = metadata.subject_of(backend, info.name)
        metadata.require_fits(backend, info)
        life = await expiry.settle(backend, info.name, prepared.ttl)
        async with self._lock:
            before = await self._begun().entry(info.name)
            require_mode(self._bucket, info.name, before, condition)
        if isinstance(condition, Decision):
            await condition.before_sending(before)
        marked = self._store._origin.mark(info)  # noqa: SLF001
        sending = Sending(
            backend, subject, marked, prepared.source, chunk_size, prepared.progress, life
        )
        version, upload, _ = await sending.done(before)
        try:
            await self._do(
                lambda view: atomic.put(view, version, condition, sending.began, life, amends)
            )
        except BaseException:
            await upload.abort()
            raise
        self._sent[version.nuid] = _Sent(version, upload, sending.began, life)
        return version

    async def put_file(
        self, name: str, path: str | PathLike[str], **options: Unpack[PutOptions]
    ) -> ObjectInfo:
        """Store a file's content; see `ObjectStore.put_file`."""
        path = Path(path)
        if options.get("filename") is None:
            options["filename"] = path.name
        return await self.put(name, path, **options)

    async def delete(self, name: str | ObjectInfo, *, mode: AmendMode = "overwrite") -> bool:
        """Delete an object; see `ObjectStore.delete`."""
        name, mode = exact(self._bucket, name, mode)
        condition, mark = amend_condition(self._bucket, name, mode), self._store._amended  # noqa: SLF001
        return await self._do(lambda view: atomic.delete(view, name, mark, condition))

    async def update_meta(
        self,
        name: str,
        meta: AnyMeta | None = None,
        *,
        mode: AmendMode = "overwrite",
        ttl: timedelta | float | None = None,
    ) -> ObjectInfo:
        """Replace description, headers and metadata, or rename; see `ObjectStore.update_meta`.

        Another `ttl` is for the version that is current now, whose content is stored again: if
        another writer replaces it before the block ends, nothing is stored.

        Raises:
            InvalidOptionError: If `meta` is a link; `add_link` makes one.
            RevisionMismatchError: At the end of the block, if another writer has replaced the
                version that was given another `ttl`.
        """
        require_change(self._bucket, name, meta, ttl)
        given = NOTHING_GIVEN if meta is None else Given.of(meta)
        if given.options is not None and given.options.link is not None:
            msg = (
                f"Bucket '{self._bucket}', object {name!r}: update_meta makes no link in a "
                "transaction; use add_link()."
            )
            raise InvalidOptionError(msg, bucket=self._bucket, name=name)
        condition = amend_condition(self._bucket, name, mode)
        mark = self._store._amended  # noqa: SLF001
        change = mark if meta is None else self._store._change(name, given)  # noqa: SLF001
        if ttl is not None:
            return await self._renew(name, change, life_of(self._bucket, name, ttl), condition)
        return _uncommitted(
            await self._do(lambda view: atomic.amend(view, name, change, mark, condition))
        )

    async def _renew(
        self,
        name: str,
        change: Change,
        ttl: timedelta | expiry.Until | None,
        condition: Condition,
    ) -> ObjectInfo:
        view = self._begun()
        backend = view.backend
        async with self._lock:
            entry = await view.entry(name)
            require_mode(self._bucket, name, entry, condition)
            info = metadata.require(backend, name, entry)
            origin = view.content(name).source
        changed = change(info)
        require_same_name(changed, name)
        if info.is_link():
            life = await expiry.settle(backend, name, ttl)
            return _uncommitted(
                await self._do(
                    lambda view: atomic.renew_link(view, name, change, life, condition)
                )
            )
        if origin is not None and origin is not view.before[name]:
            msg = (
                f"Bucket '{self._bucket}', object {name!r}: it has just got this name; give "
                "it another ttl before the transaction renames it, or after its end."
            )
            raise InvalidOptionError(msg, bucket=self._bucket, name=name)
        source, chunk_size = content_of(backend, info)
        # What this block itself has put may replace any version.
        same = condition if origin is None else entry.revision
        prepared = Prepared(changed, source, same, None, None, ttl)
        return await self._put(prepared, chunk_size, amends=renewable(entry))

    async def rename(self, name: str, to: str, *, mode: AmendMode = "overwrite") -> ObjectInfo:
        """Give an object another name; see `ObjectStore.rename`."""
        condition, mark = amend_condition(self._bucket, name, mode), self._store._amended  # noqa: SLF001

        def change(info: ObjectInfo) -> ObjectInfo:
            return replace(mark(info), name=to)

        return _uncommitted(
            await self._do(lambda view: atomic.amend(view, name, change, mark, condition))
        )

    async def copy(
        self, name: str | ObjectInfo, to: str, *, mode: PutMode = "overwrite"
    ) -> ObjectInfo:
        """Copy an object with its description, headers and metadata, within the bucket.

        This includes an object that the transaction itself has put under the name.

        Args:
            name: The object, or exactly one version of it; a link's target is copied.
            to: Name of the copy.
            mode: What the copy may replace; as for `put`.
        """
        view = self._begun()
        origin = self._store._origin  # noqa: SLF001

        async def copy(version: Version, ttl: expiry.Ttl = None) -> ObjectInfo:
            meta = replace(origin.unmarked(version.info).meta, name=to)
            chunks = Again(lambda: verified(version))
            ttl = ttl or await until(version)
            return await self.put(to, chunks, meta=meta, mode=mode, ttl=ttl)

        if isinstance(name, ObjectInfo) or not view.is_changed(name):
            return await newest(view.backend, name, copy)
        async with self._lock:
            entry = await view.entry(name)
        info = metadata.require(view.backend, name, entry)
        link = info.link
        if link is None:
            return await copy(
                Version(view.backend, info, pinned=True), expiry.given_in(entry.raw)
            )
        if link.bucket == self._bucket and link.name is not None:
            return await self.copy(link.name, to, mode=mode)
        return await newest(view.backend, info, copy)

    async def add_link(
        self, name: str, target: str | ObjectInfo, *, mode: PutMode = "overwrite"
    ) -> ObjectInfo:
        """Store a link; see `ObjectStore.add_link`. The block itself may put its target."""
        link = (
            ObjectLink(target.bucket, target.name)
            if isinstance(target, ObjectInfo)
            else ObjectLink(self._bucket, target)
        )
        # Not `None`, which would make it a link to the bucket.
        wire.metadata_subject(link.bucket, link.name)  # type: ignore[arg-type]
        return await self._link(name, link, mode)

    async def add_bucket_link(
        self, name: str, bucket: str | StoreHandle, *, mode: PutMode = "overwrite"
    ) -> ObjectInfo:
        """Store a link to a whole bucket; see `ObjectStore.add_bucket_link`."""
        of = bucket.bucket if isinstance(bucket, StoreHandle) else validate_bucket_name(bucket)
        return await self._link(name, ObjectLink(of), mode)

    async def _link(self, name: str, link: ObjectLink, mode: PutMode) -> ObjectInfo:
        condition, mark = put_condition(self._bucket, name, mode), self._store._amended  # noqa: SLF001
        view = self._begun()
        if link.bucket == self._bucket and link.name and view.is_changed(link.name):
            async with self._lock:
                entry = await view.entry(link.name)
            require_target(
                self._bucket, name, metadata.require(view.backend, link.name, entry)
            )
        else:
            await self._store._require_target(view.backend, name, link)  # noqa: SLF001
        return await self._do(lambda view: atomic.link(view, name, link, mark, condition))

    def _begun(self) -> View:
        if self._view is None or not self._open:
            msg = (
                f"Bucket '{self._bucket}': the transaction's block has ended, or not begun; "
                "use it as `async with store.transaction() as tx`."
            )
            raise TransactionEndedError(msg, bucket=self._bucket)
        return self._view

    async def _do(self, step: atomic.Step) -> T:
        async with self._lock:
            result: T = await step(self._begun())
            self._steps.append(step)
            return result

    async def _commit(self, view: View) -> list[StoredMessage]:
        try:
            view, written = await atomic.commit(view, self._steps, ready=self._require_chunks)
        except (StoreTimeoutError, NotConnectedError) as error:
            # If everything was stored, its chunks belong to objects; if not, `sweep` removes
            # them.
            if isinstance(error, PermissionDeniedError):
                await self._discard(self._sent)
            raise
        except BaseException:
            await self._discard(self._sent)
            raise
        self._committed = {info.name: info for info, _ in written}
        live = {info.nuid for info in view.changed.values() if not info.deleted}
        await self._discard(self._sent.keys() - live)
        return [message for _, message in written]

    async def _require_chunks(self, view: View) -> None:
        """Refuse to write metadata for chunks that no longer exist."""
        now = asyncio.get_running_loop().time()
        live = {info.nuid for info in view.changed.values() if not info.deleted}
        sent = [one for nuid, one in self._sent.items() if nuid in live and one.version.chunks]
        for one in sent:
            seconds = now - one.began
            expiry.require_in_time(view.backend, one.version.name, one.life, seconds)
        backend, safe = view.backend, _SAFE_SECONDS
        if backend.max_age:
            safe = min(safe, backend.max_age / 2e9)
        old = [one.version for one in sent if now - one.began >= safe]
        await each(old, partial(_require_all, backend))

    async def _discard(self, nuids: Iterable[str]) -> None:
        await each(nuids, lambda nuid: self._sent[nuid].upload.abort())


async def _require_all(backend: Backend, version: ObjectInfo) -> None:
    subject = wire.chunk_subject(backend.bucket, version.nuid)
    found = (await backend.subjects(subject)).get(subject, 0)
    if found < version.chunks:
        msg = (
            f"Bucket '{backend.bucket}', object {version.name!r}: {version.chunks - found} of "
            f"its {version.chunks} chunks have expired, or were swept, before the transaction "
            "ended; put less in one, or raise the bucket's ttl."
        )
        raise IncompleteObjectError(msg, bucket=backend.bucket, name=version.name)


def _uncommitted(info: ObjectInfo) -> ObjectInfo:
    """A version that has not been written yet."""
    return replace(info, revision=0, mtime=None)
