"""What a handler returns to say more than the content, and how it travels to the store."""

from collections.abc import Mapping
from typing import Any

from faststream import Response
from faststream.nats import NatsPublishCommand
from faststream.response import PublishType

__all__ = ("ObjectPublishCommand", "ObjectResponse")


class ObjectPublishCommand(NatsPublishCommand):
    """A result on its way to a bucket, as `publish_scope` of middlewares sees it.

    Its `destination` is `$O.<bucket>`, one for all objects of a bucket.

    Attributes:
        name: The object's name, where the handler or the caller chose it.
        metadata: Free text by key, kept with the object.
        content_type: The content type, where it is given.
    """

    def __init__(
        self,
        message: Any,
        *,
        name: str | None = None,
        metadata: Mapping[str, str] | None = None,
        content_type: str | None = None,
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


class ObjectResponse(Response):
    """A result, with what only an object has.

    FastStream's own `Response(body, headers=...)` works as well. A result whose name is
    given here neither goes with its source nor counts as done when a change is repeated.

    ```python
    @scans.on_put("{day}/*.tif", durable="ocr")
    @texts.publisher("{day}/unknown.txt")
    async def read(scan: Annotated[bytes, FromObject()]) -> ObjectResponse:
        text, title = recognize(scan)
        return ObjectResponse(text, name=f"{title}.txt", metadata={"language": "en"})
    ```

    Args:
        body: The content.
        name: The object's name, in place of the publisher's template.
        headers: Header values by name; they win over the publisher's.
        metadata: Free text by key; it wins over the publisher's.
        content_type: The content type; it wins over everything else that says it.
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
        correlation_id: str | None = None,
    ) -> None:
        super().__init__(body, headers=headers, correlation_id=correlation_id)
        self.name: str | None = name
        self.metadata: dict[str, str] = dict(metadata or {})
        self.content_type: str | None = content_type

    def as_publish_command(self) -> ObjectPublishCommand:
        """What FastStream hands to each publisher."""
        return ObjectPublishCommand(
            self.body,
            name=self.name,
            metadata=self.metadata,
            content_type=self.content_type,
            headers=dict(self.headers),
            correlation_id=self.correlation_id,
        )
