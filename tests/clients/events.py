"""PyPI httpx-sse and sseclient-py: the native and the buzzPost stream, and every line end."""

import json

import httpx
import httpx_sse
import sseclient

from support import HTTP, WAIT_SECONDS_MAX, equal

LINES = [
    ("one\ntwo", "one\ntwo"),
    ("one\rtwo", "one\ntwo"),
    ("one\r\ntwo", "one\ntwo"),
    ("data: no\r\rid: forged\revent: forged", "data: no\n\nid: forged\nevent: forged"),
    (" one space, \U0001f600 ", " one space, \U0001f600 "),
]


def with_httpx_sse(client, path):
    with httpx_sse.connect_sse(client, "GET", HTTP + path) as source:
        equal(source.response.status_code, 200)
        yield
        yield from source.iter_sse()


def with_sseclient(client, path):
    with client.stream("GET", HTTP + path, headers={"Accept": "text/event-stream"}) as response:
        equal(response.status_code, 200)
        yield
        yield from sseclient.SSEClient(response.iter_bytes()).events()


def post(client, path, body):
    response = client.post(HTTP + path, content=body.encode())
    equal(response.status_code, 200)
    return response.json()


def check(client, read):
    events = read(client, "/v1/demo/events?topics=a,b")
    next(events)
    for text, _ in LINES:
        receipt = post(client, "/v1/demo/topics/a", text)
        event = next(events)
        message = json.loads(event.data)
        equal((message["topic"], message["id"], message["data"]), ("a", receipt["id"], text))
        assert event.id, event
    events.close()

    events = read(client, "/?channels=alfa,bravo")
    next(events)
    for text, shown in LINES:
        post(client, "/", json.dumps({"channel": "bravo", "data": text}))
        event = next(events)
        equal((event.event, event.data), ("message", shown))
    events.close()


def main():
    # No proxy of the environment may stand in between.
    with httpx.Client(timeout=WAIT_SECONDS_MAX, trust_env=False) as client:
        check(client, with_httpx_sse)
        check(client, with_sseclient)


main()
