"""One change from its arrival to its acknowledgement."""

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, Protocol

from faststream import BaseMiddleware
from faststream.exceptions import (
    AckMessage,
    HandlerException,
    IgnoredException,
    NackMessage,
    RejectMessage,
    StopConsume,
)
from faststream.message import StreamMessage
from nats.aio.msg import Msg
from typing_extensions import Self

from faststream_objstore import wire
from faststream_objstore.backends.base import StoredMessage
from faststream_objstore.backends.jetstream.api import MARKER_REASON
from faststream_objstore.backends.jetstream.receipt import Receipt
from faststream_objstore.changes.dead_letter import described, letter, shortened
from faststream_objstore.changes.options import ChangeOptions, Event
from faststream_objstore.changes.outcome import ChangeOutcome, Outcome
from faststream_objstore.exceptions import BadObjectMetaError, InvalidObjectNameError
from faststream_objstore.models import ObjectInfo

__all__ = (
    "ChangeHandler",
    "ChangeMessage",
    "Delivery",
    "SupersededGuard",
    "event_of",
    "label",
    "set_aside",
    "stored_of",
)

# A rename writes two more messages after its note; after that, the note is gone from the
# stream.
_RENAME_SECONDS = 2.0

# How many deliveries beyond `attempts` are allowed for a change on which no handler here has
# failed: it was given back, which is not an attempt, or its process died, which may be one.
_UNANSWERED = 20
# An expiration is not tried again if its marker is gone sooner than this.
_LEAST_SECONDS = 0.2
# Pauses between attempts to publish a dead letter; the change ends even if all of them fail.
_LETTER_PAUSES = (0.1, 0.5, 2.0)
_MOST_TOLD = 1024


def event_of(info: ObjectInfo) -> Event:
    """What a change is, of a single object."""
    if info.expired:
        return "expire"
    return "delete" if info.deleted else "put"


def stored_of(raw: Msg, receipt: Receipt) -> StoredMessage:
    """A delivered message as it is in the stream."""
    reason = "" if raw.data else (raw.headers or {}).get(MARKER_REASON, "")
    return StoredMessage(
        raw.subject, raw.data, receipt.sequence, receipt.time_ns, reason=reason
    )


def label(bucket: str, durable: str | None = None) -> str:
    """The subject that handlers, metrics and spans see: one for each durable of a bucket.

    The real subject contains the object's name, which would make every object a label.
    """
    return f"$O.{bucket}.M" if durable is None else f"$O.{bucket}.M:{durable}"


class ChangeMessage(Msg):
    """A metadata message with its parsed content.

    Attributes:
        info: The version of the object that it is about.
        path: What the subscriber's pattern captured from the name.
        receipt: The counts and the sequence of its delivery.
        superseded: Whether a newer version has replaced it; `None` if not checked yet.
        given_back: Whether it was negatively acknowledged, so that it is redelivered.
        replayed: Whether it belongs to the state that `replay=True` starts with.
        noted: Whether it records that the object is being renamed; see `set_aside`.
    """

    info: ObjectInfo
    receipt: Receipt
    path: dict[str, str]
    superseded: bool | None = None
    given_back: bool = False
    replayed: bool = False
    noted: bool = False
    _delivered: Msg

    @classmethod
    def read(cls, raw: Msg, bucket: str, receipt: Receipt | None = None) -> Self:
        """Parse a delivered message.

        Args:
            raw: The message as delivered.
            bucket: The bucket that it comes from.
            receipt: Its parsed reply subject, if that has been parsed already.

        Returns:
            The change.

        Raises:
            BadObjectMetaError: If its body is not an object's metadata.
            ValueError: If it does not come from JetStream.
        """
        receipt = receipt or Receipt.of(raw.reply)
        info, json = wire.info_of(stored_of(raw, receipt), bucket)
        if not _is_subject_of(info, raw.subject):
            # Nobody could read or delete an object stored there.
            msg = (
                f"Bucket '{bucket}': the subject {shortened(raw.subject)!r} is not an encoded "
                "object name, so the message stored there is not an object."
            )
            raise BadObjectMetaError(msg, bucket=bucket)
        # `Msg` would set each of its fields.
        change = object.__new__(cls)
        change._client = raw._client  # noqa: SLF001 - a Msg acknowledges over it
        change.subject = label(bucket)
        change.reply = raw.reply
        change.data = raw.data
        change._delivered = raw
        change.info = info
        change.receipt = receipt
        change.path = {}
        if wire.MOVE_NOTE in json:
            change.noted = not info.deleted and wire.notes_rename(json)
        return change

    @property
    def headers(self) -> dict[str, str] | None:  # type: ignore[override]
        """The headers of the message, which a lane parses when they are asked for."""
        return self._delivered.headers

    @property
    def _ackd(self) -> bool:
        """Whether nothing more is to be sent for it; nats-py goes by this."""
        return self._delivered._ackd  # noqa: SLF001 - a Msg, as this is

    @_ackd.setter
    def _ackd(self, acknowledged: bool) -> None:
        self._delivered._ackd = acknowledged  # noqa: SLF001

    def is_wanted(self, options: ChangeOptions) -> bool:
        """Check whether a subscriber wants it; sets `path` if the name matches.

        Args:
            options: The subscriber's options.

        Returns:
            Whether it does.
        """
        deleted = self.info.deleted
        if deleted and self.replayed:
            return False
        if options.event not in {"change", event_of(self.info)}:
            return False
        return self.matches(options)

    def matches(self, options: ChangeOptions) -> bool:
        """Check whether the name matches a subscriber's pattern; sets `path` if so."""
        path = options.names.match(self.info.name)
        if path is None:
            return False
        self.path = path
        return True

    async def nak(self, delay: float | None = None) -> None:
        """Acknowledge negatively: it is redelivered after `delay` seconds."""
        await super().nak(delay)
        self.given_back = True


