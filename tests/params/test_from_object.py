"""`FromObject`: an object's content as a parameter."""

import json
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from faststream import Depends, Path
from faststream.nats import NatsRouter
from pydantic import BaseModel, ValidationError

from faststream_objstore.bucket import Bucket
from faststream_objstore.exceptions import (
    BucketNotDeclaredError,
    InvalidBucketNameError,
    InvalidObjectNameError,
    InvalidOptionError,
    InvalidPatternError,
    ObjectChangedError,
    ObjectDeletedError,
    ObjectLoadError,
    ObjectNotFoundError,
    ObjectTooLargeError,
)
from faststream_objstore.models import ObjectData, ObjectInfo
from faststream_objstore.params import FromObject, OpenObject, StatObject
from tests.changes.support import Seen, soon
from tests.params.support import Service

MARKERS = [FromObject, StatObject, OpenObject]


@pytest.mark.parametrize("marker", MARKERS)
@pytest.mark.parametrize(
    "arguments, error",
    [
        (("photos",), InvalidOptionError),
        ((None, "a.png"), InvalidOptionError),
        (("a b", "a.png"), InvalidBucketNameError),
        (("photos", ""), InvalidObjectNameError),
        (("photos", "{a-b}"), InvalidPatternError),
        (("photos", "{}"), InvalidPatternError),
        (("photos", "{a"), InvalidPatternError),
        (("photos", "a}"), InvalidPatternError),
    ],
)
def test_address_that_cannot_work_is_refused_where_it_is_written(
    marker: Any, arguments: tuple[Any, ...], error: type[Exception]
) -> None:
    with pytest.raises(error):
        marker(*arguments)


@pytest.mark.parametrize("max_size", [-1, 1.5, True, "1"])
def test_max_size_that_is_no_number_of_bytes_is_refused(max_size: Any) -> None:
    with pytest.raises(InvalidOptionError):
        FromObject("photos", "a", max_size=max_size)


async def test_change_handler_gets_the_content_of_the_version_that_fired(
    service: Service,
) -> None:
    seen: Seen[bytes] = Seen()

    @service.bucket.on_put("*.txt")
    async def handle(info: ObjectInfo, content: Annotated[ObjectData, FromObject()]) -> None:
        assert type(content) is ObjectData
        assert content.info == info
        await seen.add(content)

    async with service.running() as store:
        await store.put("a.txt", b"one")
        await seen.wait_for(1)
        await store.put("a.txt", b"two")
        await seen.wait_for(2)

    assert seen.all == [b"one", b"two"]
    assert service.errors.all == []


async def test_change_handler_never_gets_another_version_than_the_one_that_fired(
    service: Service,
) -> None:
    replaced: Seen[str] = Seen()

    async def replace(info: ObjectInfo) -> None:
        if not replaced.all:
            await replaced.add(info.name)
            await service.store.put(info.name, b"two")

    seen: Seen[bytes] = Seen()

    @service.bucket.on_put(dependencies=[Depends(replace)], retry=None)
    async def handle(info: ObjectInfo, content: Annotated[bytes, FromObject()]) -> None:
        await seen.add(content)

    async with service.running() as store:
        await soon(store.put("a", b"one"))
        await seen.wait_for(1)

    assert seen.all == [b"two"]
    # The guard of change subscribers has made it an acknowledgement.
    causes = {type(error.__cause__ or error) for error in service.errors.all}
    assert causes == {ObjectChangedError}


async def test_default_stands_in_for_the_content_of_a_delete(service: Service) -> None:
    seen: Seen[bytes | None] = Seen()

    @service.bucket.on_change()
    async def handle(content: Annotated[bytes | None, FromObject(default=None)]) -> None:
        await seen.add(content)

    async with service.running() as store:
        await store.put("a", b"one")
        await seen.wait_for(1)
        await store.delete("a")
        await seen.wait_for(2)

    assert seen.all == [b"one", None]


async def test_named_object_stands_beside_the_body(service: Service) -> None:
    @service.broker.subscriber("greet")
    async def greet(
        body: str, text: Annotated[bytes, FromObject(service.bucket, "greeting")]
    ) -> str:
        assert type(text) is ObjectData
        return f"{text.decode()}, {body}"

    async with service.running(greeting="Hello"):
        assert await service.ask("greet", "Ann") == "Hello, Ann"


async def test_content_is_not_cast_unless_it_is_decoded(service: Service) -> None:
    seen: list[object] = []

    @service.broker.subscriber("ask")
    async def ask(text: Annotated[object, FromObject(service.bucket, "a.txt")]) -> None:
        seen.append(text)

    async with service.running() as store:
        await store.put("a.txt", b"text")
        await service.ask("ask", "the body")

    assert seen == [b"text"]


async def test_body_with_the_parameters_name_does_not_stand_in_for_the_object(
    service: Service,
) -> None:
    @service.broker.subscriber("ask")
    async def ask(
        name: str, size: int, text: Annotated[bytes, FromObject(service.bucket, "text")]
    ) -> str:
        return f"{name} {size} {text.decode()}"

    async with service.running(text="real"):
        body = {"name": "a", "size": 1, "text": "forged"}
        assert await service.ask("ask", body) == "a 1 real"


