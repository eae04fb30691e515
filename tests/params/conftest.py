"""Each test runs on a real server and in test mode."""

from typing import Any

import pytest

from faststream_objstore.testing import NatsServer
from tests.params.support import Service


@pytest.fixture(params=["server", "memory"])
def service(
    request: pytest.FixtureRequest, nats_server: NatsServer, bucket_name: str
) -> Service:
    param: Any = request.param
    return Service(nats_server.url, bucket_name, in_memory=param == "memory")
