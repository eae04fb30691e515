"""The change subscriber, as FastStream sees it."""

import asyncio
import contextlib
import itertools
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any

from faststream.exceptions import HandlerException

# The class itself: what `faststream.nats` gives is `Annotated`, and slow to call.
from faststream.nats.message import NatsMessage
from nats.aio.client import Client
from nats.aio.msg import Msg

from faststream_objstore import wire
from faststream_objstore._faststream import (
    CallsCollection,
    IdentifiedMessage,
    MessageTooLargeError,
    PlainSubscriber,
    connection_of,
    publish_measured,
)
from faststream_objstore.backends.base import Backend
from faststream_objstore.backends.jetstream import JetStreamServer
from faststream_objstore.changes.attached import Attachment, Declaration
from faststream_objstore.changes.delivery import (
    ChangeMessage,
    Delivery,
    SupersededGuard,
    label,
)
from faststream_objstore.changes.options import ChangeOptions
from faststream_objstore.changes.outcome import ChangeOutcome, Outcome
from faststream_objstore.changes.specification import ChangeSpecification
from faststream_objstore.exceptions import (
    InvalidPatternError,
    NotConnectedError,
    ObjStoreError,
)
from faststream_objstore.models import ObjectInfo
from faststream_objstore.observers.events import ChangeEvent

if TYPE_CHECKING:
    from faststream_objstore.changes.loop import ChangeLoop
    from faststream_objstore.changes.reader import ChangeReader

__all__ = ("ChangeSubscriber",)

_numbers = itertools.count()
# How much shorter a dead letter gets, at least, each time it does not fit.
_LETTER_STEP = 256


