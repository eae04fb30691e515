"""Handlers whose parameters would make each message fail are refused at start."""

from typing import Annotated, Any

import pytest
from faststream import Depends, Path
from faststream.nats import NatsBroker, NatsMessage, TestNatsBroker
from pydantic import BaseModel

from faststream_objstore.bucket import Bucket
from faststream_objstore.buckets import Buckets
from faststream_objstore.exceptions import (
    InvalidOptionError,
    InvalidPatternError,
    ObjStoreError,
)
from faststream_objstore.models import ObjectData, ObjectInfo
from faststream_objstore.params import (
    FromBucket,
    FromObject,
    LiveObject,
    OpenObject,
    StatObject,
)
from faststream_objstore.store import ObjectReader, ObjectStore
from faststream_objstore.testing import NatsServer
from tests.changes.support import soon


class Upload(BaseModel):
    name: str


async def as_dict(info: dict[str, Any]) -> None: ...


async def as_model(info: Upload) -> None: ...


async def without_path(info: ObjectInfo, user: str) -> None: ...


async def with_default(info: ObjectInfo, limit: int = 5) -> None: ...


async def only_user(user: str) -> None: ...


async def two_infos(info: ObjectInfo, other: ObjectInfo) -> None: ...


async def not_called(store: Annotated[ObjectStore, FromBucket]) -> None: ...


async def not_called_default(content: bytes = FromObject) -> None: ...  # type: ignore[assignment]


async def not_called_function(reader: Annotated[ObjectReader, OpenObject]) -> None: ...


async def bare_store(store: ObjectStore) -> None: ...


async def bare_reader(reader: ObjectReader) -> None: ...


async def content_as_int(number: Annotated[int, FromObject()]) -> None: ...


async def content_as_text(text: Annotated[str, FromObject("photos", "a")]) -> None: ...


async def live_as_model(prices: Annotated[Upload, LiveObject("photos", "a")]) -> None: ...


async def info_as_bytes(info: Annotated[bytes, StatObject()]) -> None: ...


async def store_as_text(store: Annotated[str, FromBucket("photos")]) -> None: ...


async def not_captured(text: Annotated[bytes, FromObject("photos", "{usr}.txt")]) -> None: ...


def part(text: Annotated[bytes, FromObject("photos", "{usr}.txt")]) -> bytes:
    return text


async def in_dependency(text: Annotated[bytes, Depends(part)]) -> None: ...


CHANGES: list[tuple[Any, str]] = [
    (as_dict, r"as_dict\(\), parameter 'info': .* ObjectInfo, which is no dict"),
    (as_model, "which is no Upload. Annotate the parameter as ObjectInfo"),
    (without_path, r"'user': .* no str.*Annotated\[str, Path\(\)\]"),
    (with_default, "'limit': .* no int"),
    (only_user, r"'user': .* no str"),
    (two_infos, "'other': a change handler is called with one ObjectInfo, which 'info' takes"),
    (not_called, r"'store': FromBucket has to be called: write FromBucket\(\"photos\"\)"),
    (not_called_default, "'content': FromObject has to be called"),
    (not_called_function, "'reader': OpenObject has to be called"),
    (bare_store, r"'store': nothing says .* FromBucket\("),
    (bare_reader, r"'reader': nothing says .* OpenObject\("),
    (content_as_int, r"'number': FromObject\(\) gives bytes, which is no int"),
    (content_as_text, "gives bytes, which is no str. .* add decode=True"),
    (live_as_model, "gives bytes, which is no Upload. Annotate it as bytes, or add load="),
    (info_as_bytes, "gives ObjectInfo, which is no bytes"),
    (store_as_text, "gives ObjectStore, which is no str"),
    (not_captured, "needs the Path.. value 'usr', but the pattern captures 'user'"),
    (in_dependency, r"part\(\) \(for in_dependency\), .*'usr', but the pattern"),
]
MESSAGES = [one for one in CHANGES if one[0] in {not_called, bare_store, store_as_text}]


async def refusal(broker: NatsBroker, *, in_memory: bool) -> str:
    with pytest.raises(ObjStoreError) as caught:
        if in_memory:
            async with TestNatsBroker(broker):
                pass
        else:
            await soon(broker.start())
    assert isinstance(caught.value, (InvalidOptionError, InvalidPatternError))
    assert not broker.running
    return str(caught.value)


def broker_of(url: str, bucket: str) -> tuple[NatsBroker, Bucket]:
    broker = NatsBroker(url, logger=None)
    declared = Bucket(bucket)
    Buckets(broker, declared, Bucket("photos"))
    return broker, declared


@pytest.mark.parametrize("in_memory", [True, False], ids=["memory", "server"])
@pytest.mark.parametrize("handler,why", CHANGES, ids=lambda one: getattr(one, "__name__", ""))
async def test_change_handler_that_could_never_run_is_refused_at_start(
    nats_server: NatsServer, bucket_name: str, handler: Any, why: str, in_memory: bool
) -> None:
    broker, bucket = broker_of(nats_server.url, bucket_name)
    bucket.on_put("{user}/**")(handler)

    with pytest.raises(AssertionError, match=why):
        raise AssertionError(await refusal(broker, in_memory=in_memory))


@pytest.mark.parametrize("handler,why", MESSAGES, ids=lambda one: getattr(one, "__name__", ""))
async def test_message_handler_that_could_never_run_is_refused_at_start(
    bucket_name: str, handler: Any, why: str
) -> None:
    broker, _ = broker_of("nats://nowhere", bucket_name)
    broker.subscriber("ask.{user}")(handler)

    with pytest.raises(AssertionError, match=why):
        raise AssertionError(await refusal(broker, in_memory=True))


async def test_handlers_that_can_run_are_not_refused(bucket_name: str) -> None:
    broker, bucket = broker_of("nats://nowhere", bucket_name)
    called: list[str] = []

    @bucket.on_put("{user}/{rest:path}")
    async def one(
        info: ObjectInfo | None,
        message: NatsMessage,
        user: Annotated[str, Path()],
        store: Annotated[ObjectStore, FromBucket(bucket_name)],
        content: Annotated[ObjectData, FromObject()],
        text: Annotated[bytes | None, FromObject(bucket_name, "{user}.txt", default=None)],
        numbers: Annotated[list[int], FromObject(decode=True)],
        reader: Annotated[ObjectReader, OpenObject()],
        stat: Annotated[ObjectInfo, StatObject()],
    ) -> None:
        called.append(f"one {user} {numbers} {text!r}")

    @bucket.on_put()
    async def two(info) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        called.append(f"two {info.name}")

    @bucket.on_put()
    async def three() -> None:
        called.append("three")

    async with TestNatsBroker(broker):
        (store,) = [await buckets.open(bucket) for buckets in [broker.context.get("buckets")]]
        await store.put("ann/a.json", b"[1, 2]")

    assert called == ["one ann [1, 2] None", "two ann/a.json", "three"]
