"""Restore: the content of a dump, trusted only as far as it can be checked."""

import asyncio
import hashlib
import logging
import tarfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, cast

from ..exceptions import (
    BulkError,
    DigestMismatchError,
    InvalidDumpError,
    ObjectAlreadyExists,
    ObjStoreError,
)
from ..logs import log
from ..models import (
    BulkResult,
    ObjectLink,
)
from .bulk_run import stops, together
from .dumped import Batch, Entry, header, read_batch, saying_what
from .expiry import ExpiredError
from .modes import PutMode, RestoreMode
from .put import Progress, report

if TYPE_CHECKING:
    from .store import ObjectStore

__all__ = ("Restore", "failures")

_READ = 1024 * 1024


def failures(bucket: str, what: str, result: BulkResult) -> BulkError:
    """The error of a call in which some objects failed."""
    shown = [f"{name!r} ({why})" for name, why in islice(result.failed.items(), 3)]
    msg = (
        f"Bucket '{bucket}': {len(result.failed)} objects could not be {what}: "
        f"{', '.join(shown)}. The rest is done; `result` of this error says all."
    )
    return BulkError(msg, bucket=bucket, result=result)


class Restore:
    """A restore in progress."""

    def __init__(self, store: "ObjectStore", tar: tarfile.TarFile, mode: RestoreMode) -> None:
        self._store = store
        self._tar = tar
        self._put_mode: PutMode = "overwrite" if mode == "overwrite" else "create"
        self._keeps = mode == "missing"
        self._result = BulkResult()
        self._size = 0
        self._passed = 0
        self._total: int | None = None
        self._expired: list[str] = []
        self._kept_for_ever: list[str] = []
        # Whether objects of the bucket may expire, the server's clock, and ours.
        self._bucket: tuple[bool, int, float] | None = None

    async def run(self, progress: Progress | None) -> BulkResult:
        """Restore everything; raises as `ObjectStore.restore` does."""
        settings = await asyncio.to_thread(header, self._tar)
        links: list[Entry] = []
        count = 0
        batch = Batch()
        while batch.end is None:
            batch = await asyncio.to_thread(read_batch, self._tar, count)
            count += batch.count
            links += batch.links
            await together(
                [
                    self._noting(entry, partial(self._put_small, entry, data), progress)
                    for entry, data in batch.small
                ]
            )
            if batch.failure is not None:
                raise batch.failure
            if batch.large is not None:
                entry, content = batch.large
                await self._noting(entry, partial(self._put, entry, content), progress)
        if batch.end.get("objects") != count:
            said = batch.end.get("objects")
            msg = f"The dump says that it has {said!r} objects; it has {count}."
            raise InvalidDumpError(msg)
        self._total = count
        for entry in links:
            put = partial(self._link, entry, settings.get("bucket"))
            await self._noting(entry, put, progress)
        result = BulkResult(
            done=sorted(self._result.done),
            unchanged=sorted(self._result.unchanged),
            failed=dict(sorted(self._result.failed.items())),
            size=self._size,
        )
        await self._tell()
        if result.failed:
            raise failures(self._store.bucket, "restored", result)
        return result

    async def _tell(self) -> None:
        """Warn of what is otherwise than in the dump."""
        bucket, backend = self._store.bucket, await self._store._source()  # noqa: SLF001
        if self._expired:
            text = (
                f"Bucket '{bucket}': {len(self._expired)} objects of the dump have expired "
                f"since and are not restored, the first one {self._expired[0]!r}."
            )
            log(backend, logging.WARNING, text)
        if self._kept_for_ever:
            text = (
                f"Bucket '{bucket}': {len(self._kept_for_ever)} objects of the dump expire at "
                f"a time of their own, the first one {self._kept_for_ever[0]!r}, and stay "
                "here, because this bucket has no object_ttl. Declare it with "
                "object_ttl=True and update=True, which takes nats-server 2.11, and restore "
                "them again with mode='overwrite'."
            )
            log(backend, logging.WARNING, text)

    async def _require_time(self, entry: Entry) -> bool:
        """Whether an object that expires will do so here.

        Raises:
            ExpiredError: If it has expired.
        """
        if entry.ttl is None:
            return True
        if self._bucket is None:
            backend = await self._store._source()  # noqa: SLF001
            state = await backend.state()
            self._bucket = bool(backend.least_ttl), state.time_ns, time.monotonic()
        expires, time_ns, read_at = self._bucket
        now_us = time_ns // 1000 + int((time.monotonic() - read_at) * 1e6)
        if entry.ttl.at_us <= now_us:
            msg = f"Bucket '{self._store.bucket}': {entry.name!r} has expired."
            raise ExpiredError(msg, bucket=self._store.bucket, name=entry.name)
        return expires

    async def _noting(
        self, entry: Entry, work: Callable[[], Awaitable[None]], progress: Progress | None
    ) -> None:
        expires = True
        try:
            expires = await self._require_time(entry)
            await work()
        except ObjectAlreadyExists as error:
            if self._keeps:
                self._result.unchanged.append(entry.name)
            else:
                self._result.failed[entry.name] = error
        except InvalidDumpError:
            raise
        except ExpiredError:
            self._expired.append(entry.name)
        except ObjStoreError as error:
            if stops(error, {self._store.bucket}):
                raise
            self._result.failed[entry.name] = error
        else:
            self._result.done.append(entry.name)
            self._size += entry.size
            if not expires:
                self._kept_for_ever.append(entry.name)
        self._passed += 1
        if progress is not None:
            await report(progress, self._passed, self._total)

    async def _put_small(self, entry: Entry, data: bytes) -> None:
        self._require_digest(entry, hashlib.sha256(data).hexdigest())
        await self._store.put(entry.name, data, entry.meta, mode=self._put_mode, ttl=entry.ttl)

    async def _put(self, entry: Entry, content: tarfile.TarInfo) -> None:
        await self._store.put(
            entry.name,
            self._content(entry, content),
            entry.meta,
            mode=self._put_mode,
            ttl=entry.ttl,
        )

    async def _content(
        self, entry: Entry, member: tarfile.TarInfo
    ) -> AsyncGenerator[bytes, None]:
        file = self._tar.extractfile(member)
        digest = hashlib.sha256()
        while file is not None:
            piece = await asyncio.to_thread(saying_what(lambda: file.read(_READ)))
            if not piece:
                break
            digest.update(piece)
            yield piece
        self._require_digest(entry, digest.hexdigest())

    def _require_digest(self, entry: Entry, found: str) -> None:
        if entry.sha256 is not None and found != entry.sha256:
            msg = (
                f"Bucket '{self._store.bucket}', object {entry.name!r}: the dump has content "
                f"of the SHA-256 {found} and says {entry.sha256}; it is not put."
            )
            raise DigestMismatchError(msg, bucket=self._store.bucket, name=entry.name)

    async def _link(self, entry: Entry, dumped: object) -> None:
        link = cast("ObjectLink", entry.link)
        # A link within the bucket stays within the bucket, whatever its name is now.
        bucket = self._store.bucket if link.bucket == dumped else link.bucket
        await self._store._restore_link(  # noqa: SLF001
            entry.name,
            ObjectLink(bucket, link.name),
            entry.meta,
            mode=self._put_mode,
            ttl=entry.ttl,
        )
