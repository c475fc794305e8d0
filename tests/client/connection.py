"""One WebSocket speaking one of the subprotocols. What the socket says about its end comes as `Closed`."""

import asyncio
import logging

import websockets
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from . import wire

logging.getLogger("websockets").setLevel(logging.CRITICAL)
# A write to a connection that just died is no news here: the reader tells its end. Everything else that asyncio complains of is.
logging.getLogger("asyncio").addFilter(lambda record: record.msg != "socket.send() raised exception.")


class Closed(Exception):
    def __init__(self, code, reason, error=None):
        super().__init__(f"closed {code} {reason}")
        self.code, self.reason, self.error = code, reason, error  # error: the `error` frame before the close, if one came


class Refused(Exception):
    """No WebSocket came about: connection refused, HTTP error, timeout."""

    def __init__(self, why, status=None):
        super().__init__(why)
        self.status = status


class Connection:
    def __init__(self, ws, encoding):
        self.ws, self.encoding = ws, encoding
        self.last_error = None

    @classmethod
    async def open(cls, url, encoding="json", *, timeout=5.0, subprotocols=None, headers=None, origin=None):
        if subprotocols is None:
            subprotocols = [wire.SUBPROTOCOLS[encoding]]
        address = url.replace("http://", "ws://").replace("https://", "wss://").rstrip("/") + "/v1/ws"
        try:
            ws = await asyncio.wait_for(
                websockets.connect(address, subprotocols=subprotocols or None, max_size=None, ping_interval=None, compression=None, open_timeout=timeout,
                                   close_timeout=3, extra_headers=headers or {}, origin=origin), timeout)
        except InvalidHandshake as error:
            raise Refused(str(error), getattr(error, "status_code", None)) from error
        except (OSError, asyncio.TimeoutError, EOFError) as error:
            raise Refused(f"{type(error).__name__} {error}") from error
        return cls(ws, encoding)

    async def send(self, frame):
        await self.send_raw(wire.encode(frame, self.encoding))

    async def send_raw(self, payload):
        try:
            await self.ws.send(payload)
        except ConnectionClosed:
            self._closed()

    async def receive(self):
        try:
            payload = await self.ws.recv()
        except ConnectionClosed:
            self._closed()
        frame = wire.decode(payload, self.encoding)
        if "error" in frame:
            self.last_error = frame["error"]
        return frame

    def _closed(self):
        raise Closed(self.ws.close_code or 1006, self.ws.close_reason or "", self.last_error) from None

    async def close(self, code=1000):
        await self.ws.close(code)

    def abort(self):
        """Drops the TCP connection, as a lost network would."""
        self.ws.transport.abort()
