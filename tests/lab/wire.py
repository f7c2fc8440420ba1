# SPDX-License-Identifier: Apache-2.0
"""What goes over a host's eth0 for anybody to read: packets with a certain text in them, and all of a certain address."""

from __future__ import annotations

import dataclasses
import select
import socket
import struct
import threading
import time
import typing

from lab import poll
from lab.host import Host

_ETH_P_ALL, _ETH_P_IP = 0x0003, 0x0800
_SO_RCVBUFFORCE = 33
_SOL_PACKET, _PACKET_STATISTICS, _PACKET_OUTGOING = 263, 6, 4
_ETHERNET = 14  # bytes of its header
_BUFFER = 8 << 20


@dataclasses.dataclass(frozen=True)
class Packet:
    """Of TCP over IPv4."""

    at: float  # the wall clock's
    outgoing: bool
    source: tuple[str, int]
    destination: tuple[str, int]
    payload: bytes


class Wire:
    """Use as a context manager. Keeps each packet that has `text` in it, and each from or to `address`."""

    def __init__(self, host: Host, text: bytes, address: str) -> None:
        self._text, self._address = text, address
        self._socket = host.call(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
        self._socket.bind(("eth0", _ETH_P_ALL))
        self._socket.setblocking(False)
        self._kept: list[Packet] = []
        self._missed = 0
        self._read_until = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wire", daemon=True)
        self._thread.start()

    def packets(self, since: float = 0) -> list[Packet]:
        """All that came until now."""
        now = time.time()
        poll.until("the capture has been read", lambda: self._read_until >= now)
        return [packet for packet in list(self._kept) if packet.at >= since]

    def missed(self) -> int:
        """How many packets the kernel had no room for: with one of them nothing is proved."""
        statistics = self._socket.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)  # since the last time it was asked
        self._missed += struct.unpack("II", statistics)[1]
        return self._missed

    def _run(self) -> None:
        while not self._stop.is_set():
            begin = time.time()
            try:
                frame, (_, kind, direction, *_rest) = self._socket.recvfrom(1 << 16)
            except BlockingIOError:
                self._read_until = begin
                select.select([self._socket], [], [], 0.05)
                continue
            self._look(time.time(), frame, kind, direction == _PACKET_OUTGOING)

    def _look(self, at: float, frame: bytes, kind: int, outgoing: bool) -> None:
        ip = frame[_ETHERNET:]
        if kind != _ETH_P_IP or len(ip) < 20 or ip[9] != socket.IPPROTO_TCP:
            return
        tcp = ip[(ip[0] & 15) * 4 : int.from_bytes(ip[2:4], "big") or None]
        ports = struct.unpack("!HH", tcp[:4])
        packet = Packet(
            at,
            outgoing,
            (socket.inet_ntoa(ip[12:16]), ports[0]),
            (socket.inet_ntoa(ip[16:20]), ports[1]),
            tcp[(tcp[12] >> 4) * 4 :],
        )
        if self._text in packet.payload or self._address in (packet.source[0], packet.destination[0]):
            self._kept.append(packet)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(5)
        self._socket.close()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *error: typing.Any) -> None:
        self.close()
