"""A mail server that is not ours: aiosmtpd of PyPI, with STARTTLS and a password.

postbox.py PORT CERT KEY USER PASSWORD: listens on 127.0.0.1 and prints one line of JSON for each mail it has,
once it has it. The name before the @ of a recipient says what it does: `gone` is refused for good, `later` the first
time only; the first mail to `hang` is taken, and nobody is told.
"""

import asyncio
import email
import email.policy
import json
import ssl
import sys
import time

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

PORT, CERT, KEY, USER, PASSWORD = int(sys.argv[1]), *sys.argv[2:6]


class Postbox:
    def __init__(self):
        self.seen = set()

    def first(self, name):
        is_first = name not in self.seen
        self.seen.add(name)
        return is_first

    async def handle_RCPT(self, server, session, envelope, address, options):
        name = address.partition("@")[0]
        if name == "gone":
            return "550 5.1.1 there is nobody of that name"
        if name == "later" and self.first(address):
            return "451 4.7.1 greylisted, come again"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
        said = {
            "to": envelope.rcpt_tos,
            "from": envelope.mail_from,
            "tls": session.ssl is not None,
            "user": session.auth_data.login.decode(),
            "headers": {name.lower(): value for name, value in mail.items()},
            "text": mail.get_content(),
        }
        print(json.dumps(said), flush=True)
        if any(address.startswith("hang@") and self.first(address) for address in envelope.rcpt_tos):
            await asyncio.sleep(600)
        return "250 OK"


def authenticate(server, session, envelope, mechanism, data):
    good = isinstance(data, LoginPassword) and (data.login, data.password) == (USER.encode(), PASSWORD.encode())
    # Not handled: the server says 535 by itself.
    return AuthResult(success=good, handled=good, auth_data=data if good else None)


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(CERT, KEY)
Controller(
    Postbox(),
    hostname="127.0.0.1",
    port=PORT,
    tls_context=context,
    require_starttls=True,
    auth_required=True,
    authenticator=authenticate,
).start()
print(json.dumps({"listens": PORT}), flush=True)
while True:
    time.sleep(3600)
