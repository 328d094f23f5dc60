"""PyPI realtime-pubsub-client: session, echo, ack, RPC, compressed messages, reconnect."""

import asyncio

from realtime_pubsub_client import RealtimeClient

from support import WS, ask, equal, within


def collect(client, event):
    queue = asyncio.Queue()
    client.on(event, lambda message, reply: queue.put_nowait(message))
    return queue


async def connected():
    client = RealtimeClient({"websocket_options": {"url_provider": lambda: f"{WS}/apps/demo"}})
    client.sessions = asyncio.Queue()
    client.on("session.started", client.sessions.put_nowait)
    await client.connect()
    client.connection = await within("session.started", client.sessions.get())
    return client


async def subscribed(client, topic):
    welcomes = collect(client, f"{topic}.welcome")
    await client.subscribe_remote_topic(topic)
    await within(f"{topic}.welcome", welcomes.get())


async def echoes(a, b):
    queues = [collect(a, "chat.greeting"), collect(b, "chat.greeting")]
    published = await a.publish("chat", {"text": "grüße"}, message_type="greeting", message_id="m1")
    await published.wait_for_ack()
    for queue in queues:
        message = await within("the greeting", queue.get())
        data = message["data"]
        equal(data["payload"], {"text": "grüße"})
        equal((data["id"], data["client"]["connectionId"]), ("m1", a.connection["id"]))
        equal(message["compression"], False)


async def compresses(a, b):
    received = collect(b, "chat.large")
    for text in ["short", "0123456789" * 400]:
        published = await a.publish("chat", {"text": text}, message_type="large", compress=True)
        await published.wait_for_ack()
        message = await within("a compressed message", received.get())
        equal((message["compression"], message["data"]["payload"]), (True, {"text": text}))


async def calls(a, b):
    b.on("chat.question", lambda message, reply: reply({"answer": message["data"]["payload"]["n"] + 1}))
    published = await a.publish("chat", {"n": 41}, message_type="question")
    (response,) = await published.wait_for_reply()
    equal((response["data"], response["status"]), ({"answer": 42}, "ok"))


async def reconnects(a):
    closed = asyncio.get_running_loop().create_future()
    a.once("close", lambda event: closed.set_result(event))
    # The client comes back by itself only where the close was not a clean one.
    ask("crash")
    await within("the close", closed)
    session = await within("the next session", a.sessions.get())
    assert session["id"] != a.connection["id"]
    await subscribed(a, "chat")
    again = collect(a, "chat.again")
    await (await a.publish("chat", {"back": True}, message_type="again")).wait_for_ack()
    equal((await within("the echo", again.get()))["data"]["payload"], {"back": True})


async def main():
    a, b = await connected(), await connected()
    equal((a.connection["appId"], a.connection["remoteAddress"]), ("demo", "127.0.0.1"))
    await subscribed(a, "chat")
    await subscribed(b, "chat")
    await echoes(a, b)
    await compresses(a, b)
    await calls(a, b)
    await b.disconnect()
    await reconnects(a)
    await a.disconnect()


asyncio.run(main())
