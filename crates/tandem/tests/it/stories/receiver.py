"""A receiver of webhooks that is not ours: the standardwebhooks library of PyPI judges each POST.

receiver.py PORT SECRET: listens on 127.0.0.1 and prints one line of JSON for each request, once it
is answered: 204 when the signature is good, 400 when it is not.
"""

import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

PORT, SECRET = int(sys.argv[1]), sys.argv[2]


class Receiver(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        said = {"webhook_id": self.headers["webhook-id"]}
        try:
            Webhook(SECRET).verify(body, dict(self.headers))
            event = json.loads(body)
            said |= {"good": True, "id": event["id"], "type": event["type"], "key": event["key"], "seq": event["seq"]}
        except WebhookVerificationError as error:
            said |= {"good": False, "error": str(error)}
        self.send_response(204 if said["good"] else 400)
        self.send_header("content-length", "0")
        self.end_headers()
        print(json.dumps(said), flush=True)

    def log_message(self, *_):
        pass


ThreadingHTTPServer(("127.0.0.1", PORT), Receiver).serve_forever()
