"""The server-side consumer of a change subscriber: created, updated and recreated.

A durable is shared by all replicas; without one, each process has its own consumer.
"""

import asyncio
import re
from typing import Any

from nats.nuid import NUID

from faststream_objstore import wire
from faststream_objstore.backends.base import StreamState
from faststream_objstore.backends.jetstream import JetStreamBackend, JetStreamServer
from faststream_objstore.backends.jetstream.api import CONSUMER_NOT_FOUND, reading
from faststream_objstore.changes import declarations
from faststream_objstore.changes.anchor import store_anchor
from faststream_objstore.changes.declarations import Declaration, Declarations
from faststream_objstore.changes.options import ChangeOptions
from faststream_objstore.exceptions import BucketConfigMismatchError, StoreAPIError

__all__ = ("SETTLE_SECONDS", "VERIFY_SECONDS", "DurableConsumer")

_NANOSECONDS = 1_000_000_000
# The server removes a consumer without a durable this long after its process died.
_INACTIVE_SECONDS = 300
# Little is prefetched, so this bounds what waits for a retry.
_MAX_ACK_PENDING = 10_000
# The server's error for more than the account or the stream allows; its text has the limit.
_TOO_MANY_PENDING = 10121
_PROBE_SECONDS = 30
# Stored on the consumer (nats-server 2.10): the last sequence that existed before it, or
# "no" if that state is not replayed.
_REPLAY = "faststream-objstore.replay"
# Stored beside it: whether that state has replaced revisions too, which are not replayed.
_OLDER = "faststream-objstore.older"

# How long a declaration is checked after it was written, every quarter of a second, and how
# long others wait after their own writes, which may have overwritten it if they were quick.
_QUICK_SECONDS = 0.5
SETTLE_SECONDS = 1.0
VERIFY_SECONDS = 1.25

_nuid = NUID()


def _require_info(answer: dict[str, Any]) -> None:
    """Refuse information about a consumer that lacks what is needed of it.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: If it is malformed.
    """
    metadata = answer["config"].get("metadata") or {}
    numbers = [
        answer["delivered"]["consumer_seq"],
        answer["delivered"]["stream_seq"],
        answer["ack_floor"]["stream_seq"],
        answer["num_ack_pending"],
    ]
    if not all(isinstance(one, str) for one in metadata.values()):
        msg = f"metadata is {metadata!r}"
        raise TypeError(msg)
    if not all(type(one) is int for one in numbers):
        msg = f"not all of {numbers!r} are integers"
        raise TypeError(msg)
    declarations.server_time(answer)


