"""Tokens by PyJWT, signed with the keys that the test has made for the broker."""

import os
import pathlib
import time

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_public_key

KEYS = pathlib.Path(os.environ["FANWIRE_KEYS"])

ALGORITHMS = [
    *("HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
]

EVERYTHING = [
    "realtime:subscriber:read:topic:*",
    "realtime:publisher:write:topic:*",
    "realtime:admin:manage:subscribers",
    "realtime:admin:manage:connections",
    "realtime:admin:manage:application",
]


def read_key(algorithm, extension):
    return (KEYS / f"{algorithm}.{extension}").read_text()


def token(algorithm, subject, permissions, key=None, seconds=600):
    """A token for ten minutes unless it says otherwise."""
    now = int(time.time())
    claims = {"sub": subject, "permissions": permissions, "iat": now, "exp": now + seconds}
    headers = {"kid": algorithm}
    return jwt.encode(claims, key or read_key(algorithm, "key"), algorithm, headers)


def jwk(algorithm):
    """The public key as PyJWT writes it."""
    public = load_pem_public_key(read_key(algorithm, "pub").encode())
    made = jwt.get_algorithm_by_name(algorithm).to_jwk(public, as_dict=True)
    return {**made, "kid": algorithm, "alg": algorithm}
