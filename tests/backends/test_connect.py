import asyncio
import socket
import struct

import pytest

from faststream_objstore.backends.jetstream.servers import connect
from faststream_objstore.exceptions import ServerUnreachableError

INFO = (
    b'INFO {"server_id":"x","version":"2.15.0","proto":1,"max_payload":1048576,'
    b'"headers":true,"auth_required":true}\r\n'
)


async def test_a_refusal_is_told_though_later_attempts_are_cut_off() -> None:
    attempts = 0

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal attempts
        attempts += 1
        writer.write(INFO)
        await reader.readline()
        if attempts == 1:
            writer.write(b"-ERR 'Authorization Violation'\r\n")
            await writer.drain()
        else:
            # What is closed thus sends a reset, before which nothing else is read.
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, linger
            )
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1") as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(ServerUnreachableError, match="Authorization Violation"):
            await asyncio.wait_for(
                connect(
                    f"nats://ann:wrong@127.0.0.1:{port}",
                    {"max_reconnect_attempts": 3, "reconnect_time_wait": 0.01},
                ),
                20,
            )
    assert attempts > 1
