"""The `Backend` of JetStream: one bucket's stream."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from faststream_objstore.backends.base import (
    ConsumerState,
    Deliver,
    MetadataWrite,
    StoredMessage,
)
from faststream_objstore.backends.jetstream.api import (
    NO_MESSAGE,
    NOT_DELETED,
    consumer_state,
)
from faststream_objstore.backends.jetstream.batch import publish_batch
from faststream_objstore.backends.jetstream.conditional import publish_metadata
from faststream_objstore.backends.jetstream.singles import SingleMessages
from faststream_objstore.backends.jetstream.snapshot import Snapshot
from faststream_objstore.backends.jetstream.stream import JetStreamMessages
from faststream_objstore.backends.jetstream.upload import JetStreamUpload
from faststream_objstore.exceptions import (
    InvalidOptionError,
    StoreAPIError,
)
from faststream_objstore.models import Mirror

__all__ = ("JetStreamBackend",)

# What the server tells in one answer.
_MOST_SUBJECTS = 100_000


class JetStreamBackend(SingleMessages):
    """One bucket's stream.

    Args:
        server: Where it is.
        bucket: The bucket's name.
        config: The configuration of its stream; ADR-20's defaults if not given.
    """

    name = "JetStream"

    async def publish_metadata(
        self,
        subject: str,
        data: bytes,
        *,
        expected_sequence: int,
        ttl: int = 0,
        marker: bool = False,
    ) -> StoredMessage:
        """Replace the messages of a subject by this one, if they have not changed."""
        return await publish_metadata(
            self._api,
            self.bucket,
            MetadataWrite(subject, data, expected_sequence, ttl, marker),
            marks=self._least_ttl > 0,
            timeout=self.timeout,
            newest=self._leader_get if self.may_lag else None,
            now=self.clock.now,
        )

    async def publish_batch(self, writes: Sequence[MetadataWrite]) -> list[StoredMessage]:
        """Replace the messages of several subjects, either all or none."""
        return await publish_batch(
            self._api,
            self.bucket,
            writes,
            marks=self._least_ttl > 0,
            timeout=self.timeout,
            newest=self._leader_get if self.may_lag else None,
            now=self.clock.now,
        )

    def upload(
        self, subject: str, *, size: int | None = None, ttl: int = 0
    ) -> JetStreamUpload:
        """Start storing chunks on a subject to which nothing else writes."""
        return JetStreamUpload(
            self._api,
            self.bucket,
            subject,
            size=size,
            ttl=ttl,
            timeout=self.timeout,
            replicated=self.may_lag,
            purge=self.purge,
        )

    def messages(
        self,
        subject: str | Sequence[str],
        *,
        deliver: Deliver = Deliver.ALL,
        start_sequence: int | None = None,
        follow: bool = False,
        headers_only: bool = False,
        size: int | None = None,
        window: int | None = None,
        expected: int | None = None,
    ) -> JetStreamMessages:
        """Read messages in order."""
        if start_sequence is not None and deliver is not Deliver.ALL:
            msg = f"Bucket '{self.bucket}': start_sequence needs Deliver.ALL, not {deliver}."
            raise InvalidOptionError(msg, bucket=self.bucket)
        return JetStreamMessages(
            self._api,
            self.bucket,
            subject,
            deliver=deliver,
            start_sequence=start_sequence,
            follow=follow,
            headers_only=headers_only,
            size=size,
            window=window,
            expected=expected,
            timeout=self.timeout,
            snapshot=(
                partial(self._snapshot, subject)
                if deliver is Deliver.LAST_PER_SUBJECT and not follow
                else None
            ),
        )

    def _snapshot(self, subject: str | Sequence[str], until: int) -> Snapshot:
        wanted = (subject,) if isinstance(subject, str) else subject

        async def subjects() -> list[str]:
            return [name for one in wanted for name in await self.subjects(one)]

        async def last() -> int:
            found = [await self.last_message(one, leader=True) for one in wanted]
            return max((one.sequence for one in found if one is not None), default=0)

        return Snapshot(
            until,
            subjects=subjects,
            newest=partial(self.last_message, leader=True),
            last=last,
        )

    async def purge(self, subject: str, *, up_to: int | None = None) -> int:
        """Remove every message of a subject; returns how many there were."""
        body: dict[str, Any] = {"filter": subject}
        if up_to is not None:
            # The server expects the first sequence that is kept.
            body["seq"] = up_to + 1
        answer = await self._call("STREAM.PURGE", body)
        with self._reading("STREAM.PURGE"):
            return int(answer.get("purged", 0))

    async def remove(self, sequence: int) -> bool:
        """Remove one message; returns whether it existed."""
        try:
            await self._call("STREAM.MSG.DELETE", {"seq": sequence, "no_erase": True})
        except StoreAPIError as error:
            if error.err_code in {NO_MESSAGE, NOT_DELETED}:
                return False
            raise
        return True

    async def consumers(self) -> list[ConsumerState]:
        """All consumers of the stream, including those of other programs."""
        result: list[ConsumerState] = []
        offset = 0
        while True:
            answer = await self._call("CONSUMER.LIST", {"offset": offset})
            with self._reading("CONSUMER.LIST"):
                if missing := answer.get("missing"):
                    msg = (
                        f"Bucket '{self.bucket}': the consumers "
                        f"{', '.join(map(repr, missing))} of its stream do not answer; try "
                        "again."
                    )
                    raise StoreAPIError(msg, bucket=self.bucket, code=503)
                page = answer.get("consumers") or []
                result += map(consumer_state, page)
                offset += len(page)
                if not page or offset >= answer.get("total", 0):
                    return result

    async def subjects(self, subject: str) -> dict[str, int]:
        """The matching subjects, each with its number of messages."""
        result: dict[str, int] = {}
        offset, back = 0, 1
        while True:
            info = await self._call(
                "STREAM.INFO", {"subjects_filter": subject, "offset": offset}
            )
            with self._reading("STREAM.INFO"):
                if "config" in info:
                    self._heed(info["config"])
                page = info["state"].get("subjects") or {}
                total = info.get("total", 0)
            if offset and min(page, default="") not in result:
                # The answers are in order, and each begins with subjects of the one before.
                # So many have vanished since then that others are before it now.
                back = min(back * 10, _MOST_SUBJECTS // 2)
                offset = max(0, offset - back)
                continue
            result |= page
            offset += len(page)
            if not page or offset >= total:
                return result
            offset = max(0, offset - back)

    async def seal(self) -> None:
        """Make the stream permanently read-only."""
        config = (await self.state()).config
        if not config.get("sealed"):
            await self._call("STREAM.UPDATE", {**config, "sealed": True})

    async def other(self, bucket: str) -> "JetStreamBackend":
        """The backend of another bucket of the same server."""
        backend = await self._server.open(bucket)
        backend.timeout = self.timeout
        return backend

    async def origin(self, origin: Mirror) -> "JetStreamBackend":
        """The backend of a bucket that this one follows; see `Backend`."""
        backend = await self._server.in_domain(origin.domain).open(origin.bucket)
        backend.timeout = self.timeout
        return backend

    async def announce(self, message: StoredMessage) -> None:
        """Do nothing: the server delivers changes by itself."""
