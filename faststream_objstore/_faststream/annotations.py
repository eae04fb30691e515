"""Return types that mean content stored unchanged, and the schema that AsyncAPI shows."""

import collections.abc
import inspect
import io
import os
import typing
from collections.abc import Callable
from dataclasses import is_dataclass
from types import UnionType
from typing import IO, Annotated, Any, BinaryIO, NewType, TypeVar, Union, get_args, get_origin

from fast_depends.pydantic._compat import create_model, get_config_base
from fast_depends.utils import get_typed_signature, is_async_gen_callable, is_gen_callable
from faststream.specification.asyncapi.message import get_model_schema

__all__ = ("can_cast", "result_schema")

_BINARY = (bytes, bytearray, memoryview, os.PathLike, io.IOBase, IO, BinaryIO)
_STREAMS = (
    collections.abc.Iterator,
    collections.abc.AsyncIterable,
)


def can_cast(annotation: Any) -> bool:
    """Whether pydantic can validate what a function with this return type returns.

    It cannot if a stream, which is stored by then, may be returned, also in a `Response`. Of
    an `Iterable` it would make an iterator, even if that is a list.
    """
    return not any(
        _is_binary(one) or _is_response(one) or get_origin(one) is collections.abc.Iterable
        for one in _members(annotation)
    )


def _has_binary(annotation: Any) -> bool:
    """Whether a type, or a member of a union, is content that is stored unchanged."""
    return any(_is_binary(one) for one in _members(annotation))


def result_schema(func: Callable[..., Any], prefix: str) -> dict[str, Any] | None:
    """The schema of what a function returns; a file or a stream is a binary string.

    Args:
        func: The function.
        prefix: The prefix of its models' schema names.

    Returns:
        `None` if the function has no return annotation.
    """
    if is_gen_callable(func) or is_async_gen_callable(func):
        annotation: Any = bytes
    else:
        _, annotation = get_typed_signature(func)
    if annotation is inspect.Signature.empty or annotation is None:
        return None
    if _has_binary(annotation):
        members = tuple(bytes if _is_binary(one) else one for one in _members(annotation))
        annotation = Union[members]  # noqa: UP007 - of members that are not known before
    members = _members(annotation)
    if members == (type(None),) or any(_is_response(one) for one in members):
        return None
    return get_model_schema(
        create_model("", __config__=get_config_base(), response__=(annotation, ...)),
        prefix=prefix,
    )


def _members(annotation: Any) -> tuple[Any, ...]:
    if get_origin(annotation) is Annotated:
        return _members(get_args(annotation)[0])
    if get_origin(annotation) in {Union, UnionType}:
        return tuple(member for one in get_args(annotation) for member in _members(one))
    if isinstance(annotation, NewType):
        return _members(annotation.__supertype__)
    if isinstance(annotation, TypeVar) and annotation.__bound__ is not None:
        return _members(annotation.__bound__)
    if type(annotation).__name__ == "TypeAliasType":
        # Python's own, or that of typing_extensions, which is another class.
        return _members(annotation.__value__)
    return (annotation,)


def _is_binary(annotation: Any) -> bool:
    kind = get_origin(annotation) or annotation
    if kind is typing.IO or kind is typing.BinaryIO:
        return True
    if not inspect.isclass(kind) or hasattr(kind, "model_fields") or is_dataclass(kind):
        return False
    if kind is collections.abc.Iterable:
        # A list of such pieces would be stored as JSON, but nobody annotates it like this.
        return any(_is_binary(one) for one in get_args(annotation))
    return issubclass(kind, (*_BINARY[:5], *_STREAMS)) or callable(getattr(kind, "read", None))


def _is_response(annotation: Any) -> bool:
    from faststream import Response  # noqa: PLC0415

    return inspect.isclass(annotation) and issubclass(annotation, Response)
