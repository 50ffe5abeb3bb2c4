"""A chat's client on the websockets package. Its argument is JSON: url, token, room. It says what it gets, line by line:
a message that is sent in pieces with a ping between them, the same one again, a farewell, and a return with a cursor."""

import asyncio
import json
import sys

from sound import tell
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

task = json.loads(sys.argv[1])


async def hear(socket, *kinds):
    """Frames until each of these kinds has come once."""
    heard = {}
    while not all(kind in heard for kind in kinds):
        frame = json.loads(await asyncio.wait_for(socket.recv(), 10))
        heard[frame["type"]] = frame
    return heard


async def hello(socket, rooms):
    await socket.send(json.dumps({"type": "hello", "token": task["token"], "rooms": rooms}))
    return (await hear(socket, "ready"))["ready"]


async def main():
    room = task["room"]
    frame = json.dumps({"type": "send", "room": room, "cid": "published-1", "kind": "text", "body": "grüße 👋"}, ensure_ascii=False)
    async with connect(task["url"], proxy=None) as socket:
        tell(event="ready", frame=await hello(socket, {room: 0}))

        async def pieces():
            yield frame[:11]
            await asyncio.wait_for(await socket.ping(b"between"), 10)
            yield frame[11:40]
            yield frame[40:]

        await socket.send(pieces())
        heard = await hear(socket, "ack", "msg")
        tell(event="sent", ack=heard["ack"], msg=heard["msg"])
        await socket.send(frame)
        tell(event="again", ack=(await hear(socket, "ack"))["ack"])
        await socket.close(1000, "bye")
        tell(event="closed", code=socket.close_code, reason=socket.close_reason)
    async with connect(task["url"], proxy=None) as socket:
        tell(event="resumed", frame=await hello(socket, {room: heard["ack"]["seq"] - 1}))
        await socket.send(b"\x00\x01")
        try:
            while True:
                await asyncio.wait_for(socket.recv(), 10)
        except ConnectionClosed as closed:
            tell(event="refused", code=closed.rcvd.code)


asyncio.run(main())
