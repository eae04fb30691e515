"""The consumer of one change subscriber on the server: made, kept up to date, made again.

A durable, which all replicas share; a broadcast has one of its own in each process.
"""

import asyncio
from typing import Any

from nats.nuid import NUID

from faststream_objstore import wire
from faststream_objstore.backends.base import StreamState
from faststream_objstore.backends.jetstream import JetStreamServer
from faststream_objstore.backends.jetstream.api import CONSUMER_NOT_FOUND
from faststream_objstore.changes import declarations
from faststream_objstore.changes.declarations import Declaration, Declarations
from faststream_objstore.changes.options import ChangeOptions
from faststream_objstore.exceptions import BucketConfigMismatchError, StoreAPIError

__all__ = ("SETTLE_SECONDS", "VERIFY_SECONDS", "DurableConsumer")

_NANOSECONDS = 1_000_000_000
# A broadcast consumer whose process died is removed by the server after this.
_INACTIVE_SECONDS = 300
# Little is prefetched, so this bounds what waits for a retry.
_MAX_ACK_PENDING = 10_000
# Kept on the consumer (nats-server 2.10): the last sequence of what was there before it,
# or "no" where that is not replayed.
_REPLAY = "faststream-objstore.replay"

# How long a declaration is looked after once it is written, every quarter of a second, and
# how long others wait after their own writes, which may have undone it if they were quick.
_QUICK_SECONDS = 0.5
SETTLE_SECONDS = 1.0
VERIFY_SECONDS = 1.25

_nuid = NUID()


class DurableConsumer:
    """The consumer on the server.

    Args:
        server: Where the bucket is.
        options: What the subscriber wants.
        follows: Whether deletions concern it, too, because its results go with them.
    """

    def __init__(
        self, server: JetStreamServer, options: ChangeOptions, *, follows: bool = False
    ) -> None:
        self._server = server
        self._options = options
        self._stream = wire.stream_name(options.bucket)
        self._created: str | None = None
        self._own = Declaration.of(options, follows=follows)
        self.wrote: asyncio.Event = asyncio.Event()
        """Set when the declaration is written."""
        self.written_at: float = 0.0
        """When the declaration was last written, by the loop's clock."""
        self.settled_at: float = 0.0
        """When others have noticed, by the loop's clock, if our write has undone theirs."""
        self.replayed_until: int = 0
        """The last sequence of the state that `replay=True` begins with."""
        self.name: str = options.durable or f"objstore-{_nuid.next().decode()}"

    @property
    def next_subject(self) -> str:
        """Where to ask for messages."""
        return f"{self._server.api.prefix}.CONSUMER.MSG.NEXT.{self._stream}.{self.name}"

    async def ensure(self, resume_at: int = 1) -> tuple[dict[str, Any], bool]:
        """Make the consumer, or bring the one that exists up to date.

        Args:
            resume_at: The first sequence to deliver, should the server have lost it.

        Returns:
            What the server says of it, and whether it was made now.

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
            config = self._config(state, known, resume_at)
            began = asyncio.get_running_loop().time()
            try:
                info = await self._call(
                    "CREATE", {"stream_name": self._stream, "config": config}
                )
            except StoreAPIError as error:
                if known is not None:
                    raise self._refused(str(error.description)) from error
                if attempt < 2 and await self.info() is not None:
                    # Another replica made it between our requests, a little differently.
                    continue
                raise
            self._wrote(began)
            self._created = state.created
            noted = (info["config"].get("metadata") or {}).get(_REPLAY, "no")
            self.replayed_until = int(noted) if noted.isdigit() else 0
            return info, known is None
        raise AssertionError  # the last attempt has returned or raised

    async def confirm(self, *, at_latest: float) -> dict[str, Any] | None:
        """Note on the consumer that this declaration is alive, unless somebody has.

        Args:
            at_latest: How many seconds ago that may be.

        Returns:
            What the server says of the consumer; `None` if it has none.
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
        """The declarations that the consumer has noted."""
        return Declarations(info, self._own)

    def _wrote(self, began: float) -> None:
        # The server does not write on condition, so what another process noted between our
        # read and our write is undone. It looks after its own (`VERIFY_SECONDS`), and until
        # it has, what the consumer says of it does not count.
        self.written_at = now = asyncio.get_running_loop().time()
        self.wrote.set()
        quick = now - began <= _QUICK_SECONDS
        self.settled_at = now + (SETTLE_SECONDS if quick else declarations.CONFIRM_SECONDS + 1)

    async def delete(self) -> None:
        """Remove the consumer from the server."""
        await self._call("DELETE")

    async def _call(self, verb: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        return await self._server.api.call(
            f"CONSUMER.{verb}.{self._stream}.{self.name}",
            body,
            bucket=self._options.bucket,
            timeout=self._server.timeout,
        )

    async def info(self) -> dict[str, Any] | None:
        """What the server says of it; `None` if it has none."""
        try:
            return await self._call("INFO")
        except StoreAPIError as error:
            if error.err_code == CONSUMER_NOT_FOUND:
                return None
            raise

    def _config(
        self, state: StreamState, known: dict[str, Any] | None, resume_at: int
    ) -> dict[str, Any]:
        options = self._options
        config: dict[str, Any] = {
            "name": self.name,
            "ack_policy": "explicit",
            "ack_wait": round(options.ack_seconds * _NANOSECONDS),
            "max_deliver": -1,
            "max_ack_pending": _MAX_ACK_PENDING,
            "filter_subject": wire.all_metadata_subject(options.bucket),
            "replay_policy": "instant",
            "metadata": {_REPLAY: str(state.last_sequence) if options.replay else "no"},
        }
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
            return config | self._beginning(state, resume_at)
        # What an operator has set, and what the server cannot change, stays as it is.
        existing = {
            key: value
            for key, value in known["config"].items()
            if key not in {"filter_subjects", "backoff"}
        }
        config["metadata"] = config["metadata"] | (existing.get("metadata") or {}) | declared
        return existing | config

    def _beginning(self, state: StreamState, resume_at: int) -> dict[str, Any]:
        if self._created is None:
            policy = "last_per_subject" if self._options.replay else "new"
            return {"deliver_policy": policy}
        if self._created != state.created:
            return {"deliver_policy": "all"}
        return {
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": max(1, resume_at),
        }

    def _check_kind(self, existing: dict[str, Any]) -> None:
        if existing.get("deliver_subject"):
            raise self._refused("it is a push consumer, which something else has made")
        noted = (existing.get("metadata") or {}).get(_REPLAY)
        if noted is not None:
            replay = noted != "no"
        elif existing.get("deliver_policy") in {"new", "last_per_subject"}:
            replay = existing["deliver_policy"] == "last_per_subject"
        else:
            return
        if replay != self._options.replay:
            raise self._refused(
                f"it was made with replay={replay}, and where a consumer begins is decided "
                "once"
            )

    def _refused(self, why: str) -> BucketConfigMismatchError:
        bucket = self._options.bucket
        msg = (
            f"Bucket '{bucket}': the existing consumer '{self.name}' cannot become what "
            f"durable={self.name!r} declares: {why}. Declare it as it was, give the "
            "subscriber another durable name, or delete the consumer "
            f"(`nats consumer rm {self._stream} {self.name}`), which forgets how far it "
            "has come."
        )
        return BucketConfigMismatchError(msg, bucket=bucket)