async def set_aside(change: ChangeMessage) -> bool:
    """Give back what notes under an old name that the object is being renamed.

    It is not a change that handlers should see: the new name's put and the old name's
        deletion follow, and then the note is gone. If it is redelivered, the rename was
        interrupted, and the note may have replaced a put that no handler has seen.

    Returns:
        Whether it was given back.
    """
    if not change.noted or change.receipt.deliveries > 1:
        return False
    await change.nak(_RENAME_SECONDS)
    return True


class ChangeHandler(Protocol):
    """The subscriber, as a delivery needs it."""

    options: ChangeOptions

    @property
    def handler_name(self) -> str:
        """The name of its handler, for logs."""

    async def handle(self, change: ChangeMessage) -> None:
        """Run the handler that wants it, if any; raises what the handler raises."""

    def follows(self, change: ChangeMessage) -> bool:
        """Whether the handlers' results are to be deleted with the object."""

    async def is_superseded(self, change: ChangeMessage) -> bool:
        """Whether the object has a newer version, or this one is gone."""

    async def seconds_left(self, change: ChangeMessage) -> float | None:
        """How long the change can still be redelivered; `None` for ever."""

    async def publish_dead_letter(
        self, subject: str, write: Callable[[int], dict[str, Any]]
    ) -> None:
        """Publish a dead letter that fits into a message; return once the server has it."""

    def stop_soon(self, *, exit_app: bool) -> None:
        """Stop without waiting, because a handler that waits for its own end would hang."""

    def ended(self, outcome: ChangeOutcome) -> None:
        """Note that a delivery has ended; the only place that reports outcomes."""

    def log(self, level: int, text: str) -> None:
        """Log with the broker's logger."""


