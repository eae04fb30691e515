"""Get: verified content, exactly the version that was asked for, into any file."""

import asyncio
import base64
import hashlib
import io
import pickle
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import nats.errors
import nats.js.errors
import pytest

from faststream_objstore.backends.base import Backend
from faststream_objstore.exceptions import (
    BadObjectMetaError,
    BucketNotFoundError,
    CorruptObjectError,
    DigestMismatchError,
    IncompleteObjectError,
    InvalidObjectNameError,
    InvalidOptionError,
    ObjectChangedError,
    ObjectDeletedError,
    ObjectNotFoundError,
    ObjectTooLargeError,
)
from faststream_objstore.models import ObjectMeta
from faststream_objstore.store import ObjectStore
from faststream_objstore.store.allocation import _proven
from tests.store.support import (
    MIB,
    Audit,
    Bench,
    layout,
    pattern_bytes,
    raw_metadata,
    soon,
    spied,
    write_chunks,
    write_raw,
)

# sha256(b"hello"), in the forms that clients write.
HELLO = "SHA-256=LPJNul-wow4m6DsqxbninhsWHlwfp0JecwQzYpOLmCQ="


async def test_what_get_returns_is_bytes_with_the_version(store: ObjectStore) -> None:
    info = await soon(store.put("name", b"hello"))
    data = await soon(store.get("name"))

    assert data == b"hello"
    assert isinstance(data, bytes)
    assert data.data == b"hello"
    assert data.info == info
    assert repr(data) == f"<ObjectData of 'name' in '{info.bucket}', 5 bytes>"


async def test_what_get_returns_can_be_pickled(store: ObjectStore) -> None:
    await soon(store.put("name", b"hello"))
    data = await soon(store.get("name"))
    again = pickle.loads(pickle.dumps(data))

    assert again == b"hello"
    assert again.info == data.info


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 95])
async def test_content_of_every_shape_comes_back(store: ObjectStore, size: int) -> None:
    data = pattern_bytes(size)
    await soon(store.put("name", data, chunk_size=10))

    assert await soon(store.get("name")) == data


async def test_get_of_nothing_says_what_there_is(store: ObjectStore, backend: Backend) -> None:
    with pytest.raises(ObjectNotFoundError) as caught:
        await soon(store.get("name"))

    assert not isinstance(caught.value, ObjectDeletedError)
    assert isinstance(caught.value, nats.js.errors.ObjectNotFoundError)
    assert str(caught.value) == (
        f"Bucket '{backend.bucket}' has no object 'name'; list() shows those it has, exists() "
        "asks without an error."
    )
    assert (caught.value.bucket, caught.value.name) == (backend.bucket, "name")


async def test_get_of_a_deleted_object_says_so(store: ObjectStore, backend: Backend) -> None:
    await soon(store.put("name", b"hello"))
    await soon(store.delete("name"))

    with pytest.raises(ObjectDeletedError) as caught:
        await soon(store.get("name"))

    assert isinstance(caught.value, ObjectNotFoundError)
    assert isinstance(caught.value, nats.js.errors.ObjectDeletedError)
    assert str(caught.value) == (
        f"Bucket '{backend.bucket}': the object 'name' has been deleted; get_info(name, "
        "show_deleted=True) shows its marker."
    )


async def test_show_deleted_gives_the_empty_marker(store: ObjectStore) -> None:
    await soon(store.put("name", b"hello"))
    await soon(store.delete("name"))
    data = await soon(store.get("name", show_deleted=True))

    assert data == b""
    assert data.info.deleted


async def test_show_deleted_of_a_live_object_is_the_object(store: ObjectStore) -> None:
    await soon(store.put("name", b"hello"))

    assert await soon(store.get("name", show_deleted=True)) == b"hello"


async def test_show_deleted_of_nothing_is_still_an_error(store: ObjectStore) -> None:
    with pytest.raises(ObjectNotFoundError):
        await soon(store.get("name", show_deleted=True))


@pytest.mark.parametrize("name", [None, b"name", 5, ["name"]])
async def test_a_name_that_is_no_text_is_refused(store: ObjectStore, name: Any) -> None:
    with pytest.raises(InvalidObjectNameError, match="is a str"):
        await soon(store.get(name))


# --- exactly one version


