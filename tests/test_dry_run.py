"""FastStream's AsyncAPI page tries messages on a broker that is in use: the service goes on.

Each try is a `POST /docs/try`: FastStream enters `TestNatsBroker` on the live broker for it.
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator
from typing import Annotated, Any

import httpx
import nats
import pytest
import uvicorn
from faststream import Path
from faststream.asgi import AsgiFastStream, AsyncAPIRoute
from faststream.nats import NatsBroker
from nats.aio.client import Client
from nats.aio.msg import Msg

from faststream_objstore import Bucket, Buckets, FromBucket, ObjectStore, Retry
from faststream_objstore.exceptions import ObjectNotFoundError
from faststream_objstore.middlewares import ClaimCheckMiddleware
from faststream_objstore.models import ObjectInfo
from faststream_objstore.testing import NatsServer
from tests.changes.support import Names, Seen, soon
from tests.settled import settled


class Service:
    """A service with a page; its handler `try` stays in its dry run until it is let go."""

    def __init__(self, url: str, name: str) -> None:
        self.name = name
        self.bucket = Bucket(name)
        self.claims = Bucket(f"{name}-claims", ttl=3600)
        self.broker = NatsBroker(
            url, logger=None, middlewares=[ClaimCheckMiddleware(self.claims, threshold=2000)]
        )
        self.buckets = Buckets(self.broker, self.bucket, self.claims)
        self.began: asyncio.Queue[str] = asyncio.Queue()
        self.go = asyncio.Event()
        self.bodies = Seen[str]()
        self.answers: list[asyncio.Task[httpx.Response]] = []
        self.http = httpx.AsyncClient()

        @self.broker.subscriber(f"{name}.try.{{one}}")
        async def attempt(
            one: Annotated[str, Path()], store: Annotated[ObjectStore, FromBucket(name)]
        ) -> list[str]:
            await store.put(f"dry-{one}", b"of the dry run")
            self.began.put_nowait(one)
            await self.go.wait()
            if one == "fails":
                msg = "as it should"
                raise RuntimeError(msg)
            # What the handler starts is of the dry run too.
            names = await asyncio.create_task(store.list())
            return sorted(info.name for info in names)

        @self.broker.subscriber(f"{name}.plain")
        async def plain(body: str) -> None:
            await self.bodies.add(body)

    async def begin(self, one: str) -> None:
        """Begin a dry run, and return when its handler runs."""
        self.answers.append(asyncio.create_task(self.post(f"{self.name}.try.{one}", "")))
        assert await soon(self.began.get()) == one

    async def end(self) -> list[httpx.Response]:
        """Let the handlers of all dry runs return, and wait for the page's answers."""
        self.go.set()
        return list(await soon(asyncio.gather(*self.answers)))

    async def post(
        self, channel: str, payload: Any, *, send: bool = False, path: str = "/docs/try"
    ) -> httpx.Response:
        body = {
            "channelName": channel,
            "message": {"operation_id": "o", "operation_type": "t", "message": payload},
            "options": {"sendToRealBroker": send, "timestamp": "now"},
        }
        return await self.http.post(path, json=body)

    @contextlib.asynccontextmanager
    async def running(self, page: Any = "/docs") -> AsyncIterator[None]:
        app = AsgiFastStream(self.broker, asyncapi_path=page, logger=None)
        started = asyncio.Event()
        app.after_startup(started.set)
        listening = socket.create_server(("127.0.0.1", 0))
        port = listening.getsockname()[1]
        config = uvicorn.Config(app, log_config=None, log_level="critical")
        server = uvicorn.Server(config)
        task = asyncio.create_task(server.serve([listening]))
        try:
            await soon(started.wait())
            url = f"http://127.0.0.1:{port}"
            async with httpx.AsyncClient(base_url=url, timeout=60) as self.http:
                yield
        finally:
            server.should_exit = True
            await soon(task)


@pytest.fixture
def service(nats_server: NatsServer, bucket_name: str) -> Service:
    return Service(nats_server.url, bucket_name)


async def on_server(client: Client, bucket: str) -> list[str]:
    """What another client finds in the bucket."""
    store = await client.jetstream().object_store(bucket)
    try:
        return sorted(str(info.name) for info in await store.list())
    except nats.js.errors.NotFoundError:
        return []


async def test_puts_of_others_reach_the_server_while_a_dry_run_is_under_way(
    service: Service, nats_client: Client
) -> None:
    async with service.running():
        store = await service.buckets.open(service.bucket)
        await store.put("before", b"")

        await service.begin("a")
        await asyncio.gather(*(store.put(f"live-{one}", b"live") for one in range(8)))

        expected = ["before", *(f"live-{one}" for one in range(8))]
        assert await on_server(nats_client, service.name) == expected
        assert sorted(info.name for info in await store.list()) == expected
        assert (await store.status()).backing_store == "JetStream"
        [answer] = await service.end()
        # In memory, where it began with nothing.
        assert (answer.status_code, answer.json()) == (200, ["dry-a"])
        assert await on_server(nats_client, service.name) == expected


