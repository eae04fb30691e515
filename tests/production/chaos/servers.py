"""A cluster whose servers reach each other over links that can be cut."""

import contextlib
import os
import signal
from collections.abc import AsyncIterator, Iterable

from faststream_objstore.testing import NatsServer
from tests.production.chaos.links import HOST, Link
from tests.production.cluster import ELECTION_SECONDS, SIZE, Cluster, free_ports

# A server that cannot be reached: where others are told to find the nodes, so that none dials
# another past the links.
# As between the zones of a data centre. A write takes twice that, so calls meet in its midst.
USUAL_DELAY = 0.004
_NOWHERE = f"{HOST}:1"


class LinkedCluster(Cluster):
    """Servers by name, and the links between them by pair."""

    def __init__(
        self, servers: dict[str, NatsServer], links: dict[tuple[str, str], Link]
    ) -> None:
        super().__init__(servers)
        self.links = links

    def of(self, name: str) -> list[Link]:
        """The links of one server, in both directions."""
        return [link for pair, link in self.links.items() if name in pair]

    def heal(self) -> None:
        """Mend every link, and let every server go on."""
        for link in self.links.values():
            link.heal()
        for server in self.servers.values():
            resume(server)

    async def start_all(self) -> None:
        """Start the servers that were killed."""
        for server in self.servers.values():
            if not server.running:
                await server.start()


def pause(server: NatsServer) -> None:
    """Stop the process; its connections stay open."""
    if server.pid is not None:
        os.kill(server.pid, signal.SIGSTOP)


def resume(server: NatsServer) -> None:
    if server.pid is not None:
        os.kill(server.pid, signal.SIGCONT)


@contextlib.asynccontextmanager
async def linked_cluster() -> AsyncIterator[LinkedCluster]:
    ports = dict(zip([f"n{number}" for number in range(SIZE)], free_ports(SIZE), strict=True))
    links = {
        (one, other): Link(ports[other], USUAL_DELAY)
        for one in ports
        for other in ports
        if one != other
    }
    async with contextlib.AsyncExitStack() as stack:
        dialled: dict[tuple[str, str], int] = {}
        for pair, link in links.items():
            dialled[pair] = await link.start()
            stack.push_async_callback(link.close)
        servers = {
            name: NatsServer(
                config=_config(
                    name, port, [dialled[pair] for pair in links if pair[0] == name]
                ),
                startup_timeout=ELECTION_SECONDS,
            )
            for name, port in ports.items()
        }
        cluster = LinkedCluster(servers, links)
        for server in servers.values():
            await stack.enter_async_context(server)
        stack.callback(cluster.heal)
        yield cluster


def _config(name: str, port: int, routes: Iterable[int]) -> str:
    urls = ", ".join(f'"nats://{HOST}:{route}"' for route in routes)
    return (
        f"server_name: {name}\n"
        "jetstream: enabled\n"
        "http: 127.0.0.1:-1\n"
        "cluster {\n"
        f"  name: buckets\n  listen: {HOST}:{port}\n"
        f'  advertise: "{_NOWHERE}"\n  routes: [{urls}]\n'
        "}\n"
    )
