"""`LiveObject`: a value in memory, replaced when its object changes."""

import asyncio
import gc
import json
import logging
import threading
import weakref
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from faststream import Depends, FastStream
from faststream.nats import NatsRouter

from faststream_objstore.exceptions import (
    BucketNotDeclaredError,
    InvalidOptionError,
    ObjectLoadError,
    ObjectNotFoundError,
    ObjectTooLargeError,
    ObjStoreError,
)
from faststream_objstore.models import ObjectData, ObjectInfo
from faststream_objstore.params import LiveObject
from tests.changes.support import soon
from tests.params.support import Service


class Loader:
    """A `load` that can be told from others, copied by nobody, and counts."""

    def __init__(self) -> None:
        self.loaded: list[ObjectInfo] = []
        self.lock = threading.Lock()

    def load(self, data: ObjectData) -> str:
        with self.lock:
            self.loaded.append(data.info)
        text = data.decode()
        if text.startswith("bad"):
            msg = f"cannot parse {text!r}"
            raise ValueError(msg)
        return text.upper()

    @property
    def revisions(self) -> list[int]:
        return [info.revision for info in self.loaded]


def echo(service: Service, load: Any, **options: Any) -> None:
    """Have `ask` answer with the value."""
    live = Annotated[Any, LiveObject(service.bucket, "a", load=load, **options)]

    @service.broker.subscriber("ask")
    async def ask(value: live) -> str:
        return str(value)


async def test_handlers_share_one_load(service: Service) -> None:
    loader = Loader()
    echo(service, loader.load)

    @service.broker.subscriber("same")
    async def same(
        body: str,
        value: Annotated[str, LiveObject(service.bucket.name, "a", load=loader.load)],
    ) -> str:
        return f"{value}{body}"

    async with service.running(a="one"):
        answers = await asyncio.gather(
            *(service.ask("ask") for _ in range(20)),
            *(service.ask("same", "!") for _ in range(20)),
        )
    assert answers == ["ONE"] * 20 + ["ONE!"] * 20
    assert len(loader.loaded) == 1


async def test_handlers_get_the_newest_value_and_each_version_is_loaded_once(
    service: Service,
) -> None:
    loader = Loader()
    echo(service, loader.load)

    async with service.running(a="one") as store:
        assert await service.ask("ask") == "ONE"
        info = await store.put("a", "two")
        assert set(await service.ask_until("ask", "TWO")) <= {"ONE", "TWO"}
        assert await service.ask("ask") == "TWO"
        assert service.live.info == info
        assert service.live.loads == 2
    assert loader.revisions == sorted(set(loader.revisions))
    assert len(loader.loaded) == 2


@dataclass
class Config:
    number: int
    filling: str


async def test_concurrent_handlers_see_whole_versions_that_never_go_back(
    service: Service,
) -> None:
    loaded: list[int] = []
    seen: list[Config] = []

    async def load(data: ObjectData) -> Config:
        loaded.append(data.info.revision)
        config = Config(**json.loads(data))
        # Gives other handlers a turn in the middle of the load.
        await asyncio.sleep(0)
        return config

    @service.broker.subscriber("ask", max_workers=200)
    async def ask(
        config: Annotated[Config, LiveObject(service.bucket, "a", load=load)],
    ) -> int:
        seen.append(config)
        first = config.number
        await asyncio.sleep(0)
        # What a handler holds does not change under it.
        assert config.number == first
        return first

    def content(number: int) -> str:
        # Of several chunks, so that a mixture of two versions would be noticed.
        return json.dumps({"number": number, "filling": f"{number:03}" * 100_000})

    async with service.running(a=content(0)) as store:

        async def change() -> None:
            for number in range(1, 51):
                await store.put("a", content(number))

        changing = asyncio.create_task(change())
        rounds = 0
        while not changing.done() or not rounds:
            await soon(asyncio.gather(*(service.ask("ask") for _ in range(200))))
            rounds += 1
        await soon(changing)
        await service.ask_until("ask", 50)

    assert service.errors.all == []
    assert len(seen) >= 200
    assert all(one.filling == f"{one.number:03}" * 100_000 for one in seen)
    numbers = [one.number for one in seen]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) > 2
    assert len(loaded) == len(set(loaded))
    assert loaded == sorted(loaded)


