"""What a result is made from, and what becomes of it when that changes, in memory."""

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from faststream_objstore import Bucket, ObjectInfo, ObjectResponse, ObjectSource, wire
from faststream_objstore.changes.inprocess import InProcessChange
from faststream_objstore.changes.subscriber import ChangeSubscriber
from faststream_objstore.store import ObjectStore
from tests.publishers.support import Service, in_memory, names


async def change_of(
    service: Service, bucket: Bucket, name: str, **said: Any
) -> InProcessChange:
    """What a replica would be told of an object as it is now."""
    backend = await service.buckets._attached.backend_of(bucket.name)
    stored = await backend.last_message(wire.metadata_subject(bucket.name, name))
    assert stored is not None
    change = InProcessChange.of(stored, bucket.name)
    change.receipt = change.receipt._replace(deliveries=said.pop("deliveries", 1))
    for key, value in said.items():
        setattr(change, key, value)
    return change


class Thumbnails:
    """Sources, results, and a handler that counts its calls."""

    def __init__(
        self, event: str = "put", pattern: str = "{stem}.png", **options: Any
    ) -> None:
        self.sources, self.results = Bucket("sources"), Bucket("results")
        self.calls: list[ObjectInfo] = []
        self.returned: Callable[[ObjectInfo], Any] = lambda info: b"%d" % info.revision
        self.subscriber: ChangeSubscriber = getattr(self.sources, f"on_{event}")(pattern)
        self.publisher = self.results.publisher(options.pop("name", "{stem}.webp"), **options)
        self.subscriber(self.publisher(self._handle))

    async def _handle(self, info: ObjectInfo) -> Any:
        self.calls.append(info)
        return self.returned(info)

    @asynccontextmanager
    async def entered(self) -> AsyncIterator[tuple[Service, ObjectStore, ObjectStore]]:
        """The service in memory, with the stores of the sources and of the results."""
        async with in_memory(self.sources, self.results) as service:
            yield (
                service,
                await service.store(self.sources),
                await service.store(self.results),
            )


# Lineage


async def test_result_says_what_it_was_made_from() -> None:
    made = Thumbnails(rebuild="v2")
    async with made.entered() as (service, sources, results):
        info = await sources.put("cat.png", b"cat")
        backend = await service.buckets._attached.backend_of("sources")
        result = await results.get_info("cat.webp")

        created = (await backend.state()).created
    assert result.source == ObjectSource(
        bucket="sources",
        name="cat.png",
        revision=info.revision,
        digest=info.digest,
        created=created,
        rebuild="v2",
    )
    assert result.metadata == {
        "objstore.source.bucket": "sources",
        "objstore.source.name": "cat.png",
        "objstore.source.revision": str(info.revision),
        "objstore.source.digest": str(info.digest),
        "objstore.source.created": created,
        "objstore.rebuild": "v2",
    }


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {},
        {"objstore.source.bucket": "b", "objstore.source.name": "n"},
        {
            "objstore.source.bucket": "b",
            "objstore.source.name": "n",
            "objstore.source.revision": "-1",
        },
        {
            "objstore.source.bucket": "b",
            "objstore.source.name": "n",
            "objstore.source.revision": "9" * 5000,
        },
        {
            "objstore.source.bucket": "",
            "objstore.source.name": "n",
            "objstore.source.revision": "1",
        },
    ],
)
def test_metadata_that_names_no_version_is_no_lineage(metadata: Any) -> None:
    assert ObjectInfo(name="a", bucket="b", metadata=metadata).source is None


# The newest source wins


