"""How many modules somebody has to open who follows what `put` is given."""

import sys
from pathlib import Path
from types import FrameType
from typing import Any

import nats
import pytest

import faststream_objstore
from faststream_objstore import ObjectStore
from faststream_objstore.store.sources import Source
from faststream_objstore.testing import NatsServer

pytestmark = pytest.mark.anyio

PACKAGE = Path(faststream_objstore.__file__).parent


class Route:
    """The modules whose functions are given the data, a `Source` of it, or a part of it."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        # Kept, so that no later frame has the same identity: a coroutine's is seen again
        # each time it is resumed.
        self._seen: list[FrameType] = []
        self.modules: list[str] = []

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        path = Path(frame.f_code.co_filename)
        if event != "call" or not path.is_relative_to(PACKAGE):
            return
        if any(one is frame for one in self._seen):
            return
        self._seen.append(frame)
        code = frame.f_code
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        given = [frame.f_locals.get(one) for one in names if one != "self"]
        module = str(path.relative_to(PACKAGE))
        if any(map(self._is_data, given)) and self.modules[-1:] != [module]:
            self.modules.append(module)

    def _is_data(self, value: object) -> bool:
        if isinstance(value, memoryview):
            return value.obj is self._data
        return value is self._data or isinstance(value, Source)


async def test_what_put_is_given_passes_few_modules_and_returns_to_none(
    nats_server: NatsServer, bucket_name: str
) -> None:
    client = await nats.connect(nats_server.url)
    try:
        # A lane is a way of its own.
        store = await ObjectStore.bind(client, bucket_name, declare=True, lane=False)
        await store.put("ready", b"")
        # One chunk: what follows goes the same way.
        data = b"a" * 1000
        route = Route(data)
        sys.setprofile(route)
        try:
            await store.put("ann/cat.png", data)
        finally:
            sys.setprofile(None)
    finally:
        await client.close()

    assert route.modules[0] == "store/store.py"
    assert route.modules[-1] == "backends/jetstream/connection.py"
    assert len(route.modules) - 1 <= 8, route.modules
    assert len(set(route.modules)) == len(route.modules), route.modules
