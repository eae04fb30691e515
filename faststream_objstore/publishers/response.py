"""A response that says more than the content, and the command that carries it to the store."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from faststream import Response
from faststream.nats import NatsPublishCommand
from faststream.response import PublishType

__all__ = ("ObjectPublishCommand", "ObjectResponse")


class ObjectPublishCommand(NatsPublishCommand):
    """A result on its way to a bucket, as it appears in middlewares' `publish_scope`.

    Its `destination` is `$O.<bucket>`, the same for all objects of a bucket.

    Attributes:
        name: The object's name, if the handler or the caller chose it.
        metadata: Free text by key, kept with the object.
        content_type: The content type, if given.
        ttl: How long the object lives, if given; 0 means for ever.
    """

    def __init__(
        self,
        message: Any,
        *,
        name: str | None = None,
        metadata: Mapping[str, str] | None = None,
        content_type: str | None = None,
        ttl: timedelta | float | None = None,
        subject: str = "",
        headers: dict[str, str] | None = None,
        correlation_id: str | None = None,
    ) -> None:
        super().__init__(
            message,
            subject=subject,
            headers=headers,
            correlation_id=correlation_id,
            _publish_type=PublishType.PUBLISH,
        )
        self.name: str | None = name
        self.metadata: dict[str, str] = dict(metadata or {})
        self.content_type: str | None = content_type
        self.ttl: timedelta | float | None = ttl


class ObjectResponse(Response):
    """A result, with the additional properties of an object.

    FastStream's own `Response(body, headers=...)` works as well. A result that is named here
    is not deleted with its source, and does not count as done when a change is repeated.

    ```python
    @scans.on_put("{day}/*.tif", durable="ocr")
    @texts.publisher("{day}/unknown.txt")
    async def read(scan: Annotated[bytes, FromObject()]) -> ObjectResponse:
        text, title = recognize(scan)
        return ObjectResponse(text, name=f"{title}.txt", metadata={"language": "en"})
    ```

    Args:
        body: The content.
        name: The object's name, instead of the publisher's template.
        headers: Header values by name; they override the publisher's.
        metadata: Free text by key; it overrides the publisher's.
        content_type: The content type; it overrides every other content type.
        ttl: How long the object lives, as for `put`, instead of the publisher's `ttl`; 0 means
            for ever.
        correlation_id: As in FastStream.
    """

    def __init__(
        self,
        body: Any,
        *,
        name: str | None = None,
        headers: dict[str, Any] | None = None,
        metadata: Mapping[str, str] | None = None,
        content_type: str | None = None,
        ttl: timedelta | float | None = None,
        correlation_id: str | None = None,
    ) -> None:
        super().__init__(body, headers=headers, correlation_id=correlation_id)
        self.name: str | None = name
        self.metadata: dict[str, str] = dict(metadata or {})
        self.content_type: str | None = content_type
        self.ttl: timedelta | float | None = ttl

    def as_publish_command(self) -> ObjectPublishCommand:
        """The command that FastStream hands to each publisher."""
        return ObjectPublishCommand(
            self.body,
            name=self.name,
            metadata=self.metadata,
            content_type=self.content_type,
            ttl=self.ttl,
            headers=dict(self.headers),
            correlation_id=self.correlation_id,
        )
