"""The page on operating: its service, its tables, its dashboard and its alerts."""

import asyncio
import json
import re
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
import uvicorn
from faststream.nats import NatsBroker, TestNatsBroker
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from faststream_objstore import Bucket, Buckets, LiveObject, Retry
from faststream_objstore.models import ObjectInfo
from faststream_objstore.observers.opentelemetry import OpenTelemetryObserver
from faststream_objstore.observers.prometheus import PrometheusObserver, make_metrics_asgi
from faststream_objstore.testing import NatsServer
from tests.changes.support import soon
from tests.docs.page import DOCS, ran
from tests.observers.support import Recorder

pytestmark = pytest.mark.once

PROMETHEUS = shutil.which("prometheus")
OWN = "faststream_objstore_"


def rows(first: str) -> list[list[str]]:
    """The rows of the table whose first column has names that begin so."""
    text = (DOCS / "operating.md").read_text()
    return [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith(f"| `{first}")
    ]


def queries() -> dict[str, str]:
    """Each query of the dashboard and of the alerts; of an alert, what it compares."""
    dashboard = json.loads((DOCS / "operating/dashboard.json").read_text())
    found = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in dashboard["panels"]
        for target in panel["targets"]
    }
    alerts = (DOCS / "operating/alerts.yml").read_text()
    for name, text in re.findall(
        r"- alert: (\w+)\n\s+expr: (.*?)\n\s+(?:for|labels):", alerts, re.DOTALL
    ):
        joined = " ".join(text.replace(">-", "").split())
        found[name] = re.sub(r"\s(>|==) [\d.]+$", "", joined)
    return {
        name: text.replace("$__rate_interval", "1m").replace("$bucket", ".*")
        for name, text in found.items()
    }


class Service:
    """A service in which everything happens that there is a metric of."""

    def __init__(self, url: str, name: str) -> None:
        self.registry = CollectorRegistry()
        self.observer = PrometheusObserver(self.registry)
        self.reader = InMemoryMetricReader()
        self.seen = Recorder()
        self.broker = NatsBroker(url, logger=None)
        self.bucket = bucket = Bucket(name, max_bytes=1_000_000)
        meters = MeterProvider(metric_readers=[self.reader])
        self.buckets = Buckets(
            self.broker,
            bucket,
            observers=[self.observer, self.seen, OpenTelemetryObserver(None, meters)],
        )

        @bucket.on_put(durable="worker", retry=Retry(2, delays=(0.01,)))
        async def work(info: ObjectInfo) -> None:
            if info.name.startswith("bad"):
                raise ValueError

        @self.broker.subscriber(f"in.{name}")
        async def handle(
            body: str, rules: Annotated[bytes, LiveObject(name, "rules.json")]
        ) -> None: ...

    async def happen(self, number: int) -> None:
        store = await self.buckets.open(self.bucket)
        await store.put("good", b"x" * 1000)
        await store.get("good")
        before = len(self.seen.changes)
        await store.put(f"bad-{number}", b"x")
        await self.seen.wait_for_changes(before + 2)
        with pytest.raises(Exception, match="full"):
            await store.put("large", b"x" * 2_000_000)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Service"]:
        try:
            await soon(self.broker.connect())
            await (await self.buckets.open(self.bucket)).put("rules.json", b"{}")
            await soon(self.broker.start())
            await self.happen(0)
            yield self
        finally:
            await soon(self.broker.stop())


async def scraped(service: Service) -> str:
    transport = httpx.ASGITransport(make_metrics_asgi(service.observer))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        return (await client.get("/metrics")).text


async def test_table_has_each_metric_of_prometheus_with_its_labels(
    nats_server: NatsServer, bucket_name: str
) -> None:
    async with Service(nats_server.url, bucket_name).running() as service:
        text = await soon(scraped(service))
    exposed: dict[str, tuple[str, frozenset[str]]] = {}
    for family in text_string_to_metric_families(text):
        labels = {key for one in family.samples for key in one.labels} - {"app_name", "le"}
        name = f"{family.name}_total" if family.type == "counter" else family.name
        # When a counter began, which prometheus_client tells beside each.
        if not name.endswith("_created"):
            exposed[name] = (family.type, frozenset(labels))
    told = {
        name.strip("`"): (kind, frozenset(re.findall(r"`(\w+)`", labels)))
        for name, kind, labels, _ in rows(OWN)
    }
    assert told == exposed


