"""Two nats-servers, each with a JetStream domain of its own, joined by a leaf node."""

import contextlib
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any

from faststream_objstore.testing import NatsServer
from tests.backends.proxy import Proxy, serving
from tests.production.cluster import free_ports

__all__ = ("Domains", "domains")


class Link(Proxy):
    """What the leaf node reaches the hub through."""

    def __init__(self, port: int) -> None:
        address: Any = SimpleNamespace(url=f"nats://127.0.0.1:{port}")
        super().__init__(address)

    def take_down(self) -> None:
        """Cut it, and let nobody connect."""
        self.down = True
        self.cut()

    def restore(self) -> None:
        self.down = False


class Domains:
    """The two servers, and the link between them."""

    def __init__(self, hub: NatsServer, edge: NatsServer, link: Link) -> None:
        self.hub = hub
        self.edge = edge
        self.link = link


@contextlib.asynccontextmanager
async def domains() -> AsyncIterator[Domains]:
    """The domain `hub`, and the domain `edge`, whose server is a leaf node of the first."""
    (leaf_port,) = free_ports(1)
    async with serving(Link(leaf_port)) as link:
        hub = NatsServer(
            config=(
                "server_name: hub\n"
                "jetstream { domain: hub }\n"
                # Else the leaf node would connect to this address, past the link.
                f"leafnodes {{ listen: 127.0.0.1:{leaf_port}, no_advertise: true }}\n"
            )
        )
        edge = NatsServer(
            config=(
                "server_name: edge\n"
                "jetstream { domain: edge }\n"
                "leafnodes {\n"
                "  reconnect: 1s\n"
                f'  remotes: [{{ url: "{link.url}" }}]\n'
                "}\n"
            )
        )
        async with hub, edge:
            yield Domains(hub, edge, link)
