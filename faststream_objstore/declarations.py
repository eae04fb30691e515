"""Checks of what a broker's handlers ask for, made at its start and not for each message."""

from collections.abc import Iterable, Mapping
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from faststream.nats import NatsBroker

from faststream_objstore._faststream import (
    Asked,
    PlainSubscriber,
    addressed_captures,
    asked_of,
)
from faststream_objstore.exceptions import InvalidOptionError, InvalidPatternError
from faststream_objstore.fields import BucketField
from faststream_objstore.models import ObjectInfo
from faststream_objstore.store import ObjectReader, ObjectStore

__all__ = ("check_handlers",)


_MARKERS: Mapping[type, str] = {
    ObjectStore: 'Annotated[ObjectStore, FromBucket("...")]',
    ObjectReader: 'Annotated[ObjectReader, OpenObject("...", "...")]',
}


def check_handlers(broker: NatsBroker) -> None:
    """Refuse handlers whose parameters would make every message fail.

    Raises:
        InvalidOptionError: If a parameter cannot get what it asks for.
        InvalidPatternError: If the name of an object needs a value that is not captured.
    """
    for asked in asked_of(broker):
        _require_called(asked)
        if isinstance(asked.field, BucketField):
            _require_type(asked, asked.field)
            _require_captures(asked, asked.field)
        elif asked.is_body:
            _require_no_bare_store(asked)
    _require_object_infos(asked_of(broker))


def _require_called(asked: Asked) -> None:
    """Refuse a bare `FromBucket`, without its arguments: FastDepends ignores it."""
    given = (*_metadata(asked.annotation), asked.default)
    for one in given:
        if getattr(one, "__module__", "").startswith("faststream_objstore.params") and (
            (isinstance(one, type) and issubclass(one, BucketField))
            or getattr(one, "__name__", "") == "OpenObject"
        ):
            name = one.__name__
            arguments = '"photos"' if name == "FromBucket" else '"photos", "cat.png"'
            msg = f"{asked.where}: {name} has to be called: write {name}({arguments})."
            raise InvalidOptionError(msg)


def _require_no_bare_store(asked: Asked) -> None:
    for kind, marker in _MARKERS.items():
        if asked.annotation is kind:
            msg = (
                f"{asked.where}: nothing says where the {kind.__name__} comes from, so the "
                f"message would have to have it; write {marker}."
            )
            raise InvalidOptionError(msg)


def _require_type(asked: Asked, field: BucketField) -> None:
    if field.gives is not None and not accepts(asked.annotation, field.gives):
        msg = (
            f"{asked.where}: {field!r} gives {_named(field.gives)}, which is no "
            f"{_named(asked.annotation)}. Annotate it as {_named(field.gives)}"
        )
        content = field.gives.__name__ == "ObjectData"
        msg += f", or add {field.converter}." if content else "."
        raise InvalidOptionError(msg, bucket=field.bucket_name)


def _require_captures(asked: Asked, field: BucketField) -> None:
    change = isinstance(asked.subscriber, PlainSubscriber)
    if field.of_change and not change:
        msg = (
            f"{asked.where}: {field!r} is the object that fired, and this is no handler of a "
            "bucket's on_put, on_delete or on_change; give a bucket and a name."
        )
        raise InvalidOptionError(msg)
    # A user's own parser may supply any value.
    if asked.is_parsed or not field.placeholders:
        return
    captures = asked.subscriber.captures if change else addressed_captures(asked.subscriber)
    for name in field.placeholders:
        if name not in captures:
            listed = ", ".join(map(repr, captures)) or "nothing"
            what = "pattern" if change else "subject"
            msg = (
                f"{asked.where}: {field!r} needs the Path() value {name!r}, but the {what} "
                f"captures {listed}. Write {{{name}}} in the {what}."
            )
            raise InvalidPatternError(msg, bucket=field.bucket_name)


def _require_object_infos(asked: Iterable[Asked]) -> None:
    """Refuse handlers of changes whose parameters cannot be the `ObjectInfo`."""
    seen: dict[int, str] = {}
    for one in asked:
        if not isinstance(one.subscriber, PlainSubscriber) or not one.is_body or one.is_parsed:
            continue
        hint = (
            "a value that the pattern captures is Annotated[str, Path()], an object's content "
            "Annotated[bytes, FromObject()]"
        )
        if not accepts(one.annotation, ObjectInfo):
            msg = (
                f"{one.where}: a change handler is called with an ObjectInfo, which is no "
                f"{_named(one.annotation)}. Annotate the parameter as ObjectInfo; {hint}."
            )
            raise InvalidOptionError(msg)
        first = seen.setdefault(id(one.call), one.parameter)
        if first != one.parameter:
            msg = (
                f"{one.where}: a change handler is called with one ObjectInfo, which "
                f"{first!r} takes; {hint}."
            )
            raise InvalidOptionError(msg)


def accepts(annotation: Any, given: type) -> bool:
    """Whether a value with this annotation may be an instance of a class, as far as known."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return accepts(get_args(annotation)[0], given)
    if origin in {Union, UnionType}:
        return any(accepts(one, given) for one in get_args(annotation))
    if origin is not None:
        annotation = origin
    if annotation is Any or not isinstance(annotation, type):
        # `Any`, `Self`, or a string that does not resolve: it cannot be known.
        return annotation is not None
    if annotation is type(None):
        return False
    config = getattr(annotation, "model_config", None)
    if isinstance(config, dict) and config.get("from_attributes"):
        return True
    if getattr(annotation, "_is_protocol", False):
        return True
    return issubclass(given, annotation)


def _metadata(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()


def _named(annotation: Any) -> str:
    if get_origin(annotation) is Annotated:
        annotation = get_args(annotation)[0]
    if annotation is bytes or getattr(annotation, "__name__", "") == "ObjectData":
        return "bytes"
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return annotation.__name__
    return str(annotation).replace("typing.", "")
