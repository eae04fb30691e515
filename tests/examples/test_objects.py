"""The examples of objects as parameters: as programs, and under the test broker."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from faststream.nats import TestNatsBroker

from examples import live_config, objects
from faststream_objstore.exceptions import ObjectNotFoundError

ROOT = Path(__file__).parents[2]

LETTERS = [
    "Dear Ann, welcome!",
    "7.json.txt: welcome for Bob",
    "talk.ogg.sha256: 2daeb1f36095b44b…",
    "talk has 8,388,608 bytes",
    "song is not there",
]
PRICES = [
    "at first       2.50 EUR",
    "new prices     3.00 EUR",
    "bad prices     3.00 EUR",
    "sale           1.50 EUR",
    "after the sale 3.00 EUR",
    "prices.json: 2 loads, 1 failures",
    "sale: 1 loads, 0 failures",
]


def lines_of(example: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, f"examples/{example}"],
        cwd=ROOT,
        env={**os.environ, "NATS_URL": "", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_objects_arrive_as_parameters() -> None:
    assert lines_of("objects.py") == LETTERS


async def test_objects_arrive_as_parameters_under_the_test_broker(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with TestNatsBroker(objects.broker):
        await objects.show(objects.broker, objects.buckets)
    assert capsys.readouterr().out.splitlines() == LETTERS


def test_configuration_changes_while_the_service_runs() -> None:
    *shown, first, second = lines_of("live_config.py")
    assert shown == PRICES[:-2]
    assert sorted((first, second)) == PRICES[-2:]


async def test_configuration_changes_under_the_test_broker(
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with TestNatsBroker(live_config.broker) as broker:
        with pytest.raises(ObjectNotFoundError):
            await live_config.ask(broker)
        store = await live_config.buckets.open("config")
        await store.put("prices.json", '{"currency": "EUR", "each": {"tea": 2.5}}')
        await live_config.show(broker, live_config.buckets)
    *shown, first, second = capsys.readouterr().out.splitlines()
    assert shown == PRICES[:-2]
    assert sorted((first, second)) == PRICES[-2:]
