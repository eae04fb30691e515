"""Checks of object publishers, made before the first message."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from faststream.nats import NatsBroker

from faststream_objstore._faststream.publishing import (
    PublishedBy,
    addressed_captures,
    published_by,
)
from faststream_objstore.bucket import Bucket
from faststream_objstore.changes.subscriber import ChangeSubscriber
from faststream_objstore.exceptions import (
    BucketNotDeclaredError,
    InvalidOptionError,
    InvalidPatternError,
)
from faststream_objstore.publishers.publisher import ObjectPublisher

__all__ = ("check_publishers",)


def check_publishers(broker: NatsBroker, declared: Mapping[str, Bucket]) -> None:
    """Compare the publishers of a broker's handlers with what their subscribers receive.

    Args:
        broker: The broker.
        declared: The buckets that are declared for it, by name.

    Raises:
        BucketNotDeclaredError: If a publisher's bucket belongs to no `Buckets`.
        InvalidPatternError: If a name uses values that neither the pattern nor the subject
            captures, or if results would trigger the handler that makes them.
        InvalidOptionError: If two publishers of a handler write to the same name.
    """
    for handler in published_by(broker):
        publishers = [one for one in handler.publishers if isinstance(one, ObjectPublisher)]
        for publisher in publishers:
            _require_attached(handler, publisher)
            _require_captures(handler, publisher)
            _require_no_loop(handler, publisher, declared)
        _require_distinct(handler, publishers)


def _require_attached(handler: PublishedBy, publisher: ObjectPublisher) -> None:
    # A `Buckets` without a broker is accepted: it may be attached before the first message.
    if not publisher.is_attached:
        msg = (
            f"{handler.name}: {publisher.declaration}: the Bucket belongs to no Buckets; pass "
            "it to the Buckets(broker, ...) of this broker, or nothing can be stored in it."
        )
        raise BucketNotDeclaredError(msg, bucket=publisher.bucket)


def _require_captures(handler: PublishedBy, publisher: ObjectPublisher) -> None:
    subscriber: Any = handler.subscriber
    captures: list[str]
    if isinstance(subscriber, ChangeSubscriber):
        captures = list(subscriber.options.names.captures)
        heard, what = subscriber.options.declaration, "pattern"
    else:
        # A user's own parser may supply any value.
        if handler.parses:
            return
        captures = addressed_captures(subscriber)
        heard, what = f"subscriber({str(subscriber.subject.template)!r})", "subject"
    for name in publisher.template.placeholders:
        if name not in captures:
            listed = ", ".join(map(repr, captures)) or "nothing"
            msg = (
                f"{publisher.declaration} of {handler.name}: the name asks for {name!r}, "
                f"but the {what} of {heard} captures {listed}. Write {{{name}}} there, or "
                "leave it out of the name."
            )
            raise InvalidPatternError(msg, bucket=publisher.bucket)


def _require_no_loop(
    handler: PublishedBy, publisher: ObjectPublisher, declared: Mapping[str, Bucket]
) -> None:
    subscriber: Any = handler.subscriber
    if not isinstance(subscriber, ChangeSubscriber):
        return
    options = subscriber.options
    if options.event in {"delete", "expire"}:
        return
    if not _arrives(publisher.bucket, options.bucket, declared):
        return
    name = publisher.template.fill(dict.fromkeys(publisher.template.placeholders, "x"))
    if options.names.match(name) is not None:
        where = (
            "in the same bucket"
            if options.bucket == publisher.bucket
            else f"in the bucket '{options.bucket}', which follows '{publisher.bucket}'"
        )
        msg = (
            f"{publisher.declaration} of {handler.name}: a result such as {name!r} matches "
            f"{options.pattern!r} {where}, so each would fire the handler again, for ever. "
            "Store results in another bucket, or narrow the pattern."
        )
        raise InvalidPatternError(msg, bucket=publisher.bucket)


def _arrives(written: str, heard: str, declared: Mapping[str, Bucket]) -> bool:
    """Whether what is stored in one bucket of this domain arrives in another."""
    waiting, seen = [heard], set[str]()
    while waiting:
        one = waiting.pop()
        if one == written:
            return True
        if one in declared and one not in seen:
            seen.add(one)
            # A bucket in another domain may have the name of one in this.
            origins = declared[one].config.origins
            waiting += [origin.bucket for origin in origins if origin.domain is None]
    return False


def _require_distinct(handler: PublishedBy, publishers: list[ObjectPublisher]) -> None:
    names = Counter((one.bucket, one.template.text) for one in publishers)
    for (bucket, name), count in names.items():
        if count > 1:
            msg = (
                f"Bucket '{bucket}': {handler.name} has {count} publishers of {name!r}, and "
                "the last would replace what the others have stored; leave one."
            )
            raise InvalidOptionError(msg, bucket=bucket)
