"""A slow network: passes connections on to a server, and its answers back at so many bytes a second at most.

slow_road.py PORT HOST PORT BYTES_A_SECOND, run in a pod by tests/e2e/test_sources.py.
"""

import asyncio
import sys

_PIECE_BYTES = 16384


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, bytes_a_second: float) -> None:
    clock = asyncio.get_running_loop().time
    free_at = clock()
    while piece := await reader.read(_PIECE_BYTES):
        writer.write(piece)
        await writer.drain()
        # counted from when it was due, so that a busy machine makes the road no slower
        free_at = max(free_at, clock() - 1) + len(piece) / bytes_a_second
        await asyncio.sleep(free_at - clock())
    writer.close()


async def _serve(port: int, server: tuple[str, int], bytes_a_second: float) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(*server, limit=_PIECE_BYTES)
        await asyncio.gather(_pass_on(reader, to_server, float("inf")), _pass_on(from_server, writer, bytes_a_second))

    listening = await asyncio.start_server(connected, port=port)
    await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), (sys.argv[2], int(sys.argv[3])), float(sys.argv[4])))