@pytest.mark.parametrize("size", [0, 5, 50])
async def test_an_info_gets_its_version(store: ObjectStore, size: int) -> None:
    data = pattern_bytes(size)
    info = await soon(store.put("name", data, chunk_size=10))

    assert await soon(store.get(info)) == data
    assert (await soon(store.get(info))).info == info


@pytest.mark.parametrize("size", [5, 50])
async def test_an_info_of_a_replaced_version_is_an_error(
    store: ObjectStore, backend: Backend, size: int
) -> None:
    info = await soon(store.put("name", pattern_bytes(size), chunk_size=10))
    await soon(store.put("name", pattern_bytes(size), chunk_size=10))

    with pytest.raises(ObjectChangedError) as caught:
        await soon(store.get(info))

    assert str(caught.value) == (
        f"Bucket '{backend.bucket}', object 'name': revision {info.revision} was replaced or "
        "deleted, or has expired; get it by name to read the newest version."
    )


@pytest.mark.parametrize("size", [5, 50])
async def test_an_info_of_a_deleted_object_is_an_error(store: ObjectStore, size: int) -> None:
    info = await soon(store.put("name", pattern_bytes(size), chunk_size=10))
    await soon(store.delete("name"))

    with pytest.raises(ObjectChangedError, match="replaced or deleted"):
        await soon(store.get(info))


async def test_an_info_from_before_a_metadata_update_still_gets_its_content(
    store: ObjectStore,
) -> None:
    info = await soon(store.put("name", b"hello"))
    await soon(store.update_meta("name", ObjectMeta(description="d")))

    assert await soon(store.get(info)) == b"hello"


async def test_an_info_of_a_delete_marker_has_no_content(store: ObjectStore) -> None:
    await soon(store.put("name", b"hello"))
    await soon(store.delete("name"))
    marker = await soon(store.get_info("name", show_deleted=True))

    with pytest.raises(ObjectDeletedError, match="is a delete marker"):
        await soon(store.get(marker))
    assert await soon(store.get(marker, show_deleted=True)) == b""


async def test_an_info_of_another_bucket_is_refused(
    store: ObjectStore, other_store: ObjectStore
) -> None:
    info = await soon(other_store.put("name", b"hello"))

    with pytest.raises(InvalidOptionError, match=f"'name' in bucket '{other_store.bucket}'"):
        await soon(store.get(info))


@pytest.mark.parametrize("chunk_size", [2, 100])
async def test_a_get_by_name_of_a_version_replaced_meanwhile_gives_the_newer(
    backend: Backend, chunk_size: int
) -> None:
    _store, spy = spied(backend)
    rival = ObjectStore.on(backend)
    await soon(rival.put("name", b"old", chunk_size=chunk_size))
    replaced = 0
    last_message = spy.inner.last_message

    class Overtaken:
        def __getattr__(self, name: str) -> Any:
            return getattr(backend, name)

        async def last_message(self, subject: str, **options: Any) -> Any:
            nonlocal replaced
            message = await last_message(subject, **options)
            if ".M." in subject and not replaced:
                replaced += 1
                await rival.put("name", b"newer", chunk_size=chunk_size)
            return message

    async def source() -> Any:
        return Overtaken()

    data = await soon(ObjectStore(backend.bucket, source).get("name"))
    assert data == b"newer"
    assert replaced == 1


# --- max_size


@pytest.mark.parametrize("into_file", [False, True])
async def test_an_object_larger_than_max_size_is_refused_before_it_is_fetched(
    backend: Backend, into_file: bool
) -> None:
    await soon(ObjectStore.on(backend).put("name", b"hello"))
    store, spy = spied(backend)

    with pytest.raises(ObjectTooLargeError, match=r"'name' has 5 bytes.*max_size=4.*open\(\)"):
        await soon(store.get("name", io.BytesIO() if into_file else None, max_size=4))

    assert spy.transferred == 0


async def test_an_object_of_just_max_size_is_read(store: ObjectStore) -> None:
    await soon(store.put("name", b"hello"))

    assert await soon(store.get("name", max_size=5)) == b"hello"


async def test_max_size_is_the_links_targets(store: ObjectStore) -> None:
    await soon(store.put("name", b"hello"))
    await soon(store.add_link("link", "name"))

    with pytest.raises(ObjectTooLargeError):
        await soon(store.get("link", max_size=4))


# --- progress