@pytest.mark.parametrize("second", ["b", "fails"])
async def test_two_dry_runs_at_once_leave_the_service_as_it_was(
    service: Service, nats_client: Client, second: str
) -> None:
    async with service.running():
        store = await service.buckets.open(service.bucket)
        await service.begin("a")
        await service.begin(second)
        await store.put("live", b"live")

        first, other = await service.end()

        assert (first.status_code, first.json()) == (200, ["dry-a"])
        if second == "b":
            assert (other.status_code, other.json()) == (200, ["dry-b"])
        else:
            assert other.status_code == 500
            assert "as it should" in other.text
        await store.put("after", b"after")
        assert await on_server(nats_client, service.name) == ["after", "live"]
        # Messages go to the server too, and its subscribers are not deaf.
        await service.broker.publish("hello", f"{service.name}.plain")
        assert await service.bodies.wait_for(1) == ["hello"]
        await nats_client.publish(f"{service.name}.plain", b"from another client")
        assert await service.bodies.wait_for(2) == ["hello", "from another client"]
    # The app's end stops the broker, as if there had been no dry run.
    with pytest.raises(Exception, match="not connected any more"):
        await store.get("live")


async def test_messages_and_claims_of_others_reach_the_server_during_a_dry_run(
    service: Service, nats_client: Client
) -> None:
    long = "x" * 5000
    published = Seen[bytes]()

    async def note(message: Msg) -> None:
        await published.add(message.data)

    await nats_client.subscribe(f"{service.name}.plain", cb=note)
    await settled(nats_client)
    async with service.running():
        await service.begin("a")
        await service.broker.publish("short", f"{service.name}.plain")
        await service.broker.publish(long, f"{service.name}.plain")

        assert await published.wait_for(2) == [b"short", b""]
        assert await service.bodies.wait_for(2) == ["short", long]
        claims = await service.buckets.open(service.claims)
        assert [info.size for info in await claims.list()] == [5000]
        await service.end()


async def test_change_during_a_dry_run_is_handled_and_dead_letters_are_published(
    service: Service, nats_client: Client
) -> None:
    handled = Names()
    letters: asyncio.Queue[Msg] = asyncio.Queue()
    retry = Retry(attempts=1)

    @service.bucket.on_put(
        "live*", durable="worker", retry=retry, dead_letter=f"{service.name}.dead"
    )
    async def handle(info: ObjectInfo) -> None:
        await handled.add(info.name)
        if info.name == "live-bad":
            msg = "no good"
            raise ValueError(msg)

    subscription = await nats_client.subscribe(f"{service.name}.dead", cb=letters.put)
    await settled(nats_client)
    async with service.running():
        store = await service.buckets.open(service.bucket)
        await service.begin("a")
        await store.put("live-bad", b"")
        await store.put("live-good", b"")

        assert await handled.wait_for(2) == ["live-bad", "live-good"]
        letter = json.loads((await soon(letters.get())).data)
        assert letter["object"]["name"] == "live-bad"
        await service.end()
        await store.put("live-after", b"")
        assert (await handled.wait_for(3))[2] == "live-after"
    await subscription.unsubscribe()


async def test_change_channel_on_the_page_says_why_it_takes_no_messages(
    service: Service, nats_client: Client
) -> None:
    handled = Names()
    service.bucket.on_put("{user}/*.png")(handled.take)
    published = Seen[bytes]()

    async def note(message: Msg) -> None:
        await published.add(message.data)

    await nats_client.subscribe(service.name, cb=note)
    await settled(nats_client)
    async with service.running():
        shown = (await service.http.get("/docs.json")).json()["channels"]
        [channel] = [key for key in shown if "put" in key]

        for send in (False, True):
            answer = await service.post(channel, {"name": "ann/a.png"}, send=send)
            assert answer.status_code == 500
            assert "put an object into the bucket" in answer.json()["details"]
        # One that is allowed, to see that no other came before it.
        await service.broker.publish("end", service.name)
        assert await published.wait_until_last(b"end") == [b"end"]
    assert handled.all == []


async def test_page_without_a_try_path_takes_no_dry_runs(service: Service) -> None:
    async with service.running(AsyncAPIRoute("/docs", try_it_out_path=None)):
        assert (await service.http.get("/docs")).status_code == 200
        assert (await service.post(f"{service.name}.plain", "x")).status_code == 404
    assert service.bodies.all == []


async def test_objects_of_a_dry_run_are_gone_with_it(service: Service) -> None:
    async with service.running():
        store = await service.buckets.open(service.bucket)
        await service.begin("a")
        await service.end()
        with pytest.raises(ObjectNotFoundError):
            await store.get("dry-a")
        service.answers.clear()
        await service.begin("b")
        [answer] = await service.end()
        assert answer.json() == ["dry-b"]
