"""A small real RTSP server for tests: H.264 in RTP interleaved in the TCP connection, RFC 2326 and 6184."""

from __future__ import annotations

import base64
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MOST_BYTES = 1400  # of a packet, as cameras send them


@dataclass(frozen=True)
class Manners:
    """How the server behaves."""

    login: str = ""  # user:password that it asks for
    frames: int = 10**9  # after which it closes, or falls silent
    silent: bool = False
    fps: float = 60.0


class RtspServer:
    """Serves an annex-B file of one slice a picture, over and over, to one client after another."""

    def __init__(self, film: Path, manners: Manners = Manners(), port: int = 0) -> None:
        self._units = [unit for unit in re.split(b"\0\0\0?\1", film.read_bytes()) if unit]
        self._manners = manners
        self.sent = 0  # pictures, to all clients
        self._stop = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> RtspServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)

    def uri(self, login: str = "") -> str:
        return f"rtsp://{login}{'@' if login else ''}127.0.0.1:{self.port}/main"

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                client, _ = self._listener.accept()
                with client:
                    self._talk(client)
            except OSError:
                continue

    def _talk(self, client: socket.socket) -> None:
        requests = client.makefile("rb")
        while line := requests.readline().decode():
            headers = {}
            while (header := requests.readline().decode().strip()) != "":
                name, _, value = header.partition(":")
                headers[name.lower()] = value.strip()
            verb = line.split()[0]
            client.sendall(self._answer(verb, headers).encode())
            if verb == "PLAY":
                return self._play(client)
        return None

    def _answer(self, verb: str, headers: dict[str, str]) -> str:
        head = f"CSeq: {headers.get('cseq', '0')}\r\n"
        if self._manners.login and verb == "DESCRIBE" and not self._knows(headers):
            return f'RTSP/1.0 401 Unauthorized\r\n{head}WWW-Authenticate: Basic realm="c"\r\n\r\n'
        body = ""
        if verb == "OPTIONS":
            head += "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n"
        elif verb == "DESCRIBE":
            body = self._description()
            head += f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
        elif verb == "SETUP":
            head += "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n"
        return f"RTSP/1.0 200 OK\r\n{head}\r\n{body}"

    def _knows(self, headers: dict[str, str]) -> bool:
        return (
            headers.get("authorization") == f"Basic {base64.b64encode(self._manners.login.encode()).decode()}"
        )

    def _description(self) -> str:
        sets = (base64.b64encode(unit).decode() for unit in self._units if unit[0] & 31 in (7, 8))
        return (
            "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\n"
            "a=rtpmap:96 H264/90000\r\n"
            f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={','.join(list(sets)[:2])}\r\n"
            "a=control:video\r\n"
        )

    def _play(self, client: socket.socket) -> None:
        """Pictures leave on time, whatever sending the last one took, so that the rate is a camera's."""
        sent = number = 0
        began_s = time.monotonic()
        while not self._stop.is_set():
            for unit in self._units:
                picture = unit[0] & 31 in (1, 5)
                time_90k = round(sent * 90000 / self._manners.fps) & 0xFFFFFFFF
                for part, last in _parts(unit):
                    marked = 96 | (picture and last) << 7
                    rtp = struct.pack(">BBHII", 0x80, marked, number & 0xFFFF, time_90k, 7) + part
                    client.sendall(struct.pack(">cBH", b"$", 0, len(rtp)) + rtp)
                    number += 1
                sent += picture
                self.sent += picture
                if sent >= self._manners.frames:
                    if self._manners.silent:
                        self._stop.wait()
                    return
                left_s = began_s + sent / self._manners.fps - time.monotonic()
                if picture and self._stop.wait(max(0.0, left_s)):
                    return


def _parts(unit: bytes) -> Iterator[tuple[bytes, bool]]:
    """A unit whole, or, where it is larger than a packet, in fragments (FU-A); whether it is the last."""
    if len(unit) <= MOST_BYTES:
        yield unit, True
        return
    head, kind, body = unit[0] & 0xE0 | 28, unit[0] & 31, unit[1:]
    for at in range(0, len(body), MOST_BYTES):
        first, last = at == 0, at + MOST_BYTES >= len(body)
        yield bytes((head, first << 7 | last << 6 | kind)) + body[at : at + MOST_BYTES], last
