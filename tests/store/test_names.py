"""Names: any text but the empty one, as long as a subject can carry it."""

from typing import Any

import nats.js.errors
import pytest

from faststream_objstore.backends.base import Backend
from faststream_objstore.exceptions import InvalidBucketNameError, InvalidObjectNameError
from faststream_objstore.models import ObjectInfo
from faststream_objstore.store import ObjectStore
from tests.store.support import (
    DELETED,
    LINK,
    body_of,
    layout,
    raw_metadata,
    soon,
    spied,
)

# Worked out with `basenc --base64url`.
ENCODED = {
    "a": "YQ==",
    "hello.txt": "aGVsbG8udHh0",
    "a/b": "YS9i",
    "/": "Lw==",
    "..": "Li4=",
    "../../etc/passwd": "Li4vLi4vZXRjL3Bhc3N3ZA==",
    ".": "Lg==",
    "*": "Kg==",
    ">": "Pg==",
    "a.*.>": "YS4qLj4=",
    " ": "IA==",
    " a b ": "IGEgYiA=",
    "\t\r\n": "CQ0K",
    "\x00": "AA==",
    "\x7f\x1b[0m": "fxtbMG0=",
    '"': "Ig==",
    'it\'s "quoted" \\': "aXQncyAicXVvdGVkIiBc",
    "grün": "Z3LDvG4=",
    "gru\u0308n": "Z3J1zIhu",
    "名前": "5ZCN5YmN",
    "🦀": "8J-mgA==",
    "a\u202eb": "YeKArmI=",
    "\ufeffbom": "77u_Ym9t",
    "ÿÿÿ?": "w7_Dv8O_Pw==",
    "PUB $O.x 0\r\n": "UFVCICRPLnggMA0K",
    "{}": "e30=",
    "%00%2F": "JTAwJTJG",
}


@pytest.mark.parametrize("name, encoded", ENCODED.items())
async def test_any_text_is_a_name(
    store: ObjectStore, backend: Backend, name: str, encoded: str
) -> None:
    info = await soon(store.put(name, b"hello"))

    assert info.name == name
    assert list(await soon(raw_metadata(backend))) == [f"$O.{backend.bucket}.M.{encoded}"]
    data = await soon(store.get(name))
    assert (data, data.info) == (b"hello", info)
    assert await soon(store.get_info(name)) == info
    assert await soon(store.list()) == [info]
    assert await soon(store.list(prefix=name)) == [info]
    assert await soon(store.get_range(name, 1, 3)) == b"el"
    await soon(store.add_link("link to it", name))
    assert await soon(store.get("link to it")) == b"hello"
    moved = await soon(store.rename(name, name + "2"))
    assert moved.name == name + "2"
    await soon(store.rename(name + "2", name))
    assert await soon(store.delete(name)) is True
    assert await soon(layout(backend)) == {
        name: DELETED,
        name + "2": DELETED,
        "link to it": LINK,
    }


async def test_names_that_look_alike_are_different_objects(store: ObjectStore) -> None:
    names = ["a", "A", " a", "a ", "a\x00", "ä", "a\u0308", "a/", "./a", "YQ=="]
    for name in names:
        await soon(store.put(name, name.encode()))

    assert [info.name for info in await soon(store.list())] == sorted(names)
    for name in names:
        assert await soon(store.get(name)) == name.encode()


def longest_name(backend: Backend) -> str:
    room = backend.max_subject - len(f"$O.{backend.bucket}.M.")
    return "n" * (room // 4 * 3)


async def test_a_name_as_long_as_a_subject_can_carry_works(
    store: ObjectStore, backend: Backend
) -> None:
    name = longest_name(backend)
    assert len(name) > 2500
    info = await soon(store.put(name, b"hello", chunk_size=2))

    assert await soon(store.get(name)) == b"hello"
    assert await soon(store.get_range(name, 1, 3)) == b"el"
    assert await soon(store.list()) == [info]
    watcher = await store.watch()
    assert await soon(watcher.updates()) == info
    await soon(watcher.stop())
    renamed = await soon(store.rename(name, name[:-1] + "m"))
    assert await soon(store.get(renamed)) == b"hello"
    await soon(store.delete(renamed.name))


@pytest.mark.parametrize("more", ["n", "n" * 100, "n" * 1_000_000])
async def test_a_longer_name_is_refused_before_anything_is_sent(
    backend: Backend, more: str
) -> None:
    store, spy = spied(backend)
    name = longest_name(backend) + more

    for call in every_call(store, name):
        with pytest.raises(InvalidObjectNameError, match="use a shorter name") as caught:
            await soon(call)
        assert isinstance(caught.value, nats.js.errors.InvalidObjectNameError)
        assert len(str(caught.value)) < 400
        assert f"a NATS subject can carry {len(longest_name(backend))};" in str(caught.value)

    assert spy.calls == []
    # The server has not dropped the connection.
    await soon(store.put("name", b"hello"))


def every_call(store: ObjectStore, name: Any) -> list[Any]:
    return [
        store.put(name, b"hello"),
        store.put(name, b"hello", mode="create"),
        store.get(name),
        store.get_range(name, 0, 1),
        store.get_info(name),
        store.exists(name),
        store.delete(name),
        store.rename(name, "x"),
        store.rename("x", name),
        store.add_link(name, "x"),
        store.add_link("x", name),
        store.copy(name, "x"),
    ]


@pytest.mark.parametrize(
    "name, why",
    [
        ("", "must not be empty"),
        ("\ud800", "has no UTF-8 form"),
        ("a\udfffb", "has no UTF-8 form"),
        (None, "is a str, not NoneType"),
        (5, "is a str, not int"),
        (b"name", "is a str, not bytes"),
    ],
)
async def test_a_name_that_cannot_work_is_refused_before_anything_is_sent(
    backend: Backend, name: Any, why: str
) -> None:
    store, spy = spied(backend)

    for call in every_call(store, name):
        with pytest.raises(InvalidObjectNameError, match=why) as caught:
            await soon(call)
        assert isinstance(caught.value, ValueError)
        assert backend.bucket in str(caught.value)

    assert spy.calls == []
    assert await soon(layout(backend)) == {}


@pytest.mark.parametrize("bucket", ["", "a.b", "a b", "ä", "a*", ">", "a/b", "a\n", None, 5])
def test_a_bucket_name_that_cannot_work_is_refused(bucket: Any) -> None:
    async def never() -> Any:
        raise AssertionError

    with pytest.raises(InvalidBucketNameError, match="is not a bucket name") as caught:
        ObjectStore(bucket, never)

    assert isinstance(caught.value, nats.js.errors.InvalidBucketNameError)
    assert isinstance(caught.value, ValueError)


async def test_the_subject_names_the_object_whatever_the_json_says(
    store: ObjectStore, backend: Backend
) -> None:
    body = b'{"name":"other","bucket":"elsewhere","nuid":"N","size":0,"chunks":0}'
    await backend.publish_metadata(f"$O.{backend.bucket}.M.YQ==", body, expected_sequence=0)

    expected = ObjectInfo(name="a", bucket=backend.bucket, nuid="N", revision=1)
    assert await soon(store.get_info("a")) == expected
    assert await soon(store.list()) == [expected]
    await soon(store.delete("a"))
    assert b'"name":"a"' in await body_of(backend, "a")
