"""Metadata messages as the store reads and writes them."""

from dataclasses import fields, replace
from datetime import datetime, timezone

from faststream_objstore.messages import StoredMessage
from faststream_objstore.models import ObjectInfo, ObjectMetaOptions
from faststream_objstore.store import metadata


def test_a_stored_version_differs_from_what_was_written_in_revision_and_time_only() -> None:
    # Every field has a value that is not its default, so that one left out is seen.
    info = ObjectInfo(
        name="name",
        bucket="bucket",
        nuid="NUID",
        size=5,
        chunks=2,
        digest="SHA-256=x",
        deleted=True,
        description="d",
        headers={"h": ["1"]},
        metadata={"m": "1"},
        options=ObjectMetaOptions(max_chunk_size=3),
        revision=1,
        mtime=datetime(2020, 1, 1, tzinfo=timezone.utc),
        expired=True,
        expires=datetime(2020, 1, 2, tzinfo=timezone.utc),
    )
    empty = ObjectInfo(name="", bucket="")
    same = [
        one.name for one in fields(info) if getattr(info, one.name) == getattr(empty, one.name)
    ]
    assert same == [], "a new field of ObjectInfo: give it a value here"

    message = StoredMessage("$O.bucket.M.bmFtZQ==", b"{}", sequence=7, time_ns=1_500_000_000)
    written = metadata.stored(info, message)

    time = datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=timezone.utc)
    assert written == replace(info, revision=7, mtime=time)
    assert written.mtime == time