class ChangeSubscriber(PlainSubscriber):
    """Runs handlers when objects of a bucket change.

    Args:
        bucket: The bucket's declaration.
        options: What is wanted.
        title: The title in AsyncAPI.
        description: The description in AsyncAPI.
        include_in_schema: Whether AsyncAPI shows it.
        no_reply: Whether to send no replies to requests.
    """

    def __init__(
        self,
        bucket: Declaration,
        options: ChangeOptions,
        *,
        title: str | None,
        description: str | None,
        include_in_schema: bool,
        no_reply: bool,
    ) -> None:
        calls: CallsCollection[Any] = CallsCollection()
        subject = wire.metadata_wildcard(options.bucket)
        self.channel: ChangeSpecification = ChangeSpecification(
            options,
            router=bucket.router,
            calls=calls,
            siblings=lambda: [one.channel for one in bucket.subscribers],
            subject=subject,
            title=title,
            description=description,
            include_in_schema=include_in_schema,
        )
        super().__init__(
            router=bucket.router,
            subject=subject,
            stream=wire.stream_name(options.bucket),
            specification=self.channel,
            calls=calls,
            parse=self._parse,
            decode=_decode,
            no_reply=no_reply,
        )
        self.options = options
        self.number: int = next(_numbers)
        self.superseded: int = 0
        """How many changes were replaced while their handler ran, and failed for it."""
        self.outcomes: Counter[Outcome] = Counter()
        """How often a delivery from the server ended in which way."""
        self._bucket = bucket
        self._guards: tuple[Any, ...] = ()
        self._named = (-1, "")
        self._label = label(options.bucket, options.durable)
        self._log_context: dict[str, str] = {}
        self._loop: ChangeLoop | None = None
        self._reader: ChangeReader | None = None
        self._stopping: asyncio.Task[None] | None = None

    @property
    def handler_name(self) -> str:
        """The name of its handler, for logs."""
        # FastStream unwraps the handler for it, which is too slow for each log line.
        count, name = self._named
        if count != len(self.calls.data):
            name = self.channel.call_name
            self._named = len(self.calls.data), name
        return name

    @property
    def is_receiving(self) -> bool:
        """Whether its loop runs, which asks for changes and tries again after a loss."""
        return self._loop is not None and self._loop.running

    async def start(self) -> None:
        """Create the consumer on the server and start receiving; called by the broker."""
        if self._loop is not None:
            return
        await super().start()

    async def _create_subscription(self) -> None:
        server = await self._attachment().server_of(self.options.bucket)
        # In test mode there is nothing to receive: puts call the handlers.
        if isinstance(server, JetStreamServer):
            # Imported late: without change handlers, or in memory, it is not needed.
            from faststream_objstore.changes.loop import ChangeLoop  # noqa: PLC0415

            loop = ChangeLoop(
                server,
                self.options,
                handle=Delivery(self),
                log=self.log,
                handler=self.handler_name,
                follows=any(one.follow for one in self.object_publishers),
            )
            await loop.start()
            self._loop = loop
            # FastStream's stop would wait here for handlers; the loop's stop does that.
            self.lock: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()

    async def stop(self) -> None:
        """Stop receiving, and let the handlers that run finish; called by the broker."""
        stopping = self._stopping
        if stopping not in {None, asyncio.current_task()}:
            # A handler has stopped it already. The connection must not go before that has
            # given back what is left.
            await asyncio.wait((stopping,))
        self.running = False
        reader, self._reader = self._reader, None
        if reader is not None:
            await reader.stop()
        loop, self._loop = self._loop, None
        if loop is not None:
            await loop.stop(self.graceful_seconds)
        await super().stop()

    def stop_soon(self, *, exit_app: bool) -> None:
        """Stop in a task of its own, since the caller is a handler that `stop` waits for."""
        if self._loop is not None:
            self._loop.begin_no_more()
        if self._stopping is None or self._stopping.done():
            self._stopping = asyncio.create_task(self.stop())
        if exit_app and (app := self.context.get("app")):
            app.exit()

    async def handle(self, change: ChangeMessage) -> None:
        """Run the handler that wants the change; nothing happens if its filters refuse."""
        if self.follows(change):
            backend = await self.backend()
            for publisher in self.object_publishers:
                await publisher.follow_deletion(change, backend)
            if not change.is_wanted(self.options):
                return
        again = change.replayed or change.receipt.deliveries > 1
        if again and await self._is_done(change):
            return
        if await self.is_wanted(change):
            await self.process_message(change)

    def follows(self, change: ChangeMessage) -> bool:
        """Whether the results of the handlers go with the object that was deleted."""
        return (
            change.info.deleted
            and self.options.event not in {"delete", "expire"}
            and any(one.follow for one in self.object_publishers)
            and change.matches(self.options)
        )

    async def _is_done(self, change: ChangeMessage) -> bool:
        """Whether a redelivered change has all the results that its handler makes."""
        if not self.makes_objects_only:
            return False
        publishers = self.object_publishers
        backend = await self.backend()
        for publisher in publishers:
            if not await publisher.is_done(change, backend):
                return False
        return True

    async def backend(self) -> Backend:
        """The stream of the bucket, on the connection that is there now."""
        return await self._attachment().backend_of(self.options.bucket)

    async def deliver(self, change: ChangeMessage) -> None:
        """Run the handler for a change in this process's memory, as `TestNatsBroker` does.

        Raises:
            Exception: What the handler raises.
        """
        if not change.is_wanted(self.options) and not self.follows(change):
            return
        self.prepare()
        # AckMessage and its like are answers to a server, not errors.
        with contextlib.suppress(HandlerException):
            await self.handle(change)
        self._observe(ChangeOutcome(Outcome.HANDLED, change.info, 1, 0.0))

    def ended(self, outcome: ChangeOutcome) -> None:
        """A delivery has ended; whatever follows what happens is told here, and only here."""
        self.outcomes[outcome.outcome] += 1
        self._observe(outcome)

    def _observe(self, outcome: ChangeOutcome) -> None:
        attachment = self._bucket.attachment
        if attachment is None or attachment.observers is None:
            return
        attachment.observers.change(
            ChangeEvent(
                bucket=self.options.bucket,
                durable=self.options.durable,
                handler=self.handler_name,
                outcome=outcome.outcome.value,
                attempts=outcome.attempts,
                lag=max(0.0, outcome.lag),
                info=outcome.info,
            )
        )

    async def seconds_left(self, change: ChangeMessage) -> float | None:
        """How long the change can still be redelivered; `None` for ever.

        The marker of an expired object is gone soon, and with it what is left of its delivery.
        """
        if not change.info.expired:
            return None
        try:
            backend = await self.backend()
            await backend.state()
        except ObjStoreError:
            return None
        if not backend.least_ttl:
            # A bucket that follows another one keeps the markers that it gets.
            return None
        ends_ns = change.receipt.time_ns + backend.least_ttl
        return (ends_ns - backend.latest_time()) / 1e9

    async def is_superseded(self, change: ChangeMessage) -> bool:
        """Whether the object has a newer version, or this one is gone."""
        if change.superseded is None:
            info = change.info
            subject = wire.metadata_subject(info.bucket, info.name)
            try:
                backend = await self.backend()
                newest = await backend.last_message(subject, leader=True)
            except ObjStoreError:
                # Not known, so the failure counts; the next attempt asks again.
                return False
            # The marker of an expired object is soon gone, without having been replaced.
            change.superseded = (
                not info.expired if newest is None else newest.sequence != info.revision
            )
            if change.superseded:
                self.superseded += 1
                self.log(
                    logging.DEBUG,
                    f"{self.options.title}: {info.name!r} was replaced while its handler ran "
                    f"on revision {info.revision}; its failure is no error.",
                )
        return change.superseded

    async def publish_dead_letter(
        self, subject: str, write: Callable[[int], dict[str, Any]]
    ) -> None:
        """Publish, and return when the server has it.

        Args:
            subject: Where to.
            write: Makes a letter of at most the given number of bytes.
        """
        broker = self._attachment().broker
        client = None if broker is None else connection_of(broker)
        if broker is None or not isinstance(client, Client):
            msg = f"Bucket '{self.options.bucket}': no broker to publish a dead letter with."
            raise NotConnectedError(msg, bucket=self.options.bucket)
        most = limit = client.max_payload
        while True:
            try:
                await publish_measured(
                    broker, broker.config.producer, limit, write(most), subject
                )
                break
            except MessageTooLargeError as error:
                # By its headers, or by what a middleware has made of it.
                most -= max(error.excess, _LETTER_STEP)
                if most <= 0:
                    raise
        await self.flush()

    async def get_one(self, *, timeout: float = 5) -> NatsMessage | None:
        """The next change, for a subscriber without handlers; `None` after `timeout` seconds.

        Acknowledge it with `await message.ack()`; `await message.decode()` is the
        `ObjectInfo`. One further change may be fetched and held in advance.
        """
        self.require_no_handlers()
        reader = await self._reading()
        change = await reader.next(timeout)
        return None if change is None else await self.as_message(change)

    async def __aiter__(self) -> AsyncIterator[NatsMessage]:
        """The changes as they come, for a subscriber without handlers."""
        self.require_no_handlers()
        while True:
            reader = await self._reading()
            change = await reader.next(None)
            if change is not None:
                yield await self.as_message(change)

    async def _reading(self) -> "ChangeReader":
        if self._reader is None:
            server = await self._attachment().server_of(self.options.bucket)
            if not isinstance(server, JetStreamServer):
                msg = (
                    f"{self.options.title}: changes cannot be awaited under TestNatsBroker; "
                    "register a handler, or enter it with with_real=True."
                )
                raise NotConnectedError(msg, bucket=self.options.bucket)
            from faststream_objstore.changes.reader import ChangeReader  # noqa: PLC0415

            reader = ChangeReader(server, self.options, log=self.log)
            await reader.start()
            self._reader = reader
        return self._reader

    def _attachment(self) -> Attachment:
        attachment = self._bucket.attachment
        if attachment is None:
            bucket = self.options.bucket
            msg = f"Bucket '{bucket}' has no broker: pass it to Buckets(broker, ...)."
            raise NotConnectedError(msg, bucket=bucket)
        return attachment

    @property
    def captures(self) -> Sequence[str]:
        """The names of the `Path()` values that its messages have."""
        return self.options.names.captures

    def require_captures(self, handler: str, names: Sequence[str]) -> None:
        """Refuse a handler that asks for what the pattern does not capture.

        Raises:
            InvalidPatternError: If there is such a `Path()` parameter without a default.
        """
        captures = self.options.names.captures
        for name in names:
            if name not in captures:
                listed = ", ".join(map(repr, captures)) or "nothing"
                msg = (
                    f"{self.options.declaration}: {handler} asks for the Path() parameter "
                    f"{name!r}, but the pattern captures {listed}. Write {{{name}}} where "
                    "the pattern should capture it, or give the parameter a default."
                )
                raise InvalidPatternError(msg, bucket=self.options.bucket)

    @property
    def subject_label(self) -> str:
        """What metrics, spans and logs show as the subject."""
        return self._label

    def get_log_context(self, message: Any) -> dict[str, str]:
        """What a log line says beside its text: the whole name, which FastStream would cut."""
        handler = self.handler_name
        common = self._log_context
        if common.get("handler") != handler:
            common = self._log_context = {
                **super().get_log_context(None),
                "bucket": self.options.bucket,
                "durable": self.options.durable or "",
                "handler": handler,
            }
        change = getattr(message, "raw_message", None)
        if not isinstance(change, ChangeMessage):
            return {**common, "message_id": getattr(message, "message_id", "")}
        name, revision = change.info.name, str(change.info.revision)
        return {
            **common,
            "object": name,
            "revision": revision,
            "subject": f"{common['subject']} {name}",
            "message_id": f"@{revision}",
        }

    @property
    def innermost_middlewares(self) -> Sequence[Any]:
        """What stands between FastStream's middlewares and the handler."""
        if not self._guards:
            guard = SupersededGuard(self, context=self.context)
            self._guards = (lambda _, **__: guard,)
        return self._guards

    async def _parse(self, message: Msg) -> NatsMessage:
        if isinstance(message, ChangeMessage):
            change = message
        else:
            change = ChangeMessage.read(message, self.options.bucket)
            change.path = self.options.names.match(change.info.name) or {}
        change.subject = self.subject_label
        info = change.info
        headers: dict[str, str] = {}
        if info.headers:
            headers = {key: values[0] for key, values in info.headers.items() if values}
        return IdentifiedMessage(
            change,
            change.data,
            path=change.path,
            headers=headers,
            correlation_id=headers.get("correlation_id"),
            message_id=f"{info.name}@{info.revision}",
        )


async def _decode(message: Any) -> ObjectInfo:
    info: ObjectInfo = message.raw_message.info
    return info