async def test_late_result_of_an_older_version_is_not_stored(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = Thumbnails()
    async with made.entered() as (service, sources, results):
        await sources.put("cat.png", b"1")
        old = await change_of(service, made.sources, "cat.png")
        newest = await sources.put("cat.png", b"2")

        with caplog.at_level(logging.INFO, "faststream_objstore"):
            await made.subscriber.deliver(old)

        assert await results.get("cat.webp") == b"%d" % newest.revision
        made.publisher.mock.assert_called_with(b"%d" % newest.revision)
        assert len(made.publisher.mock.mock_calls) == 2
    assert "the result 'cat.webp' is not stored: it is of revision 2" in caplog.text


async def test_late_stream_of_an_older_version_is_not_read() -> None:
    made = Thumbnails()
    read: list[int] = []

    def stream(info: ObjectInfo) -> Any:
        def pieces() -> Any:
            read.append(info.revision)
            yield b"%d" % info.revision

        return pieces()

    made.returned = stream
    async with made.entered() as (service, sources, results):
        first = await sources.put("cat.png", b"1")
        old = await change_of(service, made.sources, "cat.png")
        second = await sources.put("cat.png", b"2")
        await made.subscriber.deliver(old)

        assert await results.get("cat.webp") == b"%d" % second.revision
    assert read == [first.revision, second.revision]


async def test_result_of_a_replaced_version_is_stored_while_there_is_no_newer() -> None:
    # A source that is overwritten faster than its handler works has a result all the same.
    made = Thumbnails()
    async with made.entered() as (service, sources, results):
        made.returned = lambda _: None
        await sources.put("cat.png", b"1")
        old = await change_of(service, made.sources, "cat.png")
        backend: Any = await service.buckets._attached.backend_of("results")
        await backend.purge(wire.metadata_subject("results", "cat.webp"))
        backend._server._subscribers.clear()
        await sources.put("cat.png", b"2")

        made.returned = lambda _: b"old"
        await made.subscriber.deliver(old)

        assert await results.get("cat.webp") == b"old"


async def test_newer_version_without_a_result_takes_the_older_result_away() -> None:
    made = Thumbnails()
    async with made.entered() as (service, sources, results):
        await sources.put("cat.png", b"1")
        old = await change_of(service, made.sources, "cat.png")
        made.returned = lambda _: None
        await sources.put("cat.png", b"2")
        assert await names(results) == []

        made.returned = lambda _: b"late"
        await made.subscriber.deliver(old)
        assert await names(results) == []


async def test_sources_that_share_a_result_replace_each_other_by_revision() -> None:
    made = Thumbnails(pattern="{user}/{stem}.png", name="{user}")
    async with made.entered() as (service, sources, results):
        await sources.put("ann/1.png", b"")
        old = await change_of(service, made.sources, "ann/1.png")
        second = await sources.put("ann/2.png", b"")
        await made.subscriber.deliver(old)
        assert await results.get("ann") == b"%d" % second.revision

        # The older one's deletion is none of the result's business.
        await sources.delete("ann/1.png")
        assert await results.get("ann") == b"%d" % second.revision
        await sources.delete("ann/2.png")
        assert await names(results) == []

        third = await sources.put("ann/3.png", b"")
        assert await results.get("ann") == b"%d" % third.revision


async def test_result_of_a_bucket_that_was_made_again_replaces_that_of_the_old_one() -> None:
    made = Thumbnails()
    async with made.entered() as (service, sources, results):
        for _ in range(5):
            await sources.put("cat.png", b"1")
        old = await change_of(service, made.sources, "cat.png")
        await service.buckets.delete_bucket("sources")
        await service.buckets.create("sources")
        newest = await sources.put("cat.png", b"2")
        assert newest.revision < old.info.revision
        assert await results.get("cat.webp") == b"%d" % newest.revision

        # And a late one of the old bucket does not come back.
        await made.subscriber.deliver(old)
        assert await results.get("cat.webp") == b"%d" % newest.revision

        await sources.delete("cat.png")
        assert await names(results) == []


async def test_object_of_somebody_else_is_replaced_by_a_result() -> None:
    # As thumbnails that were made by hand, before there was a publisher.
    made = Thumbnails()
    async with made.entered() as (_, sources, results):
        await results.put("cat.webp", b"by hand")
        info = await sources.put("cat.png", b"1")
        assert await results.get("cat.webp") == b"%d" % info.revision


# follow


@pytest.mark.parametrize("event", ["put", "change"])
async def test_result_goes_with_its_source(event: str) -> None:
    made = Thumbnails(event)
    async with made.entered() as (_, sources, results):
        await sources.put("cat.png", b"1")
        await sources.delete("cat.png")

        assert await names(results) == []
        marker = await results.get_info("cat.webp", show_deleted=True)
        deletion = await sources.get_info("cat.png", show_deleted=True)
        assert marker.source is not None
        assert marker.source.revision == deletion.revision
    assert len(made.calls) == (1 if event == "put" else 2)


async def test_result_is_named_anew_when_its_source_is_renamed() -> None:
    made = Thumbnails()
    async with made.entered() as (_, sources, results):
        await sources.put("cat.png", b"1")
        await sources.rename("cat.png", "dog.png")
        assert await names(results) == ["dog.webp"]
        await sources.rename("dog.png", "dog.txt")
        assert await names(results) == []


async def test_results_that_do_not_follow_stay() -> None:
    made = Thumbnails(follow=False)
    async with made.entered() as (service, sources, results):
        info = await sources.put("cat.png", b"1")
        late = await change_of(service, made.sources, "cat.png")
        await sources.delete("cat.png")
        assert await results.get("cat.webp") == b"%d" % info.revision

        # Nor is the source asked for.
        await results.delete("cat.webp")
        await made.subscriber.deliver(late)
        assert await results.get("cat.webp") == b"%d" % info.revision


async def test_late_result_of_a_deleted_source_does_not_come_back() -> None:
    made = Thumbnails()
    async with made.entered() as (service, sources, results):
        await sources.put("cat.png", b"1")
        late = await change_of(service, made.sources, "cat.png")
        await sources.delete("cat.png")
        await made.subscriber.deliver(late)
        assert await names(results) == []


async def test_swept_marker_brings_no_late_result_back() -> None:
    made = Thumbnails()
    async with made.entered() as (service, sources, results):
        await sources.put("cat.png", b"1")
        late = await change_of(service, made.sources, "cat.png")
        await sources.delete("cat.png")
        backend = await service.buckets._attached.backend_of("results")
        await backend.purge(wire.metadata_subject("results", "cat.webp"))
        await made.subscriber.deliver(late)
        assert await names(results, include_deleted=True) == []

        # Not even where the source's own marker was swept.
        backend = await service.buckets._attached.backend_of("sources")
        await backend.purge(wire.metadata_subject("sources", "cat.png"))
        await made.subscriber.deliver(late)
        assert await names(results, include_deleted=True) == []


async def test_late_deletion_leaves_the_result_of_a_newer_put() -> None:
    made = Thumbnails()
    async with made.entered() as (service, sources, results):
        await sources.put("cat.png", b"1")
        await sources.delete("cat.png")
        deletion = await change_of(service, made.sources, "cat.png")
        newest = await sources.put("cat.png", b"2")
        await made.subscriber.deliver(deletion)
        assert await results.get("cat.webp") == b"%d" % newest.revision


async def test_what_somebody_else_has_put_since_is_left_alone_and_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    made = Thumbnails()
    async with made.entered() as (_, sources, results):
        await sources.put("cat.png", b"1")
        await results.put("cat.webp", b"retouched")
        with caplog.at_level(logging.WARNING, "faststream_objstore"):
            await sources.delete("cat.png")
        assert await results.get("cat.webp") == b"retouched"
    assert (
        "Bucket 'results': 'cat.webp' is left alone, though its source 'cat.png' in "
        "'sources' was deleted: somebody else has put it."
    ) in caplog.text


async def test_result_of_another_bucket_is_somebody_elses() -> None:
    made = Thumbnails()
    async with made.entered() as (_, sources, results):
        await sources.put("cat.png", b"1")
        info = await results.get_info("cat.webp")
        assert info.metadata is not None
        await results.put(
            "cat.webp", b"other", metadata=info.metadata | {"objstore.source.bucket": "x"}
        )
        await sources.delete("cat.png")
        assert await results.get("cat.webp") == b"other"


async def test_result_under_a_name_of_the_handlers_is_not_followed() -> None:
    made = Thumbnails()
    made.returned = lambda _: ObjectResponse(b"x", name="chosen")
    async with made.entered() as (_, sources, results):
        await sources.put("cat.png", b"1")
        await sources.delete("cat.png")
        assert await names(results) == ["chosen"]


async def test_handler_that_hears_of_deletions_stores_no_result_of_them() -> None:
    made = Thumbnails("change")
    async with made.entered() as (_, sources, results):
        await sources.put("cat.png", b"1")
        await sources.delete("cat.png")
        assert await names(results) == []
        assert [info.deleted for info in made.calls] == [False, True]
    assert len(made.calls) == 2


async def test_handler_of_deletions_alone_stores_what_it_makes_of_them() -> None:
    made = Thumbnails("delete", name="{stem}.obituary")
    async with made.entered() as (_, sources, results):
        await sources.put("cat.png", b"1")
        await sources.delete("cat.png")
        assert await names(results) == ["cat.obituary"]
        await sources.put("cat.png", b"1")
        assert await names(results) == ["cat.obituary"]


async def test_on_change_without_follow_stores_what_it_makes_of_a_deletion() -> None:
    made = Thumbnails("change", follow=False)
    made.returned = lambda info: b"gone" if info.deleted else b"there"
    async with made.entered() as (_, sources, results):
        await sources.put("cat.png", b"1")
        await sources.delete("cat.png")
        assert await results.get("cat.webp") == b"gone"


# Published by hand for a source


async def test_publish_with_a_source_is_stored_as_a_result_of_it() -> None:
    made = Thumbnails()
    async with made.entered() as (_, sources, results):
        made.returned = lambda _: None
        old = await sources.put("cat.png", b"1")
        newest = await sources.put("cat.png", b"2")

        stored = await made.publisher.publish(b"failed", name="cat.webp", source=newest)
        assert stored.source is not None
        assert stored.source.revision == newest.revision
        refused = await made.publisher.publish(b"older", name="cat.webp", source=old)
        assert refused.deleted
        assert await results.get("cat.webp") == b"failed"

        await sources.delete("cat.png")
        assert await names(results) == []
        assert (await made.publisher.publish(b"late", name="cat.webp", source=newest)).deleted
        assert await names(results) == []


# Skip what is done


@pytest.mark.parametrize("again", [{"deliveries": 2}, {"replayed": True}])
async def test_repeated_change_whose_result_is_there_is_not_handled(again: Any) -> None:
    made = Thumbnails()
    async with made.entered() as (service, sources, _):
        await sources.put("cat.png", b"1")
        await made.subscriber.deliver(
            await change_of(service, made.sources, "cat.png", **again)
        )
    assert len(made.calls) == 1


async def test_change_that_comes_for_the_first_time_is_not_looked_up() -> None:
    made = Thumbnails()
    async with made.entered() as (service, sources, _):
        await sources.put("cat.png", b"1")
        await made.subscriber.deliver(await change_of(service, made.sources, "cat.png"))
    assert len(made.calls) == 2


async def test_repeated_change_that_has_no_result_is_not_handled() -> None:
    made = Thumbnails()
    made.returned = lambda _: None
    async with made.entered() as (service, sources, _):
        await sources.put("cat.png", b"1")
        again = await change_of(service, made.sources, "cat.png", deliveries=2)
        await made.subscriber.deliver(again)
    assert len(made.calls) == 1


async def test_result_that_was_deleted_by_hand_is_made_again() -> None:
    made = Thumbnails()
    async with made.entered() as (service, sources, results):
        info = await sources.put("cat.png", b"1")
        await results.delete("cat.webp")
        again = await change_of(service, made.sources, "cat.png", replayed=True)
        await made.subscriber.deliver(again)
        assert await results.get("cat.webp") == b"%d" % info.revision
    assert len(made.calls) == 2


async def test_result_of_another_version_does_not_count() -> None:
    made = Thumbnails()
    async with made.entered() as (service, sources, results):
        await sources.put("cat.png", b"1")
        result = await results.get_info("cat.webp")
        assert result.metadata is not None
        again = await change_of(service, made.sources, "cat.png", deliveries=2)
        for key, value in (
            ("objstore.source.revision", "1"),
            ("objstore.source.digest", "SHA-256=other"),
            ("objstore.source.created", "2000-01-01T00:00:00Z"),
            ("objstore.source.name", "dog.png"),
        ):
            await results.put("cat.webp", b"", metadata=result.metadata | {key: value})
            await made.subscriber.deliver(again)
    assert len(made.calls) == 5


async def test_results_of_another_rebuild_are_made_anew() -> None:
    made = Thumbnails(rebuild="v1")
    async with made.entered() as (service, sources, results):
        await sources.put("cat.png", b"1")
        again = await change_of(service, made.sources, "cat.png", replayed=True)
        made.publisher.rebuild = "v2"
        made.returned = lambda _: b"second build"
        await made.subscriber.deliver(again)
        await made.subscriber.deliver(again)
        assert await results.get("cat.webp") == b"second build"
    assert len(made.calls) == 2


async def test_handler_that_does_more_than_objects_is_called_again() -> None:
    made = Thumbnails()
    made.calls.clear()
    handler: Any = made.subscriber.calls[0].handler
    async with made.entered() as (service, sources, _):
        told = service.broker.publisher("told")
        told(handler)
        await sources.put("cat.png", b"1")
        again = await change_of(service, made.sources, "cat.png", deliveries=2)
        await made.subscriber.deliver(again)
    assert len(made.calls) == 2


async def test_replayed_deletion_takes_a_result_along_and_leaves_no_new_marker() -> None:
    made = Thumbnails()
    async with made.entered() as (service, sources, results):
        backend: Any = await service.buckets._attached.backend_of("sources")
        await sources.put("cat.png", b"1")
        subscribers = backend._server._subscribers
        delivers = dict(subscribers)
        subscribers.clear()
        await sources.delete("cat.png")
        await sources.put("dog.png", b"1")
        await sources.delete("dog.png")
        subscribers.update(delivers)

        for name in ("cat.png", "dog.png"):
            await made.subscriber.deliver(
                await change_of(service, made.sources, name, replayed=True)
            )
        assert await names(results, include_deleted=True) == ["cat.webp"]
        assert await names(results) == []
    assert len(made.calls) == 1


async def test_paths_of_a_deletion_that_do_not_match_are_nobodys() -> None:
    made = Thumbnails()
    async with made.entered() as (_, sources, results):
        await results.put("cat.webp", b"")
        await sources.put("cat.jpg", b"")
        await sources.delete("cat.jpg")
        assert await names(results) == ["cat.webp"]
