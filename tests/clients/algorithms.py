"""PyPI PyJWT: tokens of all algorithms at all doors, by key file and by a key set that it wrote."""

import http.server
import json
import socket
import threading

import httpx
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from keys import ALGORITHMS, EVERYTHING, jwk, token
from support import HTTP, WAIT_SECONDS_MAX, WS, equal


class Provider(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = json.dumps({"keys": [jwk(name) for name in ALGORITHMS if not name.startswith("HS")]})
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *_):
        pass


def serve():
    """Serves on the socket that the test has opened."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider, bind_and_activate=False)
    server.socket.close()
    server.socket = socket.socket(fileno=0)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def websocket(app, query, headers):
    try:
        with connect(
            f"{WS}/apps/{app}{query}", additional_headers=headers, open_timeout=WAIT_SECONDS_MAX
        ) as opened:
            equal(json.loads(opened.recv(WAIT_SECONDS_MAX))["messageType"], "welcome")
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


def everywhere(client, app, bearer):
    """The status at every door, the WebSocket's as if it were HTTP's."""
    doors = [
        ("GET", f"/v1/{app}/events?topics=secure/a", None),
        ("POST", f"/v1/{app}/topics/secure/a", "hi"),
        ("POST", f"/v1/{app}/publish", '{"messages":[{"topic":"secure/a","data":1}]}'),
        ("POST", f"/api/topics/{app}/publish", '{"topic":"secure/a","message":"hi"}'),
        ("GET", f"/v1/{app}", None),
        ("GET", f"/v1/{app}/connections", None),
    ]
    if app == "demo":
        doors += [("GET", "/?channels=secure/a", None), ("POST", "/", '{"channel":"a","data":"hi"}')]
    found = set()
    for query, headers in [
        ({}, {"Authorization": f"Bearer {bearer}"}),
        ({"access_token": bearer}, {}),
    ]:
        for method, path, body in doors:
            url = httpx.URL(HTTP + path).copy_merge_params(query)
            with client.stream(method, url, headers=headers, content=body) as response:
                found.add(response.status_code)
        suffix = f"?access_token={bearer}" if query else ""
        status = websocket(app, suffix, headers)
        found.add(200 if status == 101 else status)
    return found


def stranger(algorithm):
    """A key of the right kind that the broker does not know."""
    curves = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
    if algorithm in curves:
        return ec.generate_private_key(curves[algorithm])
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm.startswith("HS"):
        return "a secret that the broker does not know, of 64 bytes and one or two more"
    return rsa.generate_private_key(65537, 2048)


def main():
    serve()
    # No proxy of the environment may stand in between.
    with httpx.Client(timeout=WAIT_SECONDS_MAX, trust_env=False) as client:
        for algorithm in ALGORITHMS:
            good = token(algorithm, "user0@example.com", EVERYTHING)
            forged = token(algorithm, "user0@example.com", EVERYTHING, key=stranger(algorithm))
            equal((algorithm, everywhere(client, "demo", good)), (algorithm, {200}))
            equal((algorithm, everywhere(client, "demo", forged)), (algorithm, {401}))
            # A key set holds no secrets.
            expected = {401} if algorithm.startswith("HS") else {200}
            equal((algorithm, everywhere(client, "jwks", good)), (algorithm, expected))
            equal((algorithm, everywhere(client, "jwks", forged)), (algorithm, {401}))


main()
