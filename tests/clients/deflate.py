"""PyPI websockets: permessage-deflate in each form a client may ask for, in both directions."""

import asyncio
import json

from websockets import connect
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory

from support import WS, equal, within

OFFERS = [
    ClientPerMessageDeflateFactory(),
    ClientPerMessageDeflateFactory(server_no_context_takeover=True, client_no_context_takeover=True),
    *(
        ClientPerMessageDeflateFactory(server_max_window_bits=bits, client_max_window_bits=bits)
        for bits in (9, 11, 15)
    ),
]


async def receive(socket):
    frame = await within("a frame", socket.recv())
    return json.loads(frame), isinstance(frame, bytes)


async def send(socket, kind, data):
    await socket.send(json.dumps({"type": kind, "data": data}))


async def exchange(socket, compress):
    # Enough of it that a window smaller than what came before matters.
    for n in range(40):
        payload = {"n": n, "text": f"{n} abcdefghij " * (10 * (n % 30))}
        await send(socket, "publish", {"topic": "d", "payload": payload, "compress": compress})
        got = [await receive(socket), await receive(socket)]
        [(echo, is_binary)] = [frame for frame in got if frame[0]["topic"] == "d"]
        equal((echo["data"]["payload"], is_binary), (payload, compress))


async def main():
    for offer in OFFERS:
        async with connect(f"{WS}/apps/demo", compression=None, extensions=[offer]) as socket:
            equal([extension.name for extension in socket.extensions], ["permessage-deflate"])
            equal((await receive(socket))[0]["messageType"], "welcome")
            await send(socket, "subscribe", {"topic": "d"})
            equal((await receive(socket))[0]["messageType"], "welcome")
            await exchange(socket, True)
            await exchange(socket, False)


asyncio.run(main())
