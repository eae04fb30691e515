"""The publisher: it stores what a handler returns as an object."""

import logging
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any, TypeGuard

from faststream import Response
from faststream.exceptions import FeatureNotSupportedException
from faststream.nats import NatsBroker, NatsPublishCommand

from faststream_objstore._faststream import HandlerCallWrapper
from faststream_objstore._faststream.publishing import (
    PlainPublisher,
    publishers_of,
    register_publisher,
)
from faststream_objstore.backends.base import Backend
from faststream_objstore.changes.delivery import ChangeMessage
from faststream_objstore.exceptions import (
    BadObjectMetaError,
    InvalidOptionError,
    NotConnectedError,
    ObjectNotFoundError,
    UnsupportedDataError,
)
from faststream_objstore.models import ObjectInfo
from faststream_objstore.publishers import content
from faststream_objstore.publishers.attached import Attachment, Declaration
from faststream_objstore.publishers.lineage import (
    Change,
    Newest,
    StaleResultError,
    is_done,
    marker_texts,
    source_of,
)
from faststream_objstore.publishers.response import ObjectPublishCommand
from faststream_objstore.publishers.specification import ResultSpecification
from faststream_objstore.publishers.template import ResultName
from faststream_objstore.store import ObjectStore
from faststream_objstore.store.expiry import life_of
from faststream_objstore.wire import metadata_subject

__all__ = ("ObjectPublisher",)

_CONTENT_TYPE = "Content-Type"
_logger = logging.getLogger("faststream_objstore")


