"""How AsyncAPI shows a publisher of objects: as a separate channel."""

from collections.abc import Callable, Sequence
from typing import Any

from faststream.nats import NatsRouter
from faststream.nats.publisher.config import NatsPublisherSpecificationConfig
from faststream.nats.publisher.specification import NatsPublisherSpecification
from faststream.specification.schema import Message, Operation, PublisherSpec
from faststream.specification.schema.bindings import ChannelBinding, nats

from faststream_objstore._faststream import resolve_payloads, to_camelcase
from faststream_objstore._faststream.annotations import result_schema
from faststream_objstore.channels import OwnChannel

__all__ = ("ResultSpecification",)


class ResultSpecification(OwnChannel, NatsPublisherSpecification):
    """The channel of one publisher.

    Args:
        bucket: The bucket's name.
        template: The template of the objects' names.
        follow: Whether results are deleted with their sources.
        router: Where the publisher is registered.
        destination: The channel's address.
        siblings: Returns the bucket's specifications; those that look alike are numbered.
        title: The channel's key, if the user gives one.
        description: The user's text.
        include_in_schema: Whether it is shown.
    """

    def __init__(
        self,
        bucket: str,
        template: str,
        *,
        follow: bool,
        router: NatsRouter,
        destination: str,
        siblings: Callable[[], "Sequence[ResultSpecification]"],
        title: str | None,
        description: str | None,
        include_in_schema: bool,
    ) -> None:
        super().__init__(
            router.config,  # type: ignore[arg-type]
            NatsPublisherSpecificationConfig(
                subject=destination,
                schema_=None,
                title_=title,
                description_=description,
                include_in_schema=include_in_schema,
            ),
        )
        self._bucket = bucket
        self._template = template
        self._follow = follow
        self.siblings: Callable[[], Sequence[OwnChannel]] = siblings

    @property
    def name(self) -> str:
        """The channel's key: `thumbs: {user}/{stem}.webp:Publisher`."""
        return self.channel_key

    @property
    def own_key(self) -> str:
        """The bucket and the template, or the title."""
        return self.config.title_ or f"{self._bucket}: {self._template}:Publisher"

    @property
    def description(self) -> str:
        """The user's text, the bucket and the template.

        AsyncAPI turns `/` into `.` in keys, so the template would not be recognizable.
        """
        text = f"Stored in the bucket `{self._bucket}` as `{self._template}`."
        if self._follow:
            text += " A result of an object goes when that object is deleted."
        return f"{own}\n\n{text}" if (own := self.config.description_) else text

    def get_payloads(self) -> list[tuple[dict[str, Any], str]]:
        """The schema of what each handler returns."""
        prefix = f"{self.name}:Message"
        return [
            (schema, to_camelcase(getattr(call, "__name__", "")))
            for call in self.calls
            if (schema := result_schema(call, prefix)) is not None
        ]

    def get_schema(self) -> dict[str, PublisherSpec]:
        """The channel by its key."""
        key = self.name
        return {
            key: PublisherSpec(
                address=self.config.subject,
                description=self.description,
                operation=Operation(
                    message=Message(
                        title=f"{key}:Message",
                        payload=resolve_payloads(self.get_payloads(), "Publisher"),
                    ),
                    bindings=None,
                ),
                bindings=ChannelBinding(
                    nats=nats.ChannelBinding(subject=self.config.subject, queue=None)
                ),
            )
        }
