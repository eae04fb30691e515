"""How AsyncAPI shows a change subscriber: one channel of its own."""

from collections.abc import Callable, Sequence
from typing import Any

from faststream.nats import NatsRouter
from faststream.specification.schema import Message, Operation, SubscriberSpec
from faststream.specification.schema.bindings import ChannelBinding, nats

from faststream_objstore._faststream import (
    CallsCollection,
    NatsSubscriberSpecification,
    NatsSubscriberSpecificationConfig,
    resolve_payloads,
    to_camelcase,
)
from faststream_objstore.changes.options import ChangeOptions
from faststream_objstore.channels import OwnChannel
from faststream_objstore.models import ObjectInfo

__all__ = ("ChangeSpecification",)

_VERBS = {
    "put": "put",
    "delete": "deleted",
    "expire": "expired",
    "change": "put, deleted or expired",
}


class ChangeSpecification(OwnChannel, NatsSubscriberSpecification):
    """The channel of one change subscriber.

    Args:
        options: What the subscriber wants.
        router: Where it is registered.
        calls: Its handlers.
        siblings: Gives the bucket's specifications; two that look alike are numbered.
        subject: What the channel listens to.
        title: The channel's key, where the user gives one.
        description: The user's text.
        include_in_schema: Whether it is shown at all.
    """

    def __init__(
        self,
        options: ChangeOptions,
        *,
        router: NatsRouter,
        calls: CallsCollection[Any],
        siblings: Callable[[], Sequence["ChangeSpecification"]],
        subject: str,
        title: str | None,
        description: str | None,
        include_in_schema: bool,
    ) -> None:
        super().__init__(
            router.config,  # type: ignore[arg-type]
            NatsSubscriberSpecificationConfig(
                subject=subject,
                queue=None,
                title_=title,
                description_=description,
                include_in_schema=include_in_schema,
            ),
            calls,
        )
        self.options = options
        self.siblings: Callable[[], Sequence[OwnChannel]] = siblings

    @property
    def name(self) -> str:
        """The channel's key: `photos put {user}/*.png:MakeThumbnail`.

        What FastStream's page takes for the subject, the part before the colon, has spaces, so
        that nothing can be published to it by mistake.
        """
        return self.channel_key

    @property
    def channel_labels(self) -> list[str]:
        """What the channel is about."""
        return [self.options.title]

    @property
    def description(self) -> str:
        """The user's text, and the bucket, the event and the pattern.

        AsyncAPI turns `/` into `.` in keys, so the pattern would be lost.
        """
        options = self.options
        text = (
            f"Objects of the bucket `{options.bucket}` whose name matches "
            f"`{options.pattern}`, when they are {_VERBS[options.event]}."
        )
        if options.durable:
            text += f" Durable: `{options.durable}`."
        return f"{own}\n\n{text}" if (own := super().description) else text

    def _channel_key(self, address: str, *, split: bool) -> str:  # noqa: ARG002
        return self.channel_key

    @property
    def own_key(self) -> str:
        """The bucket, the event, the pattern and the handler; or the title."""
        options = self.options
        return self.config.title_ or (
            f"{options.bucket} {options.event} {options.pattern}:{self.call_name}"
        )

    def get_payloads(self) -> list[tuple[dict[str, Any], str]]:
        """The schema of `ObjectInfo`, for each handler."""
        # FastStream's AsyncAPI needs pydantic, this package does not.
        from pydantic import TypeAdapter  # noqa: PLC0415

        names = [call.name for call in self.calls] or [self.call_name]
        return [
            (TypeAdapter(ObjectInfo).json_schema(), to_camelcase(name)) for name in names[:1]
        ]

    def get_schema(self) -> dict[str, SubscriberSpec]:
        """The channel by its key."""
        key = self.name
        return {
            key: SubscriberSpec(
                address=self.config.subject,
                description=self.description,
                operation=Operation(
                    message=Message(
                        title=f"{key}:Message", payload=resolve_payloads(self.get_payloads())
                    ),
                    bindings=None,
                ),
                bindings=ChannelBinding(
                    nats=nats.ChannelBinding(subject=self.config.subject, queue=None)
                ),
            )
        }
