"""A bot of media streams on the websockets package. It says what it gets, line by line; plays two seconds of 1000 Hz when
the stream starts and marks their end; a key 1 makes it play for long and then clear that; a key # makes it close. With a certificate and its
key as arguments it speaks TLS; with the argument flood it sets marks with names that are too long, for ever, and tells how it was stopped."""

import asyncio
import base64
import json
import ssl
import sys

from sound import Ear, tell, tone
from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed

RATE = 8000


def to_mu_law(pcm):
    """ITU-T G.711."""
    coded = bytearray()
    for index in range(0, len(pcm), 2):
        sample = int.from_bytes(pcm[index : index + 2], "little", signed=True)
        sign, magnitude = (0x80, -sample) if sample < 0 else (0, sample)
        magnitude = min(magnitude, 32635) + 132
        exponent = magnitude.bit_length() - 8
        coded.append(~(sign | exponent << 4 | magnitude >> exponent + 3 & 0x0F) & 0xFF)
    return bytes(coded)


def of_mu_law(coded):
    pcm = bytearray()
    for byte in coded:
        byte = ~byte & 0xFF
        magnitude = (((byte & 0x0F) << 3) + 132 << (byte >> 4 & 7)) - 132
        pcm += (-magnitude if byte & 0x80 else magnitude).to_bytes(2, "little", signed=True)
    return bytes(pcm)


async def stream(socket):
    ears = {"inbound": Ear(440, RATE), "outbound": Ear(440, RATE)}
    frames = {"inbound": 0, "outbound": 0}

    async def send(event, **data):
        await socket.send(json.dumps({"event": event, "streamSid": sid, **data}))

    async def play(hertz, seconds):
        await send("media", media={"payload": base64.b64encode(to_mu_law(tone(hertz, seconds, RATE))).decode()})

    sid = None
    async for text in socket:
        message = json.loads(text)
        event = message["event"]
        if event == "media":
            track = message["media"]["track"]
            assert int(message["media"]["chunk"]) == frames[track] + 1, "a chunk is missing"
            frames[track] += 1
            ears[track].hear(of_mu_law(base64.b64decode(message["media"]["payload"])))
            continue
        tell(**message)
        if event == "start":
            sid = message["streamSid"]
            if sys.argv[1:] == ["flood"]:
                await flood(socket, send)
                return
            await play(1000, 2)
            await send("mark", mark={"name": "said"})
        elif event == "dtmf" and message["dtmf"]["digit"] == "1":
            await play(2000, 60)
            await send("mark", mark={"name": "cleared"})
            await asyncio.sleep(1)
            await send("clear")
        elif event == "dtmf" and message["dtmf"]["digit"] == "#":
            break
    tell(event="summary", frames=frames, tone={track: ear.seconds() for track, ear in ears.items()})


async def flood(socket, send):
    try:
        while True:
            await send("mark", mark={"name": "m" * 2000})
    except ConnectionClosed as closed:
        tell(event="closed", code=closed.rcvd.code, reason=closed.rcvd.reason)


def certified():
    if len(sys.argv) < 3:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*sys.argv[1:3])
    return context


async def main():
    async with serve(stream, "127.0.0.1", 0, ssl=certified()) as server:
        tell(event="listening", port=server.sockets[0].getsockname()[1])
        await server.serve_forever()


asyncio.run(main())