async def test_placeholders_are_filled_from_the_path_of_the_message(service: Service) -> None:
    @service.broker.subscriber("mail.{template}.{lang}")
    async def mail(
        template: Annotated[str, Path()],
        html: Annotated[bytes, FromObject(service.bucket, "{lang}/{template}-{{x}}.html")],
    ) -> str:
        return f"{template}: {html.decode()}"

    async with service.running() as store:
        await store.put("de/welcome-{x}.html", b"Hallo")
        assert await service.ask("mail.welcome.de") == "welcome: Hallo"


async def test_placeholders_are_filled_from_the_pattern_of_a_change(service: Service) -> None:
    seen: Seen[bytes] = Seen()

    @service.bucket.on_put("in/{rest:path}")
    async def handle(
        mask: Annotated[bytes, FromObject(service.bucket, "masks/{rest}")],
    ) -> None:
        await seen.add(mask)

    async with service.running() as store:
        await store.put("masks/a/b", b"mask")
        await store.put("in/a/b", b"")
        assert await seen.wait_for(1) == [b"mask"]


async def test_placeholder_without_a_value_is_refused_at_start_with_those_there_are(
    service: Service,
) -> None:
    @service.broker.subscriber("mail.{template}")
    async def mail(html: Annotated[bytes, FromObject(service.bucket, "{tmplate}")]) -> None:
        pass

    with pytest.raises(InvalidPatternError, match=r"'tmplate', but .* captures 'template'"):
        async with service.running():
            pass


async def test_object_that_fired_is_refused_outside_of_change_handlers(
    service: Service,
) -> None:
    @service.broker.subscriber("ask")
    async def ask(content: Annotated[bytes, FromObject()]) -> None: ...

    with pytest.raises(InvalidOptionError, match="on_put, on_delete or on_change"):
        async with service.running():
            pass


@pytest.mark.parametrize("marker", MARKERS)
async def test_missing_object_is_an_error_with_bucket_and_name(
    service: Service, marker: Any
) -> None:
    @service.broker.subscriber("ask")
    async def ask(it: Annotated[Any, marker(service.bucket, "nothing/here")]) -> None: ...

    async with service.running() as store:
        error = await service.failure("ask", "the body")
        assert isinstance(error, ObjectNotFoundError)
        assert f"'{service.bucket.name}'" in str(error)
        assert "'nothing/here'" in str(error)

        await store.put("nothing/here", b"")
        await store.delete("nothing/here")
        assert isinstance(await service.failure("ask"), ObjectDeletedError)


@pytest.mark.parametrize("marker", MARKERS)
async def test_default_is_given_for_a_missing_object(service: Service, marker: Any) -> None:
    default = object()
    seen: list[object] = []

    @service.broker.subscriber("ask")
    async def ask(it: Annotated[Any, marker(service.bucket, "a", default=default)]) -> None:
        seen.append(it)

    async with service.running():
        await service.ask("ask", "the body")

    # The very object: FastDepends copies fields deeply.
    assert seen == [default]


async def test_undeclared_bucket_is_an_error_that_names_those_that_are(
    service: Service,
) -> None:
    @service.broker.subscriber("ask")
    async def ask(it: Annotated[bytes, FromObject("phtos", "a")]) -> None: ...

    with pytest.raises(BucketNotDeclaredError, match=service.bucket.name):
        async with service.running():
            pass


@pytest.mark.parametrize("marker", [FromObject, OpenObject])
async def test_object_larger_than_max_size_is_refused(service: Service, marker: Any) -> None:
    @service.broker.subscriber("ask")
    async def ask(it: Annotated[Any, marker(service.bucket, "a", max_size=3)]) -> str:
        return "small enough"

    async with service.running(a="123") as store:
        assert await service.ask("ask") == "small enough"
        await store.put("a", b"1234")
        assert isinstance(await service.failure("ask"), ObjectTooLargeError)


async def test_sync_handlers_and_dependencies_of_both_kinds_get_objects(
    service: Service,
) -> None:
    text = Annotated[bytes, FromObject(service.bucket, "text")]

    def sync_part(it: text) -> str:
        return f"sync {it.decode()}"

    async def async_part(it: text, size: Annotated[str, Depends(sync_part)]) -> str:
        return f"async {it.decode()} of {size}"

    router = NatsRouter("api.")

    @router.subscriber("ask")
    def ask(body: str, both: Annotated[str, Depends(async_part)], it: text) -> str:
        return f"{body} {both} {it.decode()}"

    service.broker.include_router(router)
    async with service.running(text="x"):
        assert await service.ask("api.ask", "?") == "? async x of sync x x"


async def test_link_is_followed(service: Service) -> None:
    @service.broker.subscriber("ask")
    async def ask(
        content: Annotated[bytes, FromObject(service.bucket, "link")],
        info: Annotated[ObjectInfo, StatObject(service.bucket, "link")],
    ) -> str:
        return f"{content.decode()} {info.is_link()}"

    async with service.running(target="content") as store:
        await store.add_link("link", "target")
        assert await service.ask("ask") == "content True"