async def test_table_has_each_metric_of_opentelemetry_with_its_attributes(
    nats_server: NatsServer, bucket_name: str
) -> None:
    async with Service(nats_server.url, bucket_name).running() as service:
        data: Any = await soon(asyncio.to_thread(service.reader.get_metrics_data))
    exposed = {
        metric.name: (
            metric.unit,
            frozenset(key for point in metric.data.data_points for key in point.attributes),
        )
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    told = {
        name.strip("`"): (unit.strip("`"), frozenset(re.findall(r"`([\w.]+)`", labels)))
        for name, unit, labels in rows("objstore.")
    }
    assert told == exposed


def test_queries_use_metrics_and_labels_of_the_table() -> None:
    labels = {
        name.strip("`"): set(re.findall(r"`(\w+)`", given)) for name, _, given, _ in rows(OWN)
    }
    used: set[str] = set()
    for title, query in queries().items():
        metrics = {
            re.sub(r"_(bucket|sum|count)$", "", one) if "_seconds_bucket" in one else one
            for one in re.findall(rf"{OWN}\w+", query)
        }
        assert metrics <= set(labels), title
        used |= metrics
        grouped = re.search(r"by \(([^)]*)\)", query)
        wanted = set(grouped[1].replace(" ", "").split(",")) - {"le"} if grouped else set()
        for metric in metrics:
            assert wanted <= labels[metric], title
    # Whatever is measured is shown somewhere.
    assert set(labels) - used == {f"{OWN}live_object_loads_total"}


@pytest.mark.skipif(
    PROMETHEUS is None, reason="There is no Prometheus: apt install prometheus."
)
async def test_prometheus_answers_every_query_of_the_dashboard_and_the_alerts(
    nats_server: NatsServer, bucket_name: str, tmp_path: Path
) -> None:
    assert PROMETHEUS is not None
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    listening = socket.create_server(("127.0.0.1", 0))
    (tmp_path / "alerts.yml").write_text((DOCS / "operating/alerts.yml").read_text())
    (tmp_path / "prometheus.yml").write_text(
        "global: {scrape_interval: 1s, evaluation_interval: 1s}\n"
        "rule_files: [alerts.yml]\n"
        "scrape_configs:\n"
        "  - job_name: service\n"
        f"    static_configs: [{{targets: ['127.0.0.1:{listening.getsockname()[1]}']}}]\n"
    )
    async with Service(nats_server.url, bucket_name).running() as service:
        app: Any = make_metrics_asgi(service.observer)
        config = uvicorn.Config(app, log_level="warning", lifespan="off")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve([listening]))
        with subprocess.Popen(
            [
                PROMETHEUS,
                "--config.file=prometheus.yml",
                f"--storage.tsdb.path={tmp_path}/data",
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            cwd=tmp_path,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                await asyncio.wait_for(_answered(service, f"http://127.0.0.1:{port}"), 90)
            finally:
                process.terminate()
        server.should_exit = True
        await serving


async def _answered(service: Service, url: str) -> None:
    """Return when each query has a result, which takes two scrapes for a rate."""
    async with httpx.AsyncClient(base_url=url) as client:
        left = queries()
        number = 0
        while left:
            number += 1
            await service.happen(number)
            await asyncio.sleep(1)
            for title, query in tuple(left.items()):
                try:
                    answer = await client.get("/api/v1/query", params={"query": query})
                except httpx.TransportError:
                    # It is starting.
                    break
                if answer.status_code == 503:
                    break
                assert answer.json()["status"] == "success", (title, answer.text)
                if answer.json()["data"]["result"]:
                    del left[title]
        groups = (await client.get("/api/v1/rules")).json()["data"]["groups"]
        assert {rule["health"] for group in groups for rule in group["rules"]} <= {
            "ok",
            "unknown",
        }


async def test_service_of_the_page_answers(
    nats_server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPERATOR_TOKEN", "secret")
    async with NatsServer() as server:
        monkeypatch.setenv("NATS_URL", server.url)
        async with ran("operating.md", tmp_path, "service.py") as page:
            await soon(page["broker"].start())
            transport = httpx.ASGITransport(page["app"])
            async with httpx.AsyncClient(
                transport=transport, base_url="http://test"
            ) as client:
                assert (await client.get("/health")).json()["status"] == "ok"
                assert (
                    'bucket_up{app_name="faststream",bucket="photos"} 1.0'
                    in (await client.get("/metrics")).text
                )
                assert (await client.get("/console/")).status_code == 403
                operator = {"X-Operator": "secret"}
                assert (await client.get("/console/", headers=operator)).status_code == 200


async def test_observer_of_the_page_hears_of_a_put(tmp_path: Path) -> None:
    async with (
        ran("operating.md", tmp_path, "slow.py") as page,
        TestNatsBroker(page["broker"]),
    ):
        store = await page["buckets"].open("photos")
        await store.put("cat.png", b"12345")
    assert page["said"] == ["put in photos: success, 5 bytes"]
