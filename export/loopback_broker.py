"""A broker inside this process, for the demo: amqtt on a free loopback port. It speaks MQTT 3.1.1 only."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from amqtt.broker import Broker

from edge.errors import BrokerError

_PATIENCE_S = 20.0


@contextmanager
def loopback_broker() -> Iterator[str]:
    """Its URI; the broker lives as long as the context. Raises BrokerError when it does not start."""
    logging.getLogger("amqtt").setLevel(logging.ERROR)
    logging.getLogger("transitions").setLevel(logging.ERROR)
    port = _free_port()
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="broker", daemon=True)
    thread.start()
    try:
        broker = asyncio.run_coroutine_threadsafe(_started(port), loop).result(_PATIENCE_S)
        try:
            yield f"mqtt://127.0.0.1:{port}"
        finally:
            asyncio.run_coroutine_threadsafe(broker.shutdown(), loop).result(_PATIENCE_S)
    except TimeoutError:
        raise BrokerError(f"the embedded broker did not start or stop within {_PATIENCE_S:g} s") from None
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_PATIENCE_S)


async def _started(port: int) -> Broker:
    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
            "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
        }
    )
    await broker.start()
    return broker


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