async def test_version_that_fails_to_load_is_counted_and_the_last_good_one_stays(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    loader = Loader()
    echo(service, loader.load)

    async with service.running(a="good") as store:
        assert await service.ask("ask") == "GOOD"
        bad = await store.put("a", "bad one")
        while not service.live.failures:
            assert await service.ask("ask") == "GOOD"
        assert await service.ask("ask") == "GOOD"
        assert (service.live.loads, service.live.failures) == (1, 1)

        await store.put("a", "better")
        assert set(await service.ask_until("ask", "BETTER")) <= {"GOOD", "BETTER"}
    [record] = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert f"'{service.bucket.name}'" in record.message
    assert f"revision {bad.revision} could not be loaded" in record.message
    assert "cannot parse 'bad one'" in record.message
    assert len(loader.loaded) == 3


async def failure_of(service: Service, **objects: str) -> Exception:
    """What starting raises on a server, and the first question in test mode."""
    if service.in_memory:
        async with service.running(**objects):
            return await service.failure("ask", "the body")
    with pytest.raises(ObjStoreError) as caught:
        async with service.running(**objects):
            pass
    return caught.value


async def test_missing_object_fails_at_startup_or_in_test_mode_at_first_use(
    service: Service,
) -> None:
    echo(service, None)
    error = await failure_of(service)

    assert isinstance(error, ObjectNotFoundError)
    assert f"Bucket '{service.bucket.name}', object 'a' does not exist" in str(error)
    assert "required=False" in str(error)
    assert not service.broker.running

    # And nothing is in the way of the next start.
    async with service.running(a="one"):
        assert await service.ask("ask") == "b'one'"


async def test_object_without_a_version_that_loads_fails_as_a_missing_one_does(
    service: Service,
) -> None:
    loader = Loader()
    echo(service, loader.load)
    error = await failure_of(service, a="bad")

    assert isinstance(error, ObjectLoadError)
    assert isinstance(error.__cause__, ValueError)
    assert "object 'a'" in str(error)
    assert len(loader.loaded) == 1


async def test_object_larger_than_max_size_does_not_load(service: Service) -> None:
    echo(service, None, max_size=3)
    error = await failure_of(service, a="1234")

    assert isinstance(error, ObjectLoadError)
    assert isinstance(error.__cause__, ObjectTooLargeError)


async def test_what_is_not_required_has_its_default_until_the_object_is_there(
    service: Service,
) -> None:
    echo(service, Loader().load, required=False, default="default")

    async with service.running() as store:
        assert await service.ask("ask", "the body") == "default"
        await store.put("a", "bad")
        assert await service.ask("ask") == "default"
        await store.put("a", "one")
        assert set(await service.ask_until("ask", "ONE")) <= {"default", "ONE"}
        await store.delete("a")
        assert set(await service.ask_until("ask", "default")) <= {"default", "ONE"}
        await store.put("a", "two")
        await service.ask_until("ask", "TWO")


async def test_what_is_required_keeps_its_last_value_when_the_object_is_deleted(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    echo(service, None)

    async with service.running(a="one") as store:
        first = await service.ask("ask")
        await store.delete("a")
        with caplog.at_level(logging.WARNING):
            while "was deleted" not in caplog.text:
                assert await service.ask("ask") == first
        assert await service.ask("ask") == first
        await store.put("a", "two two")
        await service.ask_until("ask", "b'two two'")


async def test_content_itself_is_the_value_where_nothing_loads_it(service: Service) -> None:
    seen: list[ObjectData] = []

    @service.broker.subscriber("ask")
    async def ask(value: Annotated[ObjectData, LiveObject(service.bucket, "a")]) -> None:
        seen.append(value)

    async with service.running(a="one"):
        await service.ask("ask", "the body")
        await service.ask("ask", "the body")

    assert seen == [b"one", b"one"]
    assert seen[0] is seen[1]
    assert seen[0].info.name == "a"


class AsyncCall:
    """Loads without being a function, nor hashable."""

    __hash__ = None  # type: ignore[assignment]

    async def __call__(self, data: ObjectData) -> str:
        return data.decode() + "!"


async def async_load(data: ObjectData) -> str:
    return data.decode() + "!"


def thread_load(data: ObjectData) -> str:
    assert threading.current_thread() is not threading.main_thread()
    return data.decode() + "!"


@pytest.mark.parametrize("load", [AsyncCall(), async_load, thread_load])
async def test_load_may_be_any_callable(service: Service, load: Any) -> None:
    echo(service, load)
    async with service.running(a="one"):
        assert await service.ask("ask") == "one!"


@pytest.mark.parametrize(
    "options", [{"load": "json"}, {"default": 1}, {"max_size": -1}, {"name": ""}]
)
def test_option_that_cannot_work_is_refused_where_it_is_written(
    options: dict[str, Any],
) -> None:
    with pytest.raises((InvalidOptionError, ValueError), match=r".+"):
        LiveObject("models", **{"name": "a", **options})


async def test_live_objects_are_found_wherever_handlers_can_ask_for_them(
    service: Service,
) -> None:
    def live(name: str) -> Any:
        return LiveObject(service.bucket, name)

    def deep(value: Annotated[bytes, live("deep")]) -> bytes:
        return value

    async def shallow(value: Annotated[bytes, Depends(deep)]) -> bytes:
        return value

    def extra(value: Annotated[bytes, live("extra")]) -> None: ...

    def routers(value: Annotated[bytes, live("routers")]) -> None: ...

    router = NatsRouter(dependencies=[Depends(routers)])

    @router.subscriber("ask", dependencies=[Depends(extra)])
    def ask(body: str, value: Annotated[bytes, Depends(shallow)]) -> str:
        return body + value.decode()

    @service.bucket.on_put("x*")
    async def handle(info: ObjectInfo, value: Annotated[bytes, live("change")]) -> None: ...

    service.broker.include_router(router)
    names = {"deep", "extra", "routers", "change"}
    async with service.running(**dict.fromkeys(names, "1")) as store:
        if service.in_memory:
            await store.put("x", b"")
            await service.ask("ask")
        assert {one.source.name for one in service.buckets.live_objects} == names
        assert all(one.loads == 1 for one in service.buckets.live_objects)
        assert await service.ask("ask", "?") == "?1"


async def test_undeclared_bucket_fails_at_startup(
    service: Service,
) -> None:
    @service.broker.subscriber("ask")
    async def ask(value: Annotated[bytes, LiveObject("phtos", "a")]) -> None: ...

    with pytest.raises(BucketNotDeclaredError, match=service.bucket.name):
        async with service.running():
            pass


async def test_each_start_begins_with_what_is_there_then(service: Service) -> None:
    loader = Loader()
    echo(service, loader.load)
    async with service.running(a="one"):
        assert await service.ask("ask") == "ONE"

    async with service.running(a="two"):
        assert await service.ask("ask") == "TWO"
        assert service.live.loads == 1

    if service.in_memory:
        async with service.running():
            assert isinstance(await service.failure("ask"), ObjectNotFoundError)
    assert len(loader.loaded) == 2


class Big:
    """A value that can be referred to weakly."""

    def __init__(self, data: ObjectData) -> None:
        self.text = data.decode()

    def __str__(self) -> str:
        return self.text


async def test_replaced_values_are_given_back(service: Service) -> None:
    made: list[weakref.ref[Big]] = []

    def load(data: ObjectData) -> Big:
        value = Big(data)
        made.append(weakref.ref(value))
        return value

    echo(service, load)
    async with service.running(a="0") as store:
        for number in range(5):
            await store.put("a", str(number))
            await service.ask_until("ask", str(number))
        gc.collect()
        assert [str(one()) for one in made if one() is not None] == ["4"]


async def test_value_is_the_targets_of_a_link_and_changes_with_the_link(
    service: Service,
) -> None:
    echo(service, Loader().load, required=False)
    async with service.running(one="one", two="two") as store:
        await store.add_link("a", "one")
        await service.ask_until("ask", "ONE")
        await store.add_link("a", "two")
        await service.ask_until("ask", "TWO")
        await store.delete("two")
        await store.add_link("a", "one")
        await service.ask_until("ask", "ONE")


async def test_lifespan_is_refused_with_the_fields_name(service: Service) -> None:
    @asynccontextmanager
    async def lifespan(
        value: Annotated[bytes, LiveObject(service.bucket, "a")],
    ) -> AsyncIterator[None]:
        yield

    with pytest.raises(AssertionError, match="async custom field `LiveObject`"):
        async with FastStream(service.broker, lifespan=lifespan).lifespan_context():
            pass


async def test_async_hook_of_an_installed_app_gets_the_value(service: Service) -> None:
    app = FastStream(service.broker)
    service.buckets.install(app)
    seen: list[bytes] = []

    @app.on_startup
    async def seed() -> None:
        # Not too early, and not too late: handlers' objects are loaded when the broker
        # starts, which is after these hooks.
        await service.store.put("a", b"seed")

    @app.after_startup
    async def after(value: Annotated[bytes, LiveObject(service.bucket, "a")]) -> None:
        seen.append(value)

    echo(service, None)
    if service.in_memory:
        async with service.running():
            await app._startup()
            await app._shutdown()
    else:
        await soon(app._startup())
        await soon(app._shutdown())
    assert seen == [b"seed"]
