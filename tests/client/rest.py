"""HTTP/1.1 requests, one connection each: all that tests need of REST, the admin port and raw HTTP."""

import asyncio
import json
import os
import urllib.parse
from dataclasses import dataclass


@dataclass
class Answer:
    status: int
    headers: dict  # lower-case names
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


async def raw(url, data, timeout=15.0):
    """Sends these bytes, returns everything until the server closes."""
    parts = urllib.parse.urlsplit(url)

    async def exchange():
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        try:
            writer.write(data)
            await writer.drain()
            return await reader.read()
        finally:
            writer.close()

    return await asyncio.wait_for(exchange(), timeout)


async def request(url, method, path, body=None, token=None, headers=None, timeout=15.0):
    parts = urllib.parse.urlsplit(url)
    lines = {"Host": parts.netloc, "Connection": "close"}
    data = b""
    if body is not None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines["Content-Type"] = "application/json"
        lines["Content-Length"] = str(len(data))
    elif method in ("POST", "PUT", "PATCH"):
        lines["Content-Length"] = "0"
    if token:
        lines["Authorization"] = f"Bearer {token}"
    lines.update(headers or {})
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{k}: {v}\r\n" for k, v in lines.items()) + "\r\n"
    return parse(await raw(url, head.encode() + data, timeout))


def parse(answer):
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head:
        raise ConnectionError("no answer")
    first, *rest = head.decode("latin-1").split("\r\n")
    headers = {}
    for line in rest:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    if headers.get("transfer-encoding") == "chunked":
        body = _unchunk(body)
    return Answer(int(first.split()[1]), headers, body)


def _unchunk(data):
    out = b""
    while True:
        size, _, data = data.partition(b"\r\n")
        length = int(size.split(b";")[0], 16)
        if not length:
            return out
        out, data = out + data[:length], data[length + 2:]


class Account:
    """A user and one login session."""

    def __init__(self, url, user, username, password, access, refresh):
        self.url, self.id, self.username, self.password = url, user, username, password
        self.token, self.refresh_token = access, refresh

    @classmethod
    def from_answer(cls, url, password, answer):
        user = answer.json["user"]
        return cls(url, user["id"], user["username"], password, answer.json["accessToken"], answer.json["refreshToken"])

    @classmethod
    async def register(cls, url, name=None):
        username = (name or "u") + "." + os.urandom(8).hex()
        password = os.urandom(8).hex()
        answer = await request(url, "POST", "/v1/auth/register", {"username": username, "password": password, "displayName": name or username})
        if answer.status != 201:
            raise RuntimeError(f"register: {answer.status} {answer.body[:300]}")
        return cls.from_answer(url, password, answer)

    async def login(self, url=None):
        answer = await request(url or self.url, "POST", "/v1/auth/login", {"username": self.username, "password": self.password})
        if answer.status != 200:
            raise RuntimeError(f"login: {answer.status} {answer.body[:300]}")
        return Account.from_answer(url or self.url, self.password, answer)

    async def renew(self):
        """Rotates the tokens, by any gateway that answers."""
        answer = await request(self.url, "POST", "/v1/auth/refresh", {"refreshToken": self.refresh_token})
        if answer.status != 200:
            raise RuntimeError(f"refresh: {answer.status} {answer.body[:300]}")
        self.token, self.refresh_token = answer.json["accessToken"], answer.json["refreshToken"]

    async def rest(self, method, path, body=None, url=None, **options):
        return await request(url or self.url, method, path, body, self.token, **options)
