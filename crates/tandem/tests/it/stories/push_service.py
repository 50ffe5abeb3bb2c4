"""A push service, and the browser behind it, that are not ours: the http_ece library of PyPI opens each message with the
browser's keys, PyJWT judges who sent it.

push_service.py CERT KEY: listens on 127.0.0.1 by TLS and prints a line of JSON: its port and the browser's keys. Then a line
for each message. The path says what is answered: /503-201/name first 503, from the second message on 201.
"""

import base64
import json
import os
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import http_ece
import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

CERT, KEY = sys.argv[1:3]
BROWSER = ec.generate_private_key(ec.SECP256R1())
AUTH = os.urandom(16)
CAME = {}


def text(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def judge(header, origin):
    """Who sent it: RFC 8292."""
    scheme, _, rest = header.partition(" ")
    parts = dict(part.strip().split("=", 1) for part in rest.split(","))
    point = base64.urlsafe_b64decode(parts["k"] + "=" * (-len(parts["k"]) % 4))
    public = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    claims = jwt.decode(parts["t"], public, algorithms=["ES256"], audience=origin, options={"require": ["exp", "aud"]})
    return {"scheme": scheme, "key": parts["k"], "claims": claims}


class Service(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        origin = "https://127.0.0.1:%d" % self.server.server_port
        said = {"path": self.path, "bytes": len(body)}
        for name in ["ttl", "urgency", "topic", "content-encoding"]:
            said[name] = self.headers[name]
        try:
            said |= judge(self.headers["authorization"], origin)
            opened = http_ece.decrypt(body, private_key=BROWSER, auth_secret=AUTH, version="aes128gcm")
            said["told"] = json.loads(opened)
        except Exception as error:
            said["error"] = repr(error)
        answers = self.path.split("/")[1].split("-")
        count = CAME[self.path] = CAME.get(self.path, 0) + 1
        said["answer"] = int(answers[min(count, len(answers)) - 1])
        self.send_response(said["answer"])
        if said["answer"] == 302:
            self.send_header("location", "/201/elsewhere")
        self.send_header("content-length", "0")
        self.end_headers()
        print(json.dumps(said), flush=True)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Service)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(CERT, KEY)
server.socket = context.wrap_socket(server.socket, server_side=True)
point = BROWSER.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
print(json.dumps({"port": server.server_port, "p256dh": text(point), "auth": text(AUTH)}), flush=True)
server.serve_forever()