class DurableConsumer:
    """The consumer on the server.

    Args:
        server: The server of the bucket.
        options: The subscriber's options.
        follows: Whether it also needs deletions, to delete its results.
    """

    def __init__(
        self, server: JetStreamServer, options: ChangeOptions, *, follows: bool = False
    ) -> None:
        self._server = server
        self._options = options
        self._stream = wire.stream_name(options.bucket)
        self.created: str | None = None
        """When the stream was created; another time means that it is another stream."""
        self._own = Declaration.of(options, follows=follows)
        self.wrote: asyncio.Event = asyncio.Event()
        """Set when the declaration has been written."""
        self.written_at: float = 0.0
        """When the declaration was last written, by the loop's clock."""
        self.settled_at: float = 0.0
        """When others will have noticed, by the loop's clock, that our write undid theirs."""
        self.replayed_until: int = 0
        """The last sequence of the state that `replay=True` starts with."""
        self.older: bool = False
        """Whether that state has revisions that were replaced, which other clients leave."""
        self._backend: JetStreamBackend | None = None
        self._most_pending = _MAX_ACK_PENDING
        self.name: str = options.durable or f"objstore-{_nuid.next().decode()}"

    @property
    def next_subject(self) -> str:
        """The subject for pull requests."""
        return f"{self._server.api.prefix}.CONSUMER.MSG.NEXT.{self._stream}.{self.name}"

    @property
    def unused_ack_subject(self) -> str | None:
        """The subject of an acknowledgement that acknowledges nothing.

        `None` in another domain or account, where acknowledgements have subjects that only
        messages tell.
        """
        if self._server.api.prefix != "$JS.API":
            return None
        return f"$JS.ACK.{self._stream}.{self.name}.0.0.0.0.0"

    async def ensure(self, resume_at: int = 1) -> tuple[dict[str, Any], bool]:
        """Create the consumer, or update the existing one.

        Args:
            resume_at: The first sequence to deliver, if the server has lost the consumer.

        Returns:
            The server's information about it, and whether it was created now.

        Raises:
            BucketNotFoundError: If the bucket is gone.
            BucketConfigMismatchError: If the existing consumer cannot be changed into this.
        """
        for attempt in range(3):
            state = await self._server.api.state(
                self._options.bucket, timeout=self._server.timeout
            )
            known = await self.info()
            if known is not None:
                self._check_kind(known["config"])
            elif self._options.replay and self.created is None and state.messages:
                self.older = await self._has_older()
            begins_after = 0
            if self.created != state.created:
                begins_after = await store_anchor(
                    self._server,
                    self._options.bucket,
                    state,
                    find=known is None and (self._options.replay or self.created is not None),
                )
            config = self._config(state, known, resume_at, begins_after)
            began = asyncio.get_running_loop().time()
            try:
                info = await self._call(
                    "CREATE", {"stream_name": self._stream, "config": config}
                )
            except StoreAPIError as error:
                if self._limited_by(error):
                    continue
                if known is not None:
                    raise self._refused(str(error.description)) from error
                if attempt < 2 and await self.info() is not None:
                    # Another replica created it between our requests, slightly differently.
                    continue
                raise
            self._wrote(began)
            self.created = state.created
            metadata = info["config"].get("metadata") or {}
            noted = metadata.get(_REPLAY, "no")
            self.replayed_until = int(noted) if noted.isdigit() else 0
            self.older = _OLDER in metadata
            return info, known is None
        raise AssertionError  # the last attempt has returned or raised

    def _limited_by(self, error: StoreAPIError) -> bool:
        """Whether fewer changes may be unacknowledged; asks for as many as may be."""
        limit = re.search(r"limit of (\d+)", error.description or "")
        if error.err_code != _TOO_MANY_PENDING or limit is None:
            return False
        asked, self._most_pending = self._most_pending, int(limit[1])
        return 0 < self._most_pending < asked

    async def confirm(self, *, at_latest: float) -> dict[str, Any] | None:
        """Confirm this declaration on the consumer, unless that was done recently.

        Args:
            at_latest: How many seconds ago "recently" may be.

        Returns:
            The server's information about the consumer; `None` if there is none.
        """
        began = asyncio.get_running_loop().time()
        info = await self.info()
        if info is None or not self._options.durable:
            return info
        declared = self.declared(info)
        if declared.own_age <= at_latest:
            return info
        config = info["config"]
        metadata = (config.get("metadata") or {}) | declared.confirmed()
        info = await self._call(
            "CREATE",
            {
                "stream_name": self._stream,
                "config": config | {"metadata": metadata},
                "action": "update",
            },
        )
        self._wrote(began)
        return info

    def declared(self, info: dict[str, Any]) -> Declarations:
        """The declarations that are recorded on the consumer."""
        return Declarations(info, self._own)

    def _wrote(self, began: float) -> None:
        # The server has no conditional write, so our write undoes what another process wrote
        # after our read. That process checks its own entry (`VERIFY_SECONDS`); until it has,
        # the entries on the consumer may be incomplete.
        self.written_at = now = asyncio.get_running_loop().time()
        self.wrote.set()
        quick = now - began <= _QUICK_SECONDS
        self.settled_at = now + (SETTLE_SECONDS if quick else declarations.CONFIRM_SECONDS + 1)

    async def is_replaced(self, subject: str, sequence: int) -> bool:
        """Whether a message is not the newest of its subject.

        Args:
            subject: The subject.
            sequence: The message's sequence.
        """
        if self._backend is None:
            self._backend = await self._server.open(self._options.bucket)
        newest = await self._backend.last_message(subject, leader=True)
        return newest is None or newest.sequence != sequence

    async def _has_older(self) -> bool:
        """Whether the bucket has revisions that were replaced.

        Each message of ours removes its predecessor, but nats.js, for one, keeps those that it
        updates.
        """
        api, bucket = self._server.api, self._options.bucket
        subject, timeout = wire.all_metadata_subject(bucket), self._server.timeout
        names = await api.count_subjects(bucket, subject, timeout=timeout)
        # Only a consumer tells how many messages match.
        probe = f"{self._stream}.objstore-{_nuid.next().decode()}"
        config = {
            "name": probe.partition(".")[2],
            "ack_policy": "none",
            "filter_subject": subject,
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": _PROBE_SECONDS * _NANOSECONDS,
        }
        asked = f"CONSUMER.CREATE.{probe}"
        answer = await api.call(
            asked,
            {"stream_name": self._stream, "config": config},
            bucket=bucket,
            timeout=timeout,
        )
        with reading(f"{api.prefix}.{asked}", bucket):
            messages = int(answer["num_pending"])
        await api.call(f"CONSUMER.DELETE.{probe}", bucket=bucket, timeout=timeout)
        return messages > names

    async def delete(self) -> None:
        """Remove the consumer from the server."""
        await self._call("DELETE")

    async def _call(self, verb: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        bucket, api = self._options.bucket, self._server.api
        asked = f"CONSUMER.{verb}.{self._stream}.{self.name}"
        answer = await api.call(asked, body, bucket=bucket, timeout=self._server.timeout)
        if verb != "DELETE":
            with reading(f"{api.prefix}.{asked}", bucket):
                _require_info(answer)
        return answer

    async def info(self) -> dict[str, Any] | None:
        """The server's information about the consumer; `None` if there is none."""
        try:
            return await self._call("INFO")
        except StoreAPIError as error:
            if error.err_code == CONSUMER_NOT_FOUND:
                return None
            raise

    def _config(
        self,
        state: StreamState,
        known: dict[str, Any] | None,
        resume_at: int,
        begins_after: int,
    ) -> dict[str, Any]:
        options = self._options
        config: dict[str, Any] = {
            "name": self.name,
            "ack_policy": "explicit",
            "ack_wait": round(options.ack_seconds * _NANOSECONDS),
            "max_deliver": -1,
            "max_ack_pending": self._most_pending,
            "filter_subject": wire.all_metadata_subject(options.bucket),
            "replay_policy": "instant",
            "metadata": {_REPLAY: self._replay(state)},
        }
        if self.older:
            config["metadata"][_OLDER] = "yes"
        if options.durable:
            config["durable_name"] = options.durable
        else:
            config["inactive_threshold"] = _INACTIVE_SECONDS * _NANOSECONDS
            config["mem_storage"] = True
            config["num_replicas"] = 1

        noted = self.declared(known or {"config": {}})
        declared = noted.confirmed() if options.durable else {}
        if known is None:
            config["metadata"] |= declared
            return config | self._beginning(state, resume_at, begins_after)
        # Settings of an operator, and those that the server cannot change, stay as they are.
        existing = {
            key: value
            for key, value in known["config"].items()
            if key not in {"filter_subjects", "backoff"}
        }
        config["metadata"] = config["metadata"] | (existing.get("metadata") or {}) | declared
        return existing | config

    def _replay(self, state: StreamState) -> str:
        if not self._options.replay:
            return "no"
        if self.created is None:
            return str(state.last_sequence)
        # What was deleted since is a change, and no part of the state that it began with.
        return str(self.replayed_until if self.created == state.created else 0)

    def _beginning(
        self, state: StreamState, resume_at: int, begins_after: int
    ) -> dict[str, Any]:
        if self.created == state.created:
            start = max(1, resume_at)
        elif self.created is None and not self._options.replay:
            return {"deliver_policy": "new"}
        elif begins_after:
            start = begins_after + 1
        else:
            # Not "last_per_subject", although that is what is meant: of what it begins with,
            # nats-server 2.15 loses the next message when a request has expired or its
            # process is gone, and stops for seconds at each one that was overwritten.
            return {"deliver_policy": "all"}
        return {"deliver_policy": "by_start_sequence", "opt_start_seq": start}

    def _check_kind(self, existing: dict[str, Any]) -> None:
        if existing.get("deliver_subject"):
            raise self._refused("it is a push consumer, created by something else")
        noted = (existing.get("metadata") or {}).get(_REPLAY)
        if noted is not None:
            replay = noted != "no"
        elif existing.get("deliver_policy") in {"new", "last_per_subject"}:
            replay = existing["deliver_policy"] == "last_per_subject"
        else:
            return
        if replay != self._options.replay:
            raise self._refused(
                f"it was created with replay={replay}, which cannot be changed later"
            )

    def _refused(self, why: str) -> BucketConfigMismatchError:
        bucket = self._options.bucket
        msg = (
            f"Bucket '{bucket}': the existing consumer '{self.name}' does not match the "
            f"subscriber with durable={self.name!r}: {why}. Restore the declaration, give the "
            "subscriber another durable name, or delete the consumer "
            f"(`nats consumer rm {self._stream} {self.name}`), which discards its position."
        )
        return BucketConfigMismatchError(msg, bucket=bucket)
