"""`Path()` parameters that the pattern does not capture are refused at start."""

from typing import Annotated, Any

import pytest
from faststream import Depends, Path
from faststream.nats import NatsBroker, NatsMessage, TestNatsBroker

from faststream_objstore.bucket import Bucket
from faststream_objstore.buckets import Buckets
from faststream_objstore.exceptions import InvalidPatternError
from faststream_objstore.models import ObjectInfo
from faststream_objstore.testing import NatsServer
from tests.changes.support import running, store_of


def owner(usr: Annotated[str, Path()]) -> str:
    return usr


def through(name: Annotated[str, Depends(owner)]) -> str:
    return name


async def in_annotated(info: ObjectInfo, usr: Annotated[str, Path()]) -> None: ...


async def as_default(info: ObjectInfo, usr: str = Path()) -> None: ...


async def renamed(info: ObjectInfo, user: Annotated[str, Path("usr")]) -> None: ...


async def in_nested_dependency(info: ObjectInfo, name: str = Depends(through)) -> None: ...


HANDLERS = [in_annotated, as_default, renamed, in_nested_dependency]


def names_of(handler: Any) -> str:
    return str(handler.__name__)


@pytest.mark.parametrize("handler", HANDLERS, ids=names_of)
@pytest.mark.parametrize("mode", ["server", "memory"])
async def test_parameter_that_is_not_captured_is_refused_at_start(
    nats_server: NatsServer, bucket_name: str, handler: Any, mode: str
) -> None:
    bucket = Bucket(bucket_name)
    bucket.on_put("{user}/{file}.png")(handler)
    broker = NatsBroker(nats_server.url, logger=None)
    Buckets(broker, bucket)

    with pytest.raises(InvalidPatternError) as caught:
        if mode == "server":
            await broker.start()
        else:
            async with TestNatsBroker(broker):
                pass

    assert str(caught.value) == (
        f"Bucket '{bucket_name}', on_put('{{user}}/{{file}}.png'): {handler.__name__} asks "
        "for the Path() parameter 'usr', but the pattern captures 'user', 'file'. Write {usr} "
        "where the pattern should capture it, or give the parameter a default."
    )
    assert caught.value.bucket == bucket_name
    if mode == "server":
        assert not await broker.ping(0.01)


async def test_dependency_of_the_subscriber_is_searched_too() -> None:
    bucket = Bucket("photos")

    @bucket.on_delete(dependencies=[Depends(owner)])
    async def handle(info: ObjectInfo) -> None: ...

    broker = NatsBroker()
    Buckets(broker, bucket)
    with pytest.raises(InvalidPatternError, match=r"'usr', but the pattern captures nothing"):
        async with TestNatsBroker(broker):
            pass


async def test_subscriber_that_joins_a_running_broker_is_checked(
    nats_server: NatsServer, bucket_name: str
) -> None:
    bucket = Bucket(bucket_name)
    async with running(nats_server.url, bucket) as buckets:
        bucket.on_put("{user}/*")(in_annotated)
        with pytest.raises(InvalidPatternError, match="'usr'"):
            await buckets.bind()
        bucket.subscribers.clear()


async def test_parameter_with_a_default_needs_no_capture() -> None:
    bucket = Bucket("photos")

    @bucket.on_put("{user}/*")
    async def handle(
        info: ObjectInfo,
        user: Annotated[str, Path()],
        kind: Annotated[str, Path()] = "python",
        size: str = Path(default="marker"),
    ) -> str:
        return f"{user} {kind} {size}"

    broker = NatsBroker()
    buckets = Buckets(broker, bucket)
    seen: list[str] = []

    @broker.subscriber("seen")
    async def take(text: str) -> None:
        seen.append(text)

    broker.publisher("seen")(handle)
    async with TestNatsBroker(broker):
        await (await store_of(buckets, bucket)).put("ann/cat", b"")
    assert seen == ["ann python marker"]


async def test_parser_of_the_users_own_may_fill_in_the_path() -> None:
    bucket = Bucket("photos")
    subscriber = bucket.on_put()

    async def parse(message: Any, original: Any) -> NatsMessage:
        parsed: NatsMessage = await original(message)
        parsed.path["usr"] = "ann"
        return parsed

    @subscriber(parser=parse)
    async def handle(info: ObjectInfo, usr: Annotated[str, Path()]) -> None:
        assert usr == "ann"

    broker = NatsBroker()
    buckets = Buckets(broker, bucket)
    async with TestNatsBroker(broker):
        put = await (await store_of(buckets, bucket)).put("cat", b"")
        handle.mock.assert_called_once_with(put)
