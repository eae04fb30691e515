"""Three nats-servers on the loopback interface that are one JetStream cluster."""

import asyncio
import contextlib
import random
import socket
from collections.abc import AsyncIterator

import nats
from nats.aio.client import Client
from nats.js.api import StreamInfo

from faststream_objstore.testing import NatsServer

SIZE = 3
# An election takes a few seconds, longer where the machine is busy.
ELECTION_SECONDS = 60.0


class Cluster:
    """The servers by name."""

    def __init__(self, servers: dict[str, NatsServer]) -> None:
        self.servers = servers

    @property
    def urls(self) -> list[str]:
        return [server.url for server in self.servers.values()]

    async def connect(self) -> Client:
        return await nats.connect(
            self.urls, max_reconnect_attempts=-1, reconnect_time_wait=0.1, allow_reconnect=True
        )

    async def settled(self, client: Client, stream: str) -> StreamInfo:
        """The stream, once it has a leader and every server has all of it."""
        deadline = asyncio.get_running_loop().time() + ELECTION_SECONDS
        while True:
            with contextlib.suppress(nats.errors.Error):
                info = await client.jetstream().stream_info(stream)
                peers = (info.cluster and info.cluster.replicas) or []
                if (
                    info.cluster
                    and info.cluster.leader
                    and len(peers) == SIZE - 1
                    and all(peer.current and not peer.offline for peer in peers)
                ):
                    return info
            if asyncio.get_running_loop().time() > deadline:
                message = f"{stream} has not settled"
                raise TimeoutError(message)
            await asyncio.sleep(0.1)

    async def stream_leader(self, client: Client, stream: str) -> NatsServer:
        """The server that leads a stream, once all have caught up."""
        info = await self.settled(client, stream)
        assert info.cluster is not None
        assert info.cluster.leader is not None
        return self.servers[info.cluster.leader]

    async def consumer_leader(self, client: Client, stream: str, consumer: str) -> NatsServer:
        """The server that hands out the messages of a consumer."""
        await self.settled(client, stream)
        info = await client.jetstream().consumer_info(stream, consumer)
        assert info.cluster is not None
        assert info.cluster.leader is not None
        return self.servers[info.cluster.leader]


@contextlib.asynccontextmanager
async def cluster() -> AsyncIterator[Cluster]:
    routes = free_ports(SIZE)
    urls = ", ".join(f'"nats://127.0.0.1:{port}"' for port in routes)
    servers = {
        f"n{number}": NatsServer(
            config=(
                f"server_name: n{number}\n"
                "jetstream: enabled\n"
                "cluster {\n"
                f"  name: buckets\n  listen: 127.0.0.1:{port}\n  routes: [{urls}]\n"
                "}\n"
            ),
            startup_timeout=ELECTION_SECONDS,
        )
        for number, port in enumerate(routes)
    }
    async with contextlib.AsyncExitStack() as stack:
        await asyncio.gather(*map(stack.enter_async_context, servers.values()))
        yield Cluster(servers)


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, below those that the kernel gives to connections."""
    ports: list[int] = []
    with contextlib.ExitStack() as stack:
        while len(ports) < count:
            port = random.randrange(12_000, 32_000)
            one = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                one.bind(("127.0.0.1", port))
                ports.append(port)
    return ports
