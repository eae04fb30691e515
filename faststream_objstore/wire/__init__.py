"""ADR-20's wire format: subjects, names, digests, JSON. Pure functions, no I/O.

Writing is strict, reading is tolerant, because clients disagree in details. Go refuses an
empty `mtime`, so the zero time is written; nats.js leaves `nuid`, `size` and `digest` out of
links; some clients drop base64 padding or use the other alphabet.

Source: https://github.com/nats-io/nats-architecture-and-design, ADR-20.
"""

from .chunks import (
    chunk_subject,
    decode_digest,
    encode_digest,
)
from .metadata import (
    MOVE_NOTE,
    info_of,
    is_marker,
    load_json,
    metadata_subject,
    metadata_wildcard,
    name_of,
    notes_rename,
    nuid_in,
    options_of,
    subject_start,
    unbodied,
)
from .notes import (
    Replaced,
    content_us,
    expires_at,
    expires_us,
    has_content_at,
    has_expiry,
    has_replaced,
    is_pinned,
    microseconds,
    replaced_in,
    with_content_age,
    with_content_at,
    with_expires_at,
    with_replaced,
    with_ttl,
    without_content_age,
    without_expiry,
)
from .streams import (
    all_chunks_subject,
    all_metadata_subject,
    anchor_subject,
    bucket_of_stream,
    config_of,
    has_wildcards,
    keep_replaced,
    least_ttl,
    origins_of,
    stream_config,
    stream_name,
)
from .times import parse_time
from .writing import headers_of, metadata_json

__all__ = (
    "MOVE_NOTE",
    "Replaced",
    "all_chunks_subject",
    "all_metadata_subject",
    "anchor_subject",
    "bucket_of_stream",
    "chunk_subject",
    "config_of",
    "content_us",
    "decode_digest",
    "encode_digest",
    "expires_at",
    "expires_us",
    "has_content_at",
    "has_expiry",
    "has_replaced",
    "has_wildcards",
    "headers_of",
    "info_of",
    "is_marker",
    "is_pinned",
    "keep_replaced",
    "least_ttl",
    "load_json",
    "metadata_json",
    "metadata_subject",
    "metadata_wildcard",
    "microseconds",
    "name_of",
    "notes_rename",
    "nuid_in",
    "options_of",
    "origins_of",
    "parse_time",
    "replaced_in",
    "stream_config",
    "stream_name",
    "subject_start",
    "unbodied",
    "with_content_age",
    "with_content_at",
    "with_expires_at",
    "with_replaced",
    "with_ttl",
    "without_content_age",
    "without_expiry",
)
