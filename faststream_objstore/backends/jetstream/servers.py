"""Addresses of NATS servers as people write them, and a connection to one of them."""

import asyncio
import ssl
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote

import nats
import nats.errors
from nats.aio.client import Client

from ...exceptions import InvalidOptionError, ServerUnreachableError

__all__ = ("addresses", "connect", "without_secrets", "without_users")

# Long enough for a server to restart, but not too long for a wrong address.
_ATTEMPTS = 20
_SECONDS_BETWEEN = 0.25
# Options whose credentials sign what the server asks for.
_SIGNED = ("user_credentials", "nkeys_seed", "nkeys_seed_str")


def addresses(servers: str | Sequence[str]) -> list[str]:
    """The addresses; one text may hold several, separated by commas, as `NATS_URL` does."""
    given = [servers] if isinstance(servers, str) else servers
    return [one.strip() for text in given for one in text.split(",") if one.strip()]


def without_secrets(servers: str | Sequence[str]) -> str:
    """The addresses for a message: without what stands before the `@`."""
    return ", ".join(
        f"{scheme}***@{host}" if user else scheme + host
        for scheme, user, host in map(_split, addresses(servers))
    )


def without_users(servers: str | Sequence[str]) -> list[str]:
    """The addresses without what stands before the `@`."""
    return [scheme + host for scheme, _, host in map(_split, addresses(servers))]


async def connect(servers: str | Sequence[str], options: Mapping[str, Any]) -> Client:
    """Connect to one of the servers.

    Args:
        servers: Their addresses. What stands before the `@` may be percent-encoded, as other
            NATS clients require of special characters.
        options: What else `nats.connect` takes.

    Raises:
        ServerUnreachableError: If none of them can be used; it says why, and no secrets.
        InvalidOptionError: If the credentials are none.
    """
    reasons: list[str] = []
    untrusted = asyncio.Event()

    async def note(error: Exception) -> None:
        # `connect` itself says only that there is no server. What is reported later is raised
        # by the call that it concerns. A refusal tells more than that a later attempt was cut
        # off, which is how one ends whose reason comes too late.
        if isinstance(error, nats.errors.Error) or not reasons:
            reasons[:] = [str(error) or type(error).__name__]
        if isinstance(error, ssl.SSLError):
            untrusted.set()

    hosts, signed = _decoded(addresses(servers))
    try:
        connecting = nats.connect(
            hosts,
            **{
                "error_cb": note,
                "max_reconnect_attempts": _ATTEMPTS,
                "reconnect_time_wait": _SECONDS_BETWEEN,
                **signed,
                **options,
            },
        )
        return await _unless(untrusted, connecting)
    except (nats.errors.Error, OSError) as error:
        why = (
            reasons[0] if isinstance(error, nats.errors.NoServersError) and reasons else error
        )
        msg = f"No NATS server can be used at {without_secrets(servers)}: {why}"
        raise ServerUnreachableError(msg) from error
    except Exception as error:
        # nats-py and nkeys raise what they stumble over.
        given = [key for key in _SIGNED if options.get(key) is not None]
        if not given:
            raise
        said = "install nkeys" if isinstance(error, ModuleNotFoundError) else repr(error)
        msg = f"The credentials that {' and '.join(given)} gives cannot be used: {said}."
        raise InvalidOptionError(msg) from error


async def _unless(failed: asyncio.Event, connecting: Awaitable[Client]) -> Client:
    """Wait for a connection, unless a handshake fails.

    nats-py then waits for ever for that connection to close.

    Raises:
        NoServersError: If a handshake has failed.
    """
    attempt = asyncio.ensure_future(connecting)
    failure = asyncio.ensure_future(failed.wait())
    try:
        await asyncio.wait({attempt, failure}, return_when=asyncio.FIRST_COMPLETED)
        if not attempt.done():
            raise nats.errors.NoServersError
        return await attempt
    finally:
        attempt.cancel()
        failure.cancel()
        await asyncio.gather(attempt, failure, return_exceptions=True)


def _split(address: str) -> tuple[str, str, str]:
    """The scheme with its slashes, what stands before the `@`, and the rest."""
    scheme, slashes, rest = address.rpartition("://")
    user, _, host = rest.rpartition("@")
    return scheme + slashes, user, host


def _decoded(servers: list[str]) -> tuple[list[str], dict[str, str]]:
    """The addresses without the user that all have, and that user; nats-py decodes none."""
    split = [_split(one) for one in servers]
    users = {user for _, user, _ in split}
    if len(users) != 1 or "%" not in (user := users.pop()):
        return servers, {}
    name, colon, password = user.partition(":")
    hosts = [scheme + host for scheme, _, host in split]
    if not colon:
        return hosts, {"token": unquote(name)}
    return hosts, {"user": unquote(name), "password": unquote(password)}
