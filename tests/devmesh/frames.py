# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 as far as misbehaviour needs it (RFC 9113 §4, §6): frames are told apart, cut, added and swallowed. No I/O.

Header blocks pass unchanged, so that both ends' header compression stays in step.
"""

from __future__ import annotations

import struct

from devmesh.faults import Faults

PREFACE = 24  # bytes that a client sends before its first frame
DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 7, 8
_ACK = 1
_INITIAL_WINDOW_SIZE = 4
_INTERNAL_ERROR = 2
LAST_STREAM = 2**31 - 1
_HEAD = 9


def frame(kind: int, stream: int, payload: bytes, flags: int = 0) -> bytes:
    return len(payload).to_bytes(3, "big") + struct.pack("!BBI", kind, flags, stream) + payload


def goaway(code: int = 0, last: int = LAST_STREAM) -> bytes:
    return frame(GOAWAY, 0, struct.pack("!II", last, code) + b"by request of the test")


def window_update(stream: int, more: int) -> bytes:
    return frame(WINDOW_UPDATE, stream, struct.pack("!I", more))


class Splitter:
    """Whole frames out of a stream of bytes; `skip` bytes precede the first one."""

    def __init__(self, skip: int = 0):
        self._buffer = bytearray()
        self._skip = skip

    def feed(self, data: bytes) -> list[bytes]:
        self._buffer += data
        out: list[bytes] = []
        at = 0
        while len(self._buffer) - at >= (self._skip or _HEAD):
            size = self._skip or _HEAD + int.from_bytes(self._buffer[at : at + 3], "big")
            if len(self._buffer) - at < size:
                break
            out.append(bytes(self._buffer[at : at + size]))
            at += size
            self._skip = 0
        del self._buffer[:at]
        return out


class ToClient:
    """What the plane's frames become on their way to one client. `ended`: nothing may follow what was returned last."""

    def __init__(self, faults: Faults):
        self._faults = faults
        self._frames = Splitter()
        self._seen = faults.changed
        self._responses = 0
        self._told_goaway = self._spoilt = False
        self.window = faults.window  # of new streams, as the client is told; None: the server's own
        self.ended = False

    def feed(self, data: bytes) -> bytes:
        out = bytearray()
        for each in self._frames.feed(data):
            out += self._pass(each)
            if self.ended:
                break
        return bytes(out)

    def _pass(self, each: bytes) -> bytes:
        kind, flags = each[3], each[4]
        stream = int.from_bytes(each[5:9], "big")
        if self.window is not None:
            if kind == SETTINGS and not flags & _ACK:
                return frame(SETTINGS, 0, _with_window(each[_HEAD:], self.window), flags)
            if kind == WINDOW_UPDATE and stream and self._faults.window is not None:
                return b""  # the client gets its credit by drips
        if kind != DATA or len(each) == _HEAD:
            return each
        if self._seen != self._faults.changed:
            self._seen = self._faults.changed
            self._responses = 0
            self._told_goaway = self._spoilt = False
        self._responses += 1
        if self._responses < self._faults.frame_at:
            return each
        return self._spoil(each, stream)

    def _spoil(self, each: bytes, stream: int) -> bytes:
        faults = self._faults
        before, after = _halves(each, stream)
        if faults.frame and not self._spoilt:
            self._spoilt = True
            if faults.frame == "rst":
                return before + frame(RST_STREAM, stream, struct.pack("!I", _INTERNAL_ERROR))
            self.ended = True
            return before if faults.frame == "cut" else before + b"\xff" * 512  # as a frame: too long, of no kind
        if faults.goaway and not self._told_goaway:
            self._told_goaway = True
            last = LAST_STREAM if faults.goaway_last is None else faults.goaway_last
            word = goaway(faults.goaway_code, last)
            self.ended = faults.goaway_close
            at = {"before": word + each, "after": each + word, "middle": before + word + after}
            return at.get(faults.goaway, goaway() + each + word + word)
        return each


class ToServer:
    """Which streams a client has opened; its bytes pass unchanged."""

    def __init__(self) -> None:
        self._frames = Splitter(PREFACE)
        self.streams: set[int] = set()

    def feed(self, data: bytes) -> bytes:
        for each in self._frames.feed(data):
            if len(each) != PREFACE and each[3] == HEADERS:
                self.streams.add(int.from_bytes(each[5:9], "big"))
        return data


def _halves(each: bytes, stream: int) -> tuple[bytes, bytes]:
    """A DATA frame as two. gRPC never pads; of the flags only END_STREAM is left, which belongs to the second."""
    payload = each[_HEAD:]
    middle = len(payload) // 2
    return frame(DATA, stream, payload[:middle]), frame(DATA, stream, payload[middle:], each[4])


def _with_window(settings: bytes, window: int) -> bytes:
    kept = b"".join(
        settings[i : i + 6]
        for i in range(0, len(settings), 6)
        if int.from_bytes(settings[i : i + 2], "big") != _INITIAL_WINDOW_SIZE
    )
    return kept + struct.pack("!HI", _INITIAL_WINDOW_SIZE, window)