class ObjectPublisher(PlainPublisher):
    """Stores what handlers return as objects of a bucket; see `Bucket.publisher`.

    Args:
        bucket: The bucket's declaration.
        name: The template of the objects' names.
        follow: Whether a result is deleted with its source.
        rebuild: Results with another value are treated as missing.
        content_type: The content type; derived from the result if not given.
        headers: Headers of each object.
        metadata: Metadata of each object.
        chunk_size: Bytes of a chunk.
        ttl: How long each object lives.
        title: The title in AsyncAPI.
        description: The description in AsyncAPI.
        include_in_schema: Whether AsyncAPI shows it.
    """

    specification: ResultSpecification  # type: ignore[assignment]

    def __init__(
        self,
        bucket: Declaration,
        name: str,
        *,
        follow: bool,
        rebuild: str | None,
        content_type: str | None,
        headers: Mapping[str, str] | None,
        metadata: Mapping[str, str] | None,
        chunk_size: int | None,
        ttl: timedelta | float | None,
        title: str | None,
        description: str | None,
        include_in_schema: bool,
    ) -> None:
        self.bucket: str = bucket.name
        self.template: ResultName = ResultName(self.bucket, name)
        self.follow: bool = follow
        self.rebuild: str | None = rebuild
        self.content_type: str | None = content_type
        self.metadata: dict[str, str] = dict(metadata) if _is_texts(metadata) else {}
        self.chunk_size: int | None = chunk_size
        life_of(self.bucket, name, ttl)
        self.ttl: timedelta | float | None = ttl
        self._declaration = bucket
        self._check(isinstance(follow, bool), "follow", follow, "True or False")
        for option, value in (("rebuild", rebuild), ("content_type", content_type)):
            self._check(
                value is None or (isinstance(value, str) and bool(value)),
                option,
                value,
                "a str that is not empty, or None",
            )
        for option, texts in (("headers", headers), ("metadata", metadata)):
            self._check(
                texts is None or _is_texts(texts), option, texts, "a mapping of str to str"
            )
        self._check(
            chunk_size is None or (type(chunk_size) is int and chunk_size > 0),
            "chunk_size",
            chunk_size,
            "a positive number of bytes, or None",
        )
        destination = f"$O.{self.bucket}"
        super().__init__(
            router=bucket.router,
            destination=destination,
            specification=ResultSpecification(
                self.bucket,
                name,
                follow=follow,
                router=bucket.router,
                destination=destination,
                siblings=lambda: [one.specification for one in bucket.publishers],
                title=title,
                description=description,
                include_in_schema=include_in_schema,
            ),
            headers=dict(headers or {}),
        )
        register_publisher(bucket.router, self)

    def __repr__(self) -> str:
        return f"Bucket({self.bucket!r}).publisher({self.template.text!r})"

    def _check(self, holds: bool, option: str, value: object, wanted: str) -> None:
        if not holds:
            msg = f"{self.declaration}: {option} must be {wanted}, got {value!r}."
            raise InvalidOptionError(msg, bucket=self.bucket)

    @property
    def declaration(self) -> str:
        """Where it was declared, for error messages."""
        return f"Bucket '{self.bucket}', publisher({self.template.text!r})"

    @property
    def is_attached(self) -> bool:
        """Whether the bucket belongs to a `Buckets`."""
        return self._declaration.attachment is not None

    async def publish(  # type: ignore[override]
        self,
        message: Any,
        name: str = "",
        *,
        headers: dict[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
        content_type: str | None = None,
        ttl: timedelta | float | None = None,
        correlation_id: str | None = None,
        source: ObjectInfo | None = None,
    ) -> ObjectInfo:
        """Store an object directly.

        Without a `source` it has no lineage: it replaces the existing object, and is not
        deleted with any source.

        Args:
            message: The content: anything that a handler may return except `None`. A file or
                an iterator is not closed.
            name: The object's name; by default the template, if it has no placeholders.
            headers: They override the publisher's.
            metadata: It overrides the publisher's.
            content_type: It overrides every other content type.
            ttl: How long the object lives, instead of the publisher's `ttl`; 0 means for ever.
            correlation_id: As in FastStream; a new one if not given.
            source: The version of an object from which this was made, for example after its
                change became a dead letter. It is stored as a handler's result would be.

        Returns:
            The new version. With a `source`, a deleted object if nothing was stored because a
            newer version's result exists, or the source has been deleted.

        Raises:
            InvalidObjectNameError: If there is no name, or it is invalid.
            InvalidOptionError: If an option is invalid. Otherwise as for `ObjectStore.put`.
        """
        if message is None:
            msg = f"{self.declaration}: None cannot be stored; delete the object instead."
            raise UnsupportedDataError(msg, bucket=self.bucket)
        known = source is None or isinstance(source, ObjectInfo)
        self._check(known, "source", source, "the ObjectInfo of a version")
        for option, texts in (("headers", headers), ("metadata", metadata)):
            self._check(
                texts is None or isinstance(texts, Mapping), option, texts, "a mapping"
            )
        name = name or self.template.fill({})
        command = self._command(
            ObjectPublishCommand(
                message,
                name=name,
                metadata=metadata,
                content_type=content_type,
                ttl=ttl,
                headers=dict(headers or {}),
                correlation_id=correlation_id or self.new_correlation_id(),
            )
        )
        decision = None
        if source is not None:
            backend = await self._attachment().backend_of(source.bucket)
            lineage = await source_of(source, backend, self.rebuild)
            decision = Newest(Change(source, backend, lineage), follow=self.follow)
            command.metadata |= lineage.as_metadata()
        return await self._send(command, name, decision, (), message)

    async def request(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ARG002
        """Not supported: nothing replies to an object.

        Raises:
            FeatureNotSupportedException: Always.
        """
        msg = f"{self.declaration}: an object has no reply; use publish()."
        raise FeatureNotSupportedException(msg)

    async def _publish(self, cmd: Any, *, _extra_middlewares: Iterable[Any]) -> None:
        if not self.is_taken_over():
            await self._store(cmd, _extra_middlewares)

    async def take_over(self, handler: HandlerCallWrapper[..., Any], result: Any) -> Any:
        """Store a stream at once; FastStream hands over anything else."""
        response = result if isinstance(result, Response) else Response(result)
        body = response.body
        publishers = publishers_of(handler)
        if not content.is_stream(body) and not (
            isinstance(body, bytes)
            and self.is_answered_in_json()
            and all(isinstance(one, ObjectPublisher) for one in publishers)
        ):
            return result
        try:
            self._require_storable(body, publishers)
            stored: ObjectInfo | None = None
            for publisher in publishers:
                # The broker's middlewares, as for a publish() in the handler.
                one = await publisher._store(response.as_publish_command(), ())  # noqa: SLF001
                stored = stored or one
        finally:
            await content.close(body)
        self.mark_taken_over()
        # FastStream can neither encode a stream nor send it in a reply.
        return stored

    def _require_storable(self, body: Any, publishers: list[Any]) -> None:
        kind = type(body).__name__
        others = [one for one in publishers if not isinstance(one, ObjectPublisher)]
        if others:
            msg = (
                f"{self.declaration}: the handler has returned {kind}, which can be stored "
                f"and not sent in a message, and it has another publisher, "
                f"{others[0].subject.template!r}. Return bytes, or publish() one of them."
            )
        elif len(publishers) > 1 and content.is_single_use(body):
            msg = (
                f"{self.declaration}: the handler has {len(publishers)} publishers, and "
                f"{kind} can be read once only. Return bytes or a Path, or publish() one "
                "of them."
            )
        else:
            return
        raise UnsupportedDataError(msg, bucket=self.bucket)

    async def _store(self, cmd: NatsPublishCommand, middlewares: Iterable[Any]) -> ObjectInfo:
        """Store a handler's result, unless a newer one exists.

        Returns:
            The result; a deleted object if there is none.
        """
        subscriber, message = self.current()
        command = self._command(cmd)
        command.correlation_id = command.correlation_id or getattr(
            message, "correlation_id", None
        )
        name = command.name or self.template.fill(message.path if message else {})
        change = await self._change_of(subscriber, message)
        if cmd.body is None or (
            # The handler was told of a deletion, so the result is deleted, whatever it
            # returns.
            change is not None
            and change.info.deleted
            and self.follow
            and subscriber.options.event == "change"
            and command.name is None
        ):
            await self._retire(name, change)
            return ObjectInfo(name=name, bucket=self.bucket, deleted=True)
        decision = None
        if change is not None:
            decision = Newest(change, follow=self.follow and command.name is None)
            command.metadata |= change.source.as_metadata()
        return await self._send(command, name, decision, middlewares, cmd.body)

    async def _retire(self, name: str, change: Change | None) -> None:
        if change is not None:
            await self._handle().retire(name, lambda now: marker_texts(now, change))

    async def _send(
        self,
        command: ObjectPublishCommand,
        name: str,
        decision: Newest | None,
        middlewares: Iterable[Any],
        returned: Any,
    ) -> ObjectInfo:
        # A name that cannot be one is refused here: its content type would be asked first.
        metadata_subject(self.bucket, name)

        async def send(sent: Any) -> ObjectInfo | None:
            data, encoding = await self._encoded(sent.body, name)
            headers = dict(sent.headers)
            if sent.correlation_id:
                headers.setdefault("correlation_id", sent.correlation_id)
            kind = command.content_type or self._given_type(headers) or encoding
            for key in [one for one in headers if one.lower() == "content-type"]:
                del headers[key]
            headers[_CONTENT_TYPE] = kind or content.content_type_for(sent.body, name)
            try:
                stored = await self._handle().put(
                    name,
                    data,
                    headers=headers,
                    metadata=command.metadata,
                    chunk_size=self.chunk_size,
                    ttl=command.ttl,
                    # The decision is made by a mode too, although it is not one for users.
                    mode="overwrite" if decision is None else decision,  # type: ignore[arg-type]
                )
            except StaleResultError as error:
                # Nobody should see this as an error, so middlewares do not see it.
                _logger.info(
                    "Bucket '%s': the result %r is not stored: %s.", self.bucket, name, error
                )
                return None
            self.record(returned, command)
            return stored

        stored: ObjectInfo | None = await self.through_middlewares(command, send, middlewares)
        return stored or ObjectInfo(name=name, bucket=self.bucket, deleted=True)

    async def _encoded(self, body: Any, name: str) -> tuple[Any, str | None]:
        broker = self._broker()
        try:
            return await content.encoded(broker, body)
        except (TypeError, ValueError) as error:
            # The codecs' own errors name neither the bucket nor the object.
            msg = (
                f"Bucket '{self.bucket}', object {name!r}: the broker cannot encode a result "
                f"of type {type(body).__name__} ({error}). Return bytes, str, a Path, a "
                "stream, or what it can encode, such as a dict or a pydantic model."
            )
            raise UnsupportedDataError(msg, bucket=self.bucket, name=name) from error

    @staticmethod
    def _given_type(headers: Mapping[str, str]) -> str | None:
        return next((v for k, v in headers.items() if k.lower() == "content-type"), None)

    def _command(self, cmd: Any) -> ObjectPublishCommand:
        """The command that middlewares see."""
        given = {key.lower() for key in cmd.headers}
        own = {k: v for k, v in self.headers.items() if k.lower() not in given}
        said = self._given_type(cmd.headers)
        content_type = getattr(cmd, "content_type", None) or said or self.content_type
        ttl = getattr(cmd, "ttl", None)
        return ObjectPublishCommand(
            cmd.body,
            name=getattr(cmd, "name", None),
            metadata=self.metadata | getattr(cmd, "metadata", {}),
            content_type=content_type,
            ttl=self.ttl if ttl is None else ttl,
            subject=self.subject.template,
            headers=own | cmd.headers,
            correlation_id=cmd.correlation_id,
        )

    async def _change_of(self, subscriber: Any, message: Any) -> Change | None:
        change = getattr(message, "raw_message", None)
        if not isinstance(change, ChangeMessage):
            return None
        return await self._change(change, await subscriber.backend())

    async def _change(self, change: ChangeMessage, backend: Backend) -> Change:
        source = await source_of(change.info, backend, self.rebuild)
        return Change(change.info, backend, source, change.replayed)

    async def follow_deletion(self, change: ChangeMessage, backend: Backend) -> None:
        """Delete the result of a deleted source, unless it belongs to a newer put.

        Args:
            change: The deletion.
            backend: The source's bucket.
        """
        if self.follow:
            await self._retire(
                self.template.fill(change.path), await self._change(change, backend)
            )

    async def is_done(self, change: ChangeMessage, backend: Backend) -> bool:
        """Whether the result of this very change already exists.

        Args:
            change: The change.
            backend: The source's bucket.
        """
        name = self.template.fill(change.path)
        try:
            info = await self._handle().get_info(name, show_deleted=True)
        except (ObjectNotFoundError, BadObjectMetaError):
            return False
        return is_done(info, await source_of(change.info, backend, self.rebuild))

    def _attachment(self) -> Attachment:
        attachment: Attachment | None = self._declaration.attachment
        if attachment is None:
            msg = f"{self.declaration}: the bucket has no broker; pass it to Buckets(...)."
            raise NotConnectedError(msg, bucket=self.bucket)
        return attachment

    def _handle(self) -> ObjectStore:
        return self._attachment().handle(self.bucket)

    def _broker(self) -> NatsBroker:
        broker = self._attachment().broker
        if broker is None:
            msg = f"{self.declaration}: its Buckets has no broker; attach it to one."
            raise NotConnectedError(msg, bucket=self.bucket)
        return broker


def _is_texts(value: object) -> TypeGuard[Mapping[str, str]]:
    return isinstance(value, Mapping) and all(
        isinstance(one, str) for pair in value.items() for one in pair
    )