@dataclass
class Point:
    x: int
    y: int = 0


class Config(BaseModel):
    points: list[Point]


@pytest.mark.parametrize(
    "name, headers, content, wanted, expected",
    [
        ("a.txt", None, "ü", str, "ü"),
        ("a.html", None, "12", str, "12"),
        ("folder/a.JSON", None, '{"x": 1}', dict, {"x": 1}),
        ("a.json", None, '{"x": "1"}', Point, Point(1)),
        (
            "a.json",
            None,
            '{"points": [{"x": 1, "y": 2}]}',
            Config,
            Config(points=[Point(1, 2)]),
        ),
        ("a.json", None, "12", int, 12),
        ("a.json", {"Content-Type": "text/plain"}, "12", str, "12"),
        ("a", {"CONTENT-type": "application/JSON; charset=utf-8"}, "[1]", list, [1]),
        ("a", {"content-type": "application/problem+json"}, "[1]", list, [1]),
        ("a", {"content-type": 'text/csv; charset="latin-1"'}, b"\xfc", str, "ü"),
        ("a", {"content-type": ["text/plain", "x"]}, "12", str, "12"),
        ("a", {"content-type": " "}, "[1]", list, [1]),
        ("a.png", None, b"\xff", bytes, b"\xff"),
        ("a.json.gz", None, b"\xff", bytes, b"\xff"),
        ("no-ending", None, b"\xff", bytes, b"\xff"),
        ("no-ending", None, b"[1]", list, [1]),
    ],
)
async def test_decoded_content_is_what_its_type_says(
    service: Service, name: str, headers: Any, content: Any, wanted: Any, expected: Any
) -> None:
    seen: list[object] = []

    @service.broker.subscriber("ask")
    async def ask(
        it: Annotated[wanted, FromObject(service.bucket, name, decode=True)],
    ) -> None:
        seen.append(it)

    async with service.running() as store:
        await store.put(name, content, headers=headers)
        await service.ask("ask", "the body")

    assert service.errors.all == []
    assert seen == [expected]


async def test_content_that_is_not_of_its_type_is_an_error_that_names_the_object(
    service: Service,
) -> None:
    @service.broker.subscriber("ask")
    async def ask(
        it: Annotated[Any, FromObject(service.bucket, "a.json", decode=True)],
    ) -> None: ...

    async with service.running() as store:
        await store.put("a.json", b"{")
        error = await service.failure("ask")
        assert isinstance(error, ObjectLoadError)
        assert "'a.json'" in str(error)
        assert "application/json" in str(error)
        assert error.name == "a.json"

        await store.put("a.json", b"1", headers={"Content-Type": "text/plain; charset=no"})
        assert isinstance(await service.failure("ask"), ObjectLoadError)


@pytest.mark.parametrize("name", ["a.json", "untyped"])
async def test_json_is_decoded_by_a_reader_that_takes_nothing_but_bytes(
    service: Service, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    # As orjson is, which FastStream reads JSON with where it is installed.
    def loads(data: object) -> object:
        if type(data) is not bytes:
            msg = f"Input must be bytes, not {type(data).__name__}"
            raise ValueError(msg)
        return json.loads(data)

    monkeypatch.setattr("faststream.message.utils.json_loads", loads)
    seen: list[object] = []

    @service.broker.subscriber("ask")
    async def ask(
        it: Annotated[Any, FromObject(service.bucket, name, decode=True)],
    ) -> None:
        seen.append(it)

    async with service.running() as store:
        await store.put(name, b'{"x": 1}')
        await service.ask("ask", "1")

    assert service.errors.all == []
    assert seen == [{"x": 1}]


async def test_decoded_content_that_does_not_fit_the_parameter_is_refused(
    service: Service,
) -> None:
    @service.broker.subscriber("ask")
    async def ask(
        it: Annotated[Point, FromObject(service.bucket, "a.json", decode=True)],
    ) -> None: ...

    async with service.running() as store:
        await store.put("a.json", b'{"y": 1}')
        assert isinstance(await service.failure("ask"), ValidationError)


async def test_each_broker_reads_its_own_bucket(service: Service, bucket_name: str) -> None:
    other = Service("nats://unused", f"{bucket_name}-other", in_memory=True)

    for one in (service, other):

        @one.broker.subscriber("ask")
        async def ask(it: Annotated[bytes, FromObject(one.bucket, "a")]) -> str:
            return it.decode()

    async with service.running(a="mine"), other.running(a="yours"):
        assert await service.ask("ask") == "mine"
        assert await other.ask("ask") == "yours"


def test_markers_show_how_they_were_written() -> None:
    assert repr(FromObject()) == "FromObject()"
    assert repr(FromObject(Bucket("a"), "{b}")) == "FromObject('a', '{b}')"
    assert repr(StatObject("a", "b")) == "StatObject('a', 'b')"
