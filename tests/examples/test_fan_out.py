"""The example of a fan-out: as a program with a killed replica, and in memory."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nats
import pytest
from faststream.nats import TestNatsBroker

from examples import fan_out
from faststream_objstore.testing import NatsServer

ROOT = Path(__file__).parents[2]


def run(url: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "examples/fan_out.py"],
        cwd=ROOT,
        env={**os.environ, "NATS_URL": url, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


def shares(line: str) -> tuple[str, set[str], int]:
    """What stands before the colon, who is named behind it, and the sum of their shares."""
    what, _, by = line.partition(": ")
    found = re.findall(r"(\w+) (\d+)", by)
    return " ".join(what.split()), {name for name, _ in found}, sum(int(n) for _, n in found)


def check(lines: list[str]) -> None:
    said = [" ".join(line.split()) for line in lines]
    counts = [said.pop(at) for at in (12, 7, 2)]
    assert said == [
        "learnt spam.txt ann, bob, cat",
        "learnt manners.txt ann, bob, cat",
        "a0.txt manners.txt, spam.txt",
        "a1.txt fine",
        "killed bob the others go on",
        "learnt spam.txt ann, cat",
        "b0.txt fine",
        "b1.txt manners.txt, spam.txt",
        "started dan it has learnt manners.txt and spam.txt too",
        "forgot manners.txt ann, cat, dan",
        "c0.txt fine",
    ]
    for line, (what, who, documents) in zip(
        counts,
        [
            ("1 documents 1 verdicts", {"ann", "cat", "dan"}, 1),
            ("10 documents 10 verdicts", {"ann", "cat"}, 10),
            ("10 documents 10 verdicts", {"ann", "bob", "cat"}, 10),
        ],
        strict=True,
    ):
        said_what, judges, judged = shares(line)
        assert (said_what, judged) == (what, documents)
        assert judges <= who


def test_each_replica_learns_each_rule_and_one_judges_each_document() -> None:
    check(run(""))


@pytest.mark.once
async def test_buckets_may_hold_what_an_earlier_run_left(tmp_path: Path) -> None:
    async with (
        NatsServer(store_dir=tmp_path) as server,
        await nats.connect(server.url) as client,
    ):
        for bucket, name in (("rules", "spam.txt"), ("documents", "a0.txt")):
            # With nats-py, as somebody else may have.
            store = await client.jetstream().create_object_store(bucket)
            await store.put(name, b"left over")
        check(run(server.url))


@pytest.fixture
def forbidden() -> Iterator[dict[str, set[str]]]:
    fan_out.forbidden.clear()
    yield fan_out.forbidden
    fan_out.forbidden.clear()


async def test_rules_are_followed_in_memory(forbidden: dict[str, set[str]]) -> None:
    async with TestNatsBroker(fan_out.broker):
        rules = await fan_out.buckets.open("rules")
        documents = await fan_out.buckets.open("documents")

        await rules.put("spam.txt", "lottery\nprize")
        await rules.put("picture.png", b"\x89PNG")
        assert forbidden == {"spam.txt": {"lottery", "prize"}}
        letter = await documents.put("letter", "a prize")
        fan_out.judge.mock.assert_called_once_with(letter)

        await rules.delete("spam.txt")
        assert forbidden == {}
