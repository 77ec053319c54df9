"""An ASGI application for hypercorn that writes down each record before it answers.

A line of the file that RINGPOST_PEER_LOG names: the digest of the header, the digest of the body, the body's sequence
number.
"""

import json
import os

LOG = os.open(os.environ["RINGPOST_PEER_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message.get("body", b"")
        more = message.get("more_body", False)
    if scope["method"] == "POST":
        record = json.loads(body)
        header = dict(scope["headers"]).get(b"aerospike-digest", b"-").decode()
        os.write(LOG, f"{header} {record['metadata']['digest']} {record['seq']}\n".encode())
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})
