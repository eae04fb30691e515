"""What a client has sent, known to have arrived."""

from nats.aio.client import Client

__all__ = ("settled",)


async def settled(client: Client) -> None:
    """Return when the server has what the client sent before.

    Not after one `flush()`: nats-py writes its PING ahead of what is still in the buffer, so
    that other connections may be served before that.
    """
    await client.flush()
    await client.flush()
