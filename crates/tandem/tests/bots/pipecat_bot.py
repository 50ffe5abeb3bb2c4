"""A Pipecat bot as its users write one for another provider: TwilioFrameSerializer on FastAPIWebsocketTransport. It says
what it hears, plays 1000 Hz for two seconds, and ends the call at the key 5. The arguments: the server's address for the
request to hang up, and the auth_token."""

import asyncio
import json
import socket
import sys

import uvicorn
from fastapi import FastAPI, WebSocket
from pipecat.frames.frames import EndFrame, InputAudioRawFrame, InputDTMFFrame, OutputAudioRawFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.serializers.twilio import TwilioFrameSerializer
from pipecat.transports.websocket.fastapi import FastAPIWebsocketParams, FastAPIWebsocketTransport
from pipecat.workers.runner import WorkerRunner
from sound import Ear, tell, tone

RATE = 8000
BASE_URL, AUTH_TOKEN = sys.argv[1:3]
app = FastAPI()


class Judge(FrameProcessor):
    """Hears the caller and obeys his keys."""

    def __init__(self):
        super().__init__()
        self.ear = Ear(440, RATE)

    async def process_frame(self, frame, direction):
        await super().process_frame(frame, direction)
        if isinstance(frame, InputAudioRawFrame):
            before = self.ear.windows
            self.ear.hear(frame.audio)
            if before < 10 <= self.ear.windows:
                tell(event="hears", seconds=self.ear.seconds())
        elif isinstance(frame, InputDTMFFrame):
            tell(event="key", digit=frame.button.value)
            if frame.button.value == "5":
                await self.worker.queue_frame(EndFrame())
        else:
            await self.push_frame(frame, direction)


@app.websocket("/bot")
async def bot(websocket: WebSocket):
    await websocket.accept()
    messages = websocket.iter_text()
    connected = json.loads(await anext(messages))
    start = json.loads(await anext(messages))["start"]
    tell(event=connected["event"], start=start)
    serializer = TwilioFrameSerializer(
        start["streamSid"], start["callSid"], start["accountSid"], AUTH_TOKEN, base_url=BASE_URL
    )
    params = FastAPIWebsocketParams(audio_in_enabled=True, audio_out_enabled=True, serializer=serializer)
    transport = FastAPIWebsocketTransport(websocket=websocket, params=params)
    judge = Judge()
    worker = PipelineWorker(
        Pipeline([transport.input(), judge, transport.output()]),
        params=PipelineParams(audio_in_sample_rate=RATE, audio_out_sample_rate=RATE),
    )
    judge.worker = worker

    @transport.event_handler("on_client_connected")
    async def on_client_connected(_transport, _client):
        await worker.queue_frame(OutputAudioRawFrame(tone(1000, 2, RATE), RATE, 1))

    @transport.event_handler("on_client_disconnected")
    async def on_client_disconnected(_transport, _client):
        await worker.cancel()

    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    await runner.run()
    tell(event="over", hung_up=serializer._hangup_attempted)


async def main():
    listener = socket.create_server(("127.0.0.1", 0))
    tell(event="listening", port=listener.getsockname()[1])
    await uvicorn.Server(uvicorn.Config(app, log_level="warning")).serve(sockets=[listener])


asyncio.run(main())