@pytest.mark.parametrize("into_file", [False, True])
@pytest.mark.parametrize("chunk_size, expected", [(2, [2, 4, 5]), (9, [5])])
async def test_progress_is_told_after_each_chunk(
    store: ObjectStore, chunk_size: int, expected: list[int], into_file: bool
) -> None:
    await soon(store.put("name", b"hello", chunk_size=chunk_size))
    told: list[tuple[int, int | None]] = []

    def note(done: int, total: int | None) -> None:
        told.append((done, total))

    await soon(store.get("name", io.BytesIO() if into_file else None, progress=note))

    assert told == [(done, 5) for done in expected]


@pytest.mark.parametrize("chunk_size", [2, 9])
async def test_a_progress_callback_that_fails_ends_the_read(
    store: ObjectStore, chunk_size: int
) -> None:
    await soon(store.put("name", b"hello", chunk_size=chunk_size))

    def fail(done: int, total: int | None) -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await soon(store.get("name", progress=fail))


async def test_a_get_that_is_cancelled_leaves_nothing(store: ObjectStore) -> None:
    await soon(store.put("name", pattern_bytes(100), chunk_size=2))
    reached = asyncio.Event()

    async def stall(done: int, total: int | None) -> None:
        reached.set()
        await asyncio.Event().wait()

    task = asyncio.ensure_future(store.get("name", progress=stall))
    await soon(reached.wait())
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await soon(task)


# --- writeinto


class ShortWriter(io.RawIOBase):
    """An unbuffered file that takes a few bytes at a time."""

    def __init__(self, at_most: int = 3) -> None:
        self.taken = bytearray()
        self.at_most = at_most

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        part = bytes(data)[: self.at_most]
        self.taken += part
        return len(part)


class FullWriter(ShortWriter):
    """Takes ten bytes in all."""

    def write(self, data: Any) -> int:
        part = bytes(data)[: min(self.at_most, 10 - len(self.taken))]
        self.taken += part
        return len(part)


class BlockingWriter(ShortWriter):
    """A raw file in non-blocking mode that takes nothing now."""

    def write(self, data: Any) -> None:  # type: ignore[override]
        return None


class AsyncWriter:
    def __init__(self, at_most: int | None = None) -> None:
        self.taken = bytearray()
        self.at_most = at_most

    async def write(self, data: bytes) -> int:
        part = bytes(data)[: self.at_most]
        self.taken += part
        return len(part)


class SilentWriter:
    """Does not say how much it took."""

    def __init__(self) -> None:
        self.taken = bytearray()

    def write(self, data: bytes) -> None:
        self.taken += data


class SilentAsyncWriter:
    def __init__(self) -> None:
        self.taken = bytearray()

    async def write(self, data: bytes) -> None:
        self.taken += data


class WrappedAsyncWriter(AsyncWriter):
    """Its write is a plain function that returns an awaitable."""

    def write(self, data: bytes) -> Any:
        return super().write(data)


@pytest.mark.parametrize("size", [0, 1, 5, 50, 3 * MIB])
async def test_writeinto_gets_the_content_and_the_result_is_empty(
    store: ObjectStore, size: int
) -> None:
    data = pattern_bytes(size)
    info = await soon(store.put("name", data, chunk_size=10 if size < MIB else None))
    target = io.BytesIO()
    result = await soon(store.get("name", target))

    assert target.getvalue() == data
    assert result == b""
    assert result.info == info
    assert not target.closed


@pytest.mark.parametrize(
    "make",
    [
        ShortWriter,
        lambda: ShortWriter(1),
        AsyncWriter,
        lambda: AsyncWriter(3),
        SilentWriter,
        SilentAsyncWriter,
        WrappedAsyncWriter,
        lambda: WrappedAsyncWriter(3),
    ],
)
async def test_writeinto_completes_short_writes(store: ObjectStore, make: Any) -> None:
    data = pattern_bytes(95)
    await soon(store.put("name", data, chunk_size=10))
    target = make()
    await soon(store.get("name", target))

    assert bytes(target.taken) == data


async def test_a_file_that_takes_no_more_is_an_error(store: ObjectStore) -> None:
    await soon(store.put("name", pattern_bytes(95), chunk_size=10))

    with pytest.raises(OSError, match="accepted 0 of"):
        await soon(store.get("name", FullWriter()))


