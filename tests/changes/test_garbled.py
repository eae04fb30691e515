"""Answers about a consumer that are garbage: told with their subject, never a KeyError."""

import asyncio
import json
from collections.abc import Awaitable
from typing import Any, TypeVar

import pytest
from nats.aio.client import Client

from faststream_objstore import standing
from faststream_objstore.backends.jetstream import JetStreamServer
from faststream_objstore.changes.durable import DurableConsumer
from faststream_objstore.changes.options import ChangeOptions
from faststream_objstore.exceptions import StoreAPIError
from tests.settled import settled

pytestmark = pytest.mark.timeout(60)

T = TypeVar("T")
STREAM = {
    "config": {},
    "state": {"messages": 0, "bytes": 0, "last_seq": 0, "last_ts": "2026-01-01T00:00:00Z"},
    "created": "2026-01-01T00:00:00Z",
}
WHOLE: dict[str, Any] = {
    "config": {"metadata": {}},
    "delivered": {"consumer_seq": 0, "stream_seq": 0},
    "ack_floor": {"consumer_seq": 0, "stream_seq": 0},
    "num_ack_pending": 0,
    "num_pending": 0,
}
GARBLED: dict[str, Any] = {
    "empty": {},
    "a list": [],
    "no config": {key: value for key, value in WHOLE.items() if key != "config"},
    "a list as config": WHOLE | {"config": []},
    "numbers as metadata": WHOLE | {"config": {"metadata": {"a": 5}}},
    "a list as metadata": WHOLE | {"config": {"metadata": ["a"]}},
    "nothing delivered": {key: value for key, value in WHOLE.items() if key != "delivered"},
    "a text as floor": WHOLE | {"ack_floor": "7"},
    "a text as sequence": WHOLE | {"ack_floor": {"stream_seq": "seven"}},
    "nothing pending": WHOLE | {"num_ack_pending": None},
    "no time": WHOLE | {"ts": "yesterday"},
}


async def soon(work: Awaitable[T]) -> T:
    return await asyncio.wait_for(work, 20)


@pytest.fixture
async def server(nats_client: Client, bucket_name: str) -> JetStreamServer:
    return JetStreamServer(nats_client, prefix=f"garbled.{bucket_name}", timeout=5)


async def answering(client: Client, server: JetStreamServer, answers: dict[str, Any]) -> None:
    """Answer requests whose subject contains a key."""

    async def answer(message: Any) -> None:
        for part, said in answers.items():
            if part in message.subject:
                await message.respond(json.dumps(said).encode())

    await client.subscribe(f"{server.api.prefix}.>", cb=answer)
    await settled(client)


@pytest.mark.parametrize("answer", GARBLED)
async def test_information_that_is_garbage_names_its_subject(
    nats_client: Client, server: JetStreamServer, answer: str
) -> None:
    await answering(nats_client, server, {"CONSUMER.INFO": GARBLED[answer]})
    consumer = DurableConsumer(server, ChangeOptions(bucket="b", event="put", durable="d"))
    for act in (consumer.info, lambda: consumer.confirm(at_latest=1)):
        with pytest.raises(StoreAPIError, match=r"CONSUMER\.INFO\.OBJ_b\.d"):
            await soon(act())


@pytest.mark.parametrize("answer", GARBLED)
async def test_a_new_consumer_whose_information_is_garbage_names_its_subject(
    nats_client: Client, server: JetStreamServer, answer: str
) -> None:
    missing = {"error": {"code": 404, "err_code": 10014, "description": "not found"}}
    answers = {"STREAM.INFO": STREAM, "CONSUMER.INFO": missing}
    await answering(nats_client, server, answers | {"CONSUMER.CREATE": GARBLED[answer]})
    consumer = DurableConsumer(server, ChangeOptions(bucket="b", event="put", durable="d"))
    with pytest.raises(StoreAPIError, match=r"CONSUMER\.CREATE\.OBJ_b\.d"):
        await soon(consumer.ensure())


@pytest.mark.parametrize("answer", ["empty", "a list", "a text as floor", "nothing pending"])
async def test_progress_that_is_garbage_names_its_subject(
    nats_client: Client, server: JetStreamServer, answer: str
) -> None:
    await answering(nats_client, server, {"CONSUMER.INFO": GARBLED[answer]})
    with pytest.raises(StoreAPIError, match=r"CONSUMER\.INFO\.OBJ_b\.d"):
        await soon(standing.durable_standing(server, "b", "d", timeout=5))


async def test_whole_information_is_believed(
    nats_client: Client, server: JetStreamServer
) -> None:
    await answering(nats_client, server, {"STREAM.INFO": STREAM, "CONSUMER": WHOLE})
    consumer = DurableConsumer(server, ChangeOptions(bucket="b", event="put", durable="d"))
    assert await soon(consumer.ensure()) == (WHOLE, False)
