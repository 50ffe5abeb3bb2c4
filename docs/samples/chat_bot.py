"""A bot in a chat: it hears by webhook and answers by REST. `chat_bot.py PORT`, with TANDEM_URL, TANDEM_KEY, TANDEM_TEAM
(an id, `team_...`) and WEBHOOK_SECRET in the environment."""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

URL, KEY, TEAM = os.environ["TANDEM_URL"], os.environ["TANDEM_KEY"], os.environ["TANDEM_TEAM"]
HOOK = Webhook(os.environ["WEBHOOK_SECRET"])
given_away = set()  # rooms that people have now


def ask(path, body):
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    try:
        urlopen(Request(f"{URL}/v1/chat/rooms/{path}", json.dumps(body).encode(), headers), timeout=10).close()
    except HTTPError as error:
        # 404: a chat of another application, which this key does not open; 409: it was closed meanwhile.
        if error.code not in (404, 409):
            raise


def answer(cid, room, words):
    if "human" in words.lower():
        given_away.add(room)
        ask(f"{room}/messages", {"cid": cid, "author": "Robot", "body": "One moment: somebody will be with you."})
        ask(f"{room}/transfer", {"team": TEAM})
    else:
        ask(f"{room}/messages", {"cid": cid, "author": "Robot", "body": f"You said: {words}"})


class Bot(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        try:
            HOOK.verify(body, dict(self.headers))
        except WebhookVerificationError:
            return self.send_error(400)
        event = json.loads(body)
        message = event["data"]
        # Its own messages come back with the role `app`: only visitors are answered.
        if event["type"] == "message.created" and message["role"] == "visitor" and message["room"] not in given_away:
            # A webhook may come twice; the same `cid` is the same message.
            answer(event["id"], message["room"], str(message["body"]))
        self.send_response(204)
        self.end_headers()


ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Bot).serve_forever()