async def test_a_raw_file_that_would_block_is_an_error(store: ObjectStore) -> None:
    await soon(store.put("name", b"hello"))

    with pytest.raises(BlockingIOError):
        await soon(store.get("name", BlockingWriter()))


async def test_writeinto_a_real_file_begins_where_it_stands(
    store: ObjectStore, tmp_path: Path
) -> None:
    await soon(store.put("name", b"hello", chunk_size=2))
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.write(b"before ")
        await soon(store.get("name", file))
        file.write(b" after")

    assert path.read_bytes() == b"before hello after"


async def test_writeinto_a_text_file_writes_to_its_buffer(
    store: ObjectStore, tmp_path: Path
) -> None:
    await soon(store.put("name", b"\xffhello"))
    path = tmp_path / "file"
    with path.open("w", encoding="utf-8") as file:
        target: Any = file
        await soon(store.get("name", target))

    assert path.read_bytes() == b"\xffhello"


async def test_writeinto_a_file_open_for_reading_is_an_error(
    store: ObjectStore, tmp_path: Path
) -> None:
    await soon(store.put("name", pattern_bytes(50), chunk_size=10))
    path = tmp_path / "file"
    path.write_bytes(b"kept")
    with path.open("rb") as file, pytest.raises(OSError, match="write"):
        await soon(store.get("name", file))

    assert path.read_bytes() == b"kept"


@pytest.mark.parametrize("target", [b"", "path", 5, object(), Path("/nowhere")])
async def test_writeinto_something_that_is_no_file_is_refused_before_anything_is_fetched(
    backend: Backend, target: Any
) -> None:
    store, spy = spied(backend)

    with pytest.raises(InvalidOptionError, match=r"writeinto must .*binary writing"):
        await soon(store.get("name", target))

    assert spy.calls == []


async def test_a_writer_that_fails_ends_the_read(store: ObjectStore) -> None:
    class Failing:
        async def write(self, data: bytes) -> int:
            raise LookupError

    await soon(store.put("name", pattern_bytes(50), chunk_size=1))

    with pytest.raises(LookupError):
        await soon(store.get("name", Failing()))


# --- damage


async def damaged(
    backend: Backend, chunks: list[bytes], *, said: int, size: int, digest: str | None = None
) -> None:
    """An object whose metadata says something else than its chunks."""
    await write_chunks(backend, "DAMAGED", *chunks)
    raw: dict[str, Any] = {"name": "name", "nuid": "DAMAGED", "size": size, "chunks": said}
    if digest is not None:
        raw["digest"] = digest
    await write_raw(backend, "name", raw)


READS = ["get", "writeinto", "open", "get_file", "copy"]


async def read_in_some_way(store: ObjectStore, way: str, tmp_path: Path) -> Any:
    if way == "get":
        return await store.get("name")
    if way == "writeinto":
        return await store.get("name", io.BytesIO())
    if way == "get_file":
        return await store.get_file("name", tmp_path / "file")
    if way == "copy":
        return await store.copy("name", "copy")
    async with store.open("name") as reader:
        return await reader.read()


@pytest.mark.parametrize("way", READS)
@pytest.mark.parametrize(
    "chunks, said, size",
    [
        ([], 1, 5),
        ([], 2, 5),
        ([b"hel"], 2, 5),
        ([b"hel", b"lo", b"!"], 2, 5),
        ([b"hel", b"lo!"], 2, 5),
        ([b"hel", b"l"], 2, 5),
        ([b"hell"], 1, 5),
        ([b"hello!"], 1, 5),
        # As many bytes, with the right digest, in another number of chunks.
        ([b"hel", b"lo"], 3, 5),
        ([b"h", b"el", b"lo"], 2, 5),
        ([b"hello", b"hello"], 0, 5),
        ([b"hell"], 0, 5),
    ],
)
async def test_chunks_that_are_not_what_was_put_are_an_error(
    store: ObjectStore,
    backend: Backend,
    audit: Audit,
    tmp_path: Path,
    chunks: list[bytes],
    said: int,
    size: int,
    way: str,
) -> None:
    audit.orphans = True
    await damaged(backend, chunks, said=said, size=size, digest=HELLO)

    with pytest.raises(IncompleteObjectError) as caught:
        await soon(read_in_some_way(store, way, tmp_path))

    assert isinstance(caught.value, CorruptObjectError)
    assert str(caught.value).startswith(f"Bucket '{backend.bucket}', object 'name': ")
    assert str(caught.value).endswith("put it again.")
    assert list(tmp_path.iterdir()) == []
    assert not await soon(store.exists("copy"))


