"""What the Python scripts share: addresses, waiting with a bound, talking to the test."""

import asyncio
import sys

WAIT_SECONDS_MAX = 30

ADDRESS = sys.argv[1]
HTTP = f"http://{ADDRESS}"
WS = f"ws://{ADDRESS}"


def ask(command):
    """Asks the test to `restart` the broker in order, or to let it `crash`."""
    print(f"@{command}", flush=True)


async def within(what, awaitable):
    """The value; fails and says what was waited for when it takes too long."""
    try:
        return await asyncio.wait_for(awaitable, WAIT_SECONDS_MAX)
    except asyncio.TimeoutError:
        raise AssertionError(f"waited in vain for {what}") from None


def equal(found, expected):
    """Fails and shows both where they differ."""
    assert found == expected, f"found {found!r}, expected {expected!r}"