class Delivery:
    """Runs a subscriber's handler for messages from the server and acknowledges them.

    Args:
        subscriber: The subscriber.
    """

    def __init__(self, subscriber: ChangeHandler) -> None:
        self._subscriber = subscriber
        self._options = subscriber.options
        self._most_deliveries = self._options.retries.attempts + _UNANSWERED

    async def __call__(self, raw: Msg, receipt: Receipt, replayed: bool) -> Outcome:
        """Handle a message and acknowledge it, unless it is not wanted.

        Args:
            raw: The message as delivered.
            receipt: Its parsed reply subject.
            replayed: Whether it belongs to the state that `replay=True` starts with.

        Returns:
            How it ended. A skipped message is left for the caller to acknowledge.
        """
        lag = time.time() - receipt.time_ns / 1e9
        try:
            change = ChangeMessage.read(raw, self._options.bucket, receipt)
        except BadObjectMetaError as error:
            why = shortened(str(error), _MOST_TOLD)
            self._subscriber.log(logging.WARNING, f"{why} The change is skipped.")
            await raw.ack()
            outcome, info = Outcome.PASSED_OVER, None
        else:
            change.replayed = replayed
            info = change.info
            if change.is_wanted(self._options) or self._subscriber.follows(change):
                if await set_aside(change):
                    return Outcome.RETRIED
                outcome = await self._deliver(change, receipt)
            else:
                outcome = Outcome.SKIPPED
        self._subscriber.ended(ChangeOutcome(outcome, info, receipt.deliveries, lag))
        return outcome

    async def _deliver(self, change: ChangeMessage, receipt: Receipt) -> Outcome:
        if receipt.deliveries > self._most_deliveries:
            return await self._give_up(
                change,
                receipt,
                f"delivered {receipt.deliveries} times without an acknowledgement: its "
                "process died, or gave it back",
            )
        try:
            await self._subscriber.handle(change)
        except asyncio.CancelledError:
            await _unless_done(change, change.nak())
            raise
        except StopConsume:
            # As in FastStream, the message that stops a subscriber is not redelivered.
            await _unless_done(change, change.term())
            self._subscriber.stop_soon(exit_app=False)
        except SystemExit:
            await _unless_done(change, change.nak())
            self._subscriber.stop_soon(exit_app=True)
            return Outcome.RETRIED
        except NackMessage as error:
            await _unless_done(change, change.nak(**error.extra_options))
            return Outcome.RETRIED
        except RejectMessage:
            await _unless_done(change, change.term())
        except HandlerException:
            await _unless_done(change, change.ack())
        except Exception as error:  # noqa: BLE001 - whatever a handler raises
            return await self._failed(change, receipt, error)
        else:
            if not change.is_acked:
                await change.ack()
        return _ended(change)

    async def _failed(
        self, change: ChangeMessage, receipt: Receipt, error: Exception
    ) -> Outcome:
        if change.is_acked:
            # The handler has acknowledged it itself; FastStream has logged the error.
            return _ended(change)
        if await self._subscriber.is_superseded(change):
            await _unless_done(change, change.ack())
            return Outcome.SUPERSEDED
        delay = self._options.retries.delay(receipt.deliveries)
        left = None if delay is None else await self._subscriber.seconds_left(change)
        if delay is not None and left is not None:
            # Later it would be lost; now it can at least be reported.
            delay = min(delay, left) if left >= _LEAST_SECONDS else None
        if delay is not None:
            await change.nak(delay)
            durable = self._options.durable
            self._subscriber.log(
                logging.WARNING,
                f"{self._options.title}: {self._subscriber.handler_name} failed on "
                f"{shortened(change.info.name, _MOST_TOLD)!r} (revision "
                f"{change.info.revision}), attempt {receipt.deliveries} of "
                f"{self._options.retries.attempts}, "
                f"{f'durable {durable!r}' if durable else 'without a durable'}; "
                f"retrying in {delay:.1f} s: {described(error)}",
            )
            return Outcome.RETRIED

        return await self._give_up(change, receipt, described(error, most=None))

    async def _give_up(self, change: ChangeMessage, receipt: Receipt, why: str) -> Outcome:
        """End a change and report it; its handler is not called again in any case."""
        told = (
            f"{self._options.title}: gave up on {shortened(change.info.name, _MOST_TOLD)!r} "
            f"(revision {change.info.revision}) after {receipt.deliveries} attempts of "
            f"{self._subscriber.handler_name}: {shortened(why)}"
        )
        if (subject := self._options.dead_letter) is not None:
            write = partial(
                _letter, change.info, self._options.durable, why, receipt.deliveries
            )
            for pause in (*_LETTER_PAUSES, None):
                try:
                    await self._subscriber.publish_dead_letter(subject, write)
                    break
                except Exception as failure:  # noqa: BLE001 - as many as transports have
                    if pause is None:
                        told += (
                            f"; its dead letter could not be published: {described(failure)}"
                        )
                        break
                await asyncio.sleep(pause)
        await _unless_done(change, change.term())
        self._subscriber.log(logging.ERROR, told)
        return Outcome.DEAD_LETTERED


def _is_subject_of(info: ObjectInfo, subject: str) -> bool:
    if info.name.isascii() and subject.startswith(f"$O.{info.bucket}.M."):
        # `info_of` has compared it with the subject; names in Latin-1 are what it lets pass.
        return True
    try:
        canonical = wire.metadata_subject(info.bucket, info.name)
    except InvalidObjectNameError:
        return False
    # Other clients omit the padding.
    return subject == canonical or subject.rstrip("=") == canonical.rstrip("=")


def _letter(
    info: ObjectInfo, durable: str | None, why: str, attempts: int, most: int
) -> dict[str, Any]:
    return letter(info, durable=durable, error=why, attempts=attempts, most=most)


class SupersededGuard(BaseMiddleware[Any, Any]):
    """Suppresses a handler's error if the version it worked on has been replaced.

    The innermost middleware, so that logs, metrics and spans do not count it as a failure.
    It keeps nothing of a message, so all messages of a subscriber share it.
    """

    def __init__(self, subscriber: ChangeHandler, /, *, context: Any) -> None:
        super().__init__(None, context=context)
        self._subscriber = subscriber

    async def __aenter__(self) -> Self:
        """Nothing is to be done before the handler runs."""
        return self

    async def consume_scope(self, call_next: Any, msg: StreamMessage[Any]) -> Any:
        """Run the handler."""
        try:
            return await call_next(msg)
        except IgnoredException:
            raise
        except Exception as error:
            change = msg.raw_message
            if not isinstance(change, ChangeMessage):
                raise
            if not await self._subscriber.is_superseded(change):
                raise
            raise _SupersededError from error

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_val: BaseException | None = None,
        exc_tb: TracebackType | None = None,
    ) -> bool | None:
        """Suppress what `consume_scope` has raised in place of the handler's error."""
        return exc_type is _SupersededError


class _SupersededError(AckMessage):
    """Takes the place of the error of a handler whose version has been replaced."""


def _ended(change: ChangeMessage) -> Outcome:
    if change.given_back:
        return Outcome.RETRIED
    return Outcome.SUPERSEDED if change.superseded else Outcome.HANDLED


async def _unless_done(change: ChangeMessage, answer: Any) -> None:
    # A handler may have acknowledged the message itself, or its bucket is gone.
    if change.is_acked:
        answer.close()
    else:
        await answer
