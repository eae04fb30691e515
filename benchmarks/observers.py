"""What observers cost: `python -m benchmarks.observers`.

The same small puts and gets through stores without observers, with one that does nothing, and
with Prometheus and OpenTelemetry, taking turns on one embedded server. The fastest of many
short rounds, as `timeit` has it: what else the machine does only makes them slower.
"""

import argparse
import asyncio
import time

from faststream.nats import NatsBroker
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry

from faststream_objstore import Bucket, Buckets, ObjectStore
from faststream_objstore.observers import ChangeEvent, Observer, OperationEvent
from faststream_objstore.observers.opentelemetry import OpenTelemetryObserver
from faststream_objstore.observers.prometheus import PrometheusObserver
from faststream_objstore.testing import NatsServer

CONTENT = b"x" * 4096


class Silent:
    """An observer that does nothing with what it is told."""

    def operation(self, event: OperationEvent) -> None:
        """Do nothing."""

    def change(self, event: ChangeEvent) -> None:
        """Do nothing."""


def candidates() -> dict[str, list[Observer]]:
    """The observers to compare."""
    meters = MeterProvider(metric_readers=[InMemoryMetricReader()])
    return {
        "none": [],
        "one that does nothing": [Silent()],
        "Prometheus": [PrometheusObserver(CollectorRegistry())],
        "OpenTelemetry": [OpenTelemetryObserver(TracerProvider(), meters)],
    }


async def microseconds(store: ObjectStore, operation: str, count: int) -> float:
    """How long one operation takes, on average of so many."""
    began = time.perf_counter()
    for number in range(count):
        if operation == "put":
            await store.put(f"object-{number % 10}", CONTENT)
        else:
            await store.get(f"object-{number % 10}")
    return (time.perf_counter() - began) / count * 1e6


async def main(rounds: int, count: int) -> None:
    """Take turns, and print the fastest."""
    async with NatsServer() as server:
        stores: dict[str, ObjectStore] = {}
        brokers: list[NatsBroker] = []
        for number, (name, observers) in enumerate(candidates().items()):
            broker = NatsBroker(server.url, logger=None)
            bucket = Bucket(f"bench-{number}", storage="memory")
            buckets = Buckets(broker, bucket, observers=observers)
            await broker.start()
            brokers.append(broker)
            stores[name] = await buckets.open(bucket)
            await microseconds(stores[name], "put", count)
        taken: dict[tuple[str, str], list[float]] = {}
        for turn in range(rounds):
            names = list(stores)
            # Nobody is always first.
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                for operation in ("put", "get"):
                    one = await microseconds(stores[name], operation, count)
                    taken.setdefault((name, operation), []).append(one)
        for broker in brokers:
            await broker.stop()
    print("| observers | put, µs | get, µs |\n| --- | --- | --- |")
    for name in stores:
        put, get = (min(taken[name, one]) for one in ("put", "get"))
        print(f"| {name} | {put:.0f} | {get:.0f} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--count", type=int, default=40)
    given = parser.parse_args()
    asyncio.run(main(given.rounds, given.count))
