"""Messages near the server's limit: the headers count, too."""

from typing import Any

import pytest
from faststream import BaseMiddleware
from faststream.nats import NatsBroker

from faststream_objstore import Bucket, Buckets, ClaimCheckMiddleware
from faststream_objstore.exceptions import InvalidOptionError
from faststream_objstore.testing import NatsServer
from tests.changes.support import Seen, soon

pytestmark = pytest.mark.anyio

LIMIT = 64 * 1024


def reconnects(broker: NatsBroker) -> int:
    connection: Any = broker._connection
    return int(connection.stats["reconnects"])


class Trace(BaseMiddleware):
    """Adds a header after the claim check has looked, as tracing does."""

    async def publish_scope(self, call_next: Any, cmd: Any) -> Any:
        cmd.headers = {**cmd.headers, "trace": "t" * 300}
        return await call_next(cmd)


@pytest.mark.parametrize("room", [0, 1, 60, 200])
@pytest.mark.parametrize("after", [[], [Trace]], ids=["last", "before tracing"])
async def test_body_that_only_fits_without_its_headers_travels_through_the_bucket(
    room: int, after: list[Any], bucket_name: str
) -> None:
    bucket = Bucket(bucket_name, ttl=60)
    seen: Seen[int] = Seen()
    async with NatsServer(config="max_payload: 64KB") as server:
        check = ClaimCheckMiddleware(bucket, threshold=LIMIT)
        broker = NatsBroker(server.url, logger=None, middlewares=[check, *after])
        buckets = Buckets(broker, bucket)

        @broker.subscriber("large")
        async def handle(body: bytes) -> None:
            await seen.add(len(body))

        await soon(broker.start())
        await soon(broker.publish(b"x" * (LIMIT - room), "large", headers={"user": "ann"}))
        assert await seen.wait_for(1) == [LIMIT - room]
        assert len(await (await buckets.open(bucket)).list()) == 1
        assert reconnects(broker) == 0
        await soon(broker.stop())


async def test_headers_that_can_never_travel_are_refused_before_anything_is_stored(
    bucket_name: str,
) -> None:
    bucket = Bucket(bucket_name, ttl=60)
    async with NatsServer(config="max_payload: 64KB") as server:
        check = ClaimCheckMiddleware(bucket, threshold=10)
        broker = NatsBroker(server.url, logger=None, middlewares=[check])
        buckets = Buckets(broker, bucket)
        await soon(broker.start())
        for body in (b"", b"x" * 100):
            with pytest.raises(InvalidOptionError, match=r"headers.*max_payload, 65536"):
                await broker.publish(body, "large", headers={"user": "a" * LIMIT})
        assert await (await buckets.open(bucket)).list() == []
        assert reconnects(broker) == 0
        await soon(broker.stop())
