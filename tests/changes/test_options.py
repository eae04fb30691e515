"""What is refused where a change subscriber is declared."""

import inspect
from datetime import timedelta
from typing import Any

import pytest

from faststream_objstore.bucket import Bucket
from faststream_objstore.changes.retry import Retry
from faststream_objstore.exceptions import InvalidOptionError, InvalidPatternError
from faststream_objstore.models import ObjectInfo


@pytest.mark.parametrize("pattern", ["", "{user", "{}", "{1}", "{a}/{a}", "{a:int}", None, 5])
def test_malformed_pattern_is_refused_with_its_declaration(pattern: Any) -> None:
    with pytest.raises(InvalidPatternError) as caught:
        Bucket("photos").on_put(pattern)
    assert str(caught.value).startswith(f"Bucket 'photos', on_put({pattern!r}): ")
    assert caught.value.bucket == "photos"


@pytest.mark.parametrize("event", ["put", "delete", "change"])
def test_decorator_without_parentheses_is_refused_with_what_to_write(event: str) -> None:
    bucket = Bucket("photos")

    async def handle(info: ObjectInfo) -> None: ...

    with pytest.raises(InvalidPatternError, match=rf"write @bucket\.on_{event}\(\)"):
        getattr(bucket, f"on_{event}")(handle)
    assert bucket.subscribers == []


@pytest.mark.parametrize(
    "option,value",
    [
        ("durable", ""),
        ("durable", "a b"),
        ("durable", "a.b"),
        ("durable", "a/b"),
        ("durable", "x" * 300),
        ("durable", 5),
        ("replay", "yes"),
        ("max_workers", 0),
        ("max_workers", 1.5),
        ("max_workers", True),
        ("retry", 5),
        ("dead_letter", ""),
        ("dead_letter", "a.*"),
        ("dead_letter", "a.>"),
        ("dead_letter", "a b"),
        ("dead_letter", "a..b"),
        ("ack_wait", 0),
        ("ack_wait", -1),
        ("ack_wait", timedelta(0)),
        ("ack_wait", "30"),
        ("ack_wait", float("nan")),
    ],
)
def test_option_that_cannot_work_is_refused_by_name(option: str, value: Any) -> None:
    bucket = Bucket("photos")
    with pytest.raises(InvalidOptionError) as caught:
        bucket.on_put("a/*", **{option: value})
    assert "photos" in str(caught.value)
    assert f"{option} must be" in str(caught.value)
    assert f"got {value!r}" in str(caught.value)
    assert bucket.subscribers == []


def test_unknown_option_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"on_put\(\) got an unexpected .* 'durabel'"):
        Bucket("photos").on_put(durabel="x")  # type: ignore[call-arg]


def test_each_decorator_has_the_same_options() -> None:
    put, delete, change = (
        inspect.signature(decorator)
        for decorator in (Bucket.on_put, Bucket.on_delete, Bucket.on_change)
    )
    assert put == delete == change
    assert put.parameters["ack_wait"].default == 30
    assert put.parameters["retry"].default == Retry()


@pytest.mark.parametrize(
    "options",
    [
        {"attempts": 0},
        {"attempts": -1},
        {"attempts": 1.5},
        {"attempts": True},
        {"delays": ()},
        {"delays": (-1,)},
        {"delays": (timedelta(seconds=-1),)},
        {"delays": ("1",)},
        {"delays": "15"},
        {"delays": 5},
        {"delays": (float("inf"),)},
        {"delays": (float("nan"),)},
    ],
)
def test_retry_that_cannot_work_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InvalidOptionError, match="Retry: "):
        Retry(**options)


def test_retry_waits_longer_each_time_and_gives_up() -> None:
    retry = Retry(attempts=5, delays=(1, timedelta(minutes=1)))
    delays = [retry.delay(attempt) for attempt in range(1, 7)]

    assert delays[4:] == [None, None]
    for delay, wanted in zip(delays[:4], (1, 60, 60, 60), strict=True):
        assert delay is not None
        assert wanted * 0.9 <= delay <= wanted * 1.1


def test_retries_of_changes_that_failed_together_are_spread() -> None:
    retry = Retry(delays=(10,))
    assert len({retry.delay(1) for _ in range(20)}) > 1