@pytest.mark.parametrize("way", READS)
@pytest.mark.parametrize("chunks", [[b"hellO"], [b"hel", b"lO"], [b"lo", b"hel"]])
async def test_content_with_another_digest_is_an_error(
    store: ObjectStore,
    backend: Backend,
    audit: Audit,
    tmp_path: Path,
    chunks: list[bytes],
    way: str,
) -> None:
    audit.orphans = True
    await damaged(backend, chunks, said=len(chunks), size=5, digest=HELLO)

    with pytest.raises(DigestMismatchError, match=f"the metadata says {HELLO}") as caught:
        await soon(read_in_some_way(store, way, tmp_path))

    assert isinstance(caught.value, CorruptObjectError)
    assert isinstance(caught.value, nats.js.errors.DigestMismatchError)
    assert f"Bucket '{backend.bucket}', object 'name'" in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    assert not await soon(store.exists("copy"))


@pytest.mark.parametrize(
    "digest",
    [
        HELLO,
        HELLO.rstrip("="),
        HELLO.replace("-", "+").replace("SHA+256", "SHA-256"),
        "sha-256=" + HELLO[8:],
        None,
        "",
    ],
)
@pytest.mark.parametrize("chunks", [[b"hello"], [b"hel", b"lo"]])
async def test_digests_of_every_client_are_understood(
    store: ObjectStore, backend: Backend, audit: Audit, chunks: list[bytes], digest: str | None
) -> None:
    audit.orphans = True
    await damaged(backend, chunks, said=len(chunks), size=5, digest=digest)

    assert await soon(store.get("name")) == b"hello"


async def test_an_empty_object_with_a_wrong_digest_is_an_error(
    store: ObjectStore, backend: Backend, audit: Audit
) -> None:
    audit.orphans = True
    await damaged(backend, [], said=0, size=0, digest=HELLO)

    with pytest.raises(DigestMismatchError):
        await soon(store.get("name"))


async def test_metadata_without_a_number_of_chunks_is_read_by_its_size(
    store: ObjectStore, backend: Backend, audit: Audit
) -> None:
    audit.orphans = True
    await damaged(backend, [b"hel", b"lo"], said=0, size=5, digest=HELLO)

    assert await soon(store.get("name")) == b"hello"


@pytest.mark.parametrize("size", [2**60, 2**70])
async def test_a_size_that_the_chunks_cannot_have_is_an_error(
    store: ObjectStore, backend: Backend, audit: Audit, size: int
) -> None:
    audit.orphans = True
    await damaged(backend, [b"hel", b"lo"], said=2, size=size)

    with pytest.raises(IncompleteObjectError, match=rf"'name'.* {size} bytes cannot fit into"):
        await soon(store.get("name"))


@pytest.mark.parametrize("claimed", [5, 7])
async def test_content_that_no_memory_holds_is_an_error_that_says_what_to_do(
    store: ObjectStore,
    backend: Backend,
    audit: Audit,
    monkeypatch: pytest.MonkeyPatch,
    claimed: int,
) -> None:
    def full(*_: object) -> None:
        raise MemoryError

    audit.orphans = True
    # Seven bytes cannot be in two chunks of which the first has three.
    await damaged(backend, [b"hel", b"lo"], said=2, size=claimed)
    monkeypatch.setattr("faststream_objstore.store.content._InPlace.__init__", full)
    monkeypatch.setattr("faststream_objstore.store.content.io.BytesIO", Full)

    with pytest.raises(
        ObjectTooLargeError, match=rf"'name' has {claimed} bytes.*there is memory for"
    ):
        await soon(store.get("name"))


class Full(io.BytesIO):
    def write(self, data: object, /) -> int:
        raise MemoryError


