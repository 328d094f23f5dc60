"""PyPI realtime-pubsub-client and httpx-sse with tokens: inbound messages, presence, RPC, refusals."""

import asyncio
import json

import httpx
import httpx_sse
from realtime_pubsub_client import RealtimeClient
from websockets import connect
from websockets.exceptions import ConnectionClosed

from keys import token
from support import HTTP, WAIT_SECONDS_MAX, WS, ask, equal, within

READ_INBOUND = "realtime:subscriber:read:topic:secure/inbound"
ANSWER = "realtime:publisher:write:topic:priv/*"


def collect(client, event):
    queue = asyncio.Queue()
    client.on(event, lambda message, reply: queue.put_nowait(message))
    return queue


async def connected(mint):
    client = RealtimeClient(
        {"websocket_options": {"url_provider": lambda: f"{WS}/apps/demo?access_token={mint()}"}}
    )
    client.sessions = asyncio.Queue()
    client.on("session.started", client.sessions.put_nowait)
    await client.connect()
    client.connection = await within("session.started", client.sessions.get())
    return client


async def subscribed(client, topic):
    welcomes = collect(client, f"{topic}.welcome")
    await client.subscribe_remote_topic(topic)
    await within(f"{topic}.welcome", welcomes.get())


async def presence_of(queue, subject):
    while True:
        message = await within(f"the presence of {subject}", queue.get())
        if message["data"]["client"]["subject"] == subject:
            return message


async def presence(backend):
    told = collect(backend, "secure/inbound.presence")
    alice = await connected(lambda: token("ES512", "alice", ["other"]))
    client = {
        "connectionId": alice.connection["id"],
        "subject": "alice",
        "permissions": ["other"],
    }
    for code, status in [(0, "connected"), (-1, "disconnected")]:
        message = await presence_of(told, "alice")
        payload = {"code": code, "status": status}
        equal(message["data"], {"client": client, "subProtocol": 1, "payload": payload})
        if code == 0:
            await alice.disconnect()


async def inbound(backend):
    orders = collect(backend, "secure/inbound.order")
    bob = await connected(lambda: token("HS256", "bob", []))
    for compress in [False, True]:
        sent = await bob.send({"n": 1}, message_type="order", compress=compress, message_id="o1")
        await sent.wait_for_ack()
        message = await within("the order", orders.get())
        client = {"connectionId": bob.connection["id"], "subject": "bob", "permissions": []}
        equal(message["data"], {"client": client, "payload": {"n": 1}, "id": "o1"})
        equal(message["compression"], compress)
    backend.on(
        "secure/inbound.question",
        lambda message, reply: reply({"answer": message["data"]["payload"]["n"] + 1}),
    )
    sent = await bob.send({"n": 41}, message_type="question")
    (response,) = await sent.wait_for_reply()
    equal((response["data"], response["status"]), ({"answer": 42}, "ok"))
    await bob.disconnect()


async def closed_with(permissions, command):
    """How a connection is closed that sends this; the library itself does not tell."""
    url = f"{WS}/apps/demo?access_token={token('ES512', 'carol', permissions)}"
    async with connect(url) as socket:
        await within("the welcome", socket.recv())
        await socket.send(json.dumps(command))
        try:
            while True:
                await within("the close", socket.recv())
        except ConnectionClosed as closed:
            return closed.rcvd.code, closed.rcvd.reason


async def refused():
    subscribe = {"type": "subscribe", "data": {"topic": "secure/x"}}
    found = await closed_with(["realtime:subscriber:read:topic:secure/y"], subscribe)
    equal(found, (1008, "Subscription to secure topic is forbidden!"))
    publish = {"type": "publish", "data": {"topic": "chat", "payload": 1}}
    equal(await closed_with([], publish), (1008, "Publishing to topic is forbidden!"))


async def secured():
    permissions = [
        "realtime:subscriber:read:topic:secure/*",
        "realtime:publisher:write:topic:secure/*",
    ]
    erin = await connected(lambda: token("ES512", "erin", permissions))
    await subscribed(erin, "secure/room")
    heard = collect(erin, "secure/room.greeting")
    await (await erin.publish("secure/room", "hi", message_type="greeting")).wait_for_ack()
    equal((await within("the greeting", heard.get()))["data"]["payload"], "hi")
    await erin.disconnect()


async def streams():
    """A stream of secure/inbound by query and by header, and without the permission."""
    url = httpx.URL(f"{HTTP}/v1/demo/events?topics=secure/inbound")
    good, other = token("ES512", "reader", [READ_INBOUND]), token("ES512", "reader", [])
    async with httpx.AsyncClient(timeout=WAIT_SECONDS_MAX, trust_env=False) as client:
        for query, headers in [
            ({"access_token": good}, {}),
            ({}, {"Authorization": f"Bearer {good}"}),
        ]:
            target = url.copy_merge_params(query)
            async with httpx_sse.aconnect_sse(client, "GET", target, headers=headers) as source:
                equal(source.response.status_code, 200)
                heidi = await connected(lambda: token("HS256", "heidi", []))
                sent = await heidi.send({"n": 1}, message_type="order", message_id="o1")
                await sent.wait_for_ack()
                async for event in source.aiter_sse():
                    message = json.loads(event.data)
                    if message["messageType"] == "order":
                        break
                equal((message["data"], message["clientMessageId"]), ({"n": 1}, "o1"))
                equal(message["client"]["connectionId"], heidi.connection["id"])
                await heidi.disconnect()
        for bearer, status in [(other, 403), (token("ES512", "reader", [], seconds=-60), 401)]:
            answer = await client.get(url.copy_merge_params({"access_token": bearer}))
            equal(answer.status_code, status)


async def reconnects():
    minted = []

    def mint():
        permissions = ["realtime:publisher:write:topic:*"]
        minted.append(token("ES512", "grace", permissions, seconds=600 + len(minted)))
        return minted[-1]

    grace = await connected(mint)
    # The client comes back by itself only where the close was not a clean one.
    ask("crash")
    session = await within("the next session", grace.sessions.get())
    assert session["id"] != grace.connection["id"]
    assert len(set(minted)) > 1, "a fresh token"
    await subscribed(grace, "chat")
    again = collect(grace, "chat.again")
    await (await grace.publish("chat", {"back": True}, message_type="again")).wait_for_ack()
    equal((await within("the echo", again.get()))["data"]["payload"], {"back": True})
    await grace.disconnect()


async def main():
    backend = await connected(lambda: token("ES512", "backend", [READ_INBOUND, ANSWER]))
    await subscribed(backend, "secure/inbound")
    await presence(backend)
    await inbound(backend)
    await secured()
    await refused()
    await streams()
    await backend.disconnect()
    await reconnects()


asyncio.run(main())
