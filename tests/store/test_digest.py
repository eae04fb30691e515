"""SHA-256 of what is put and read is that of its bytes, however they are handed over."""

import hashlib
import random

import pytest

from faststream_objstore.store.digest import LargeSHA256

KIB = 1024


@pytest.mark.parametrize(
    "sizes",
    [
        [],
        [0],
        [1],
        [1024 * KIB - 1],
        [1024 * KIB],
        [1536 * KIB + 1],
        [2048 * KIB],
        # The last block of one is shorter than what was copied there before it.
        [1500 * KIB + 7, 3, 1100 * KIB, 512 * KIB],
    ],
)
def test_large_memory_has_the_same_digest_block_by_block(sizes: list[int]) -> None:
    parts = [random.Random(i).randbytes(size) for i, size in enumerate(sizes)]
    digest = LargeSHA256()

    for part in parts:
        digest.update(memoryview(part))

    assert digest.digest() == hashlib.sha256(b"".join(parts)).digest()