@pytest.mark.parametrize("sizes", [[3, 2], [2, 3], [1, 1, 8], [300_000] * 40 + [7]])
@pytest.mark.parametrize("python", ["cpython", "another"])
async def test_content_is_the_same_however_it_is_gathered(
    store: ObjectStore,
    backend: Backend,
    audit: Audit,
    monkeypatch: pytest.MonkeyPatch,
    sizes: list[int],
    python: str,
) -> None:
    audit.orphans = True
    parts = [random.Random(i).randbytes(size) for i, size in enumerate(sizes)]
    whole = b"".join(parts)
    sha256 = hashlib.sha256(whole).digest()
    digest = "SHA-256=" + base64.urlsafe_b64encode(sha256).decode()
    await damaged(backend, parts, said=len(parts), size=len(whole), digest=digest)

    if python == "another":
        monkeypatch.setattr("faststream_objstore.store.allocation._KNOWN", False)
    _proven.cache_clear()

    data = await soon(store.get("name"))

    assert data == whole
    assert hash(data) == hash(whole)
    assert {whole: "found"}[data] == "found"
    assert data.info.name == "name"
    _proven.cache_clear()


@pytest.mark.parametrize("body", [b"", b"not json", b"[]", b"null", b'{"size": "5"}', b"\xff"])
async def test_metadata_that_does_not_parse_is_an_error_that_says_how_to_repair_it(
    store: ObjectStore, backend: Backend, body: bytes
) -> None:
    await write_raw(backend, "name", body)

    for call in (store.get("name"), store.get_info("name"), store.exists("name")):
        with pytest.raises(BadObjectMetaError, match="put or delete the object") as caught:
            await soon(call)
        assert isinstance(caught.value, nats.js.errors.BadObjectMetaError)
        assert f"Bucket '{backend.bucket}', object 'name'" in str(caught.value)
    await soon(store.delete("name"))
    assert await soon(layout(backend)) == {"name": "deleted"}


# --- get_info, exists


async def test_get_info_of_a_deleted_object_is_its_marker(store: ObjectStore) -> None:
    first = await soon(store.put("name", b"hello", description="d"))
    await soon(store.delete("name"))

    with pytest.raises(ObjectDeletedError):
        await soon(store.get_info("name"))
    marker = await soon(store.get_info("name", show_deleted=True))
    assert marker == replace(
        first, deleted=True, size=0, chunks=0, digest=None, revision=3, nuid=marker.nuid
    )
    assert await soon(store.get_info("name", True)) == marker


async def test_get_info_has_the_servers_time(store: ObjectStore, backend: Backend) -> None:
    await soon(store.put("name", b"hello"))
    message = await backend.last_message(f"$O.{backend.bucket}.M.bmFtZQ==")

    assert message is not None
    assert (await soon(store.get_info("name"))).mtime == message.time


async def test_the_stored_mtime_is_not_trusted(
    store: ObjectStore, backend: Backend, audit: Audit
) -> None:
    audit.orphans = True
    await write_raw(backend, "name", {"name": "name", "nuid": "N", "mtime": "nonsense"})

    info = await soon(store.get_info("name"))
    assert info.mtime is not None
    assert info.mtime.year >= 2024


async def test_exists_is_true_for_what_is_live(store: ObjectStore) -> None:
    assert await soon(store.exists("name")) is False
    await soon(store.put("name", b"hello"))
    assert await soon(store.exists("name")) is True
    await soon(store.add_link("link", "name"))
    assert await soon(store.exists("link")) is True
    await soon(store.delete("name"))
    assert await soon(store.exists("name")) is False
    # The link itself is there.
    assert await soon(store.exists("link")) is True


async def test_every_read_of_a_bucket_that_is_gone_says_so(
    store: ObjectStore, backend: Backend, bench: Bench
) -> None:
    info = await soon(store.put("name", pattern_bytes(50), chunk_size=10))
    await bench.server.delete(backend.bucket)

    for call in (
        store.get("name"),
        store.get(info),
        store.get_range(info, 1, 2),
        store.get_info("name"),
        store.exists("name"),
        store.list(),
        store.status(),
    ):
        with pytest.raises(BucketNotFoundError, match=backend.bucket):
            await soon(call)


async def test_reads_leave_nothing_on_the_server(
    store: ObjectStore, backend: Backend, bench: Bench
) -> None:
    await soon(store.put("name", pattern_bytes(50), chunk_size=10))
    await soon(store.get("name"))
    await soon(store.get("name", io.BytesIO()))
    await soon(store.get_range("name", 5, 25))
    await soon(store.list())

    assert await soon(bench.consumers(backend.bucket)) == []
    assert len(await soon(raw_metadata(backend))) == 1
