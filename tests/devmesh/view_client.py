# SPDX-License-Identifier: Apache-2.0
"""Asks the HTTP view over its Unix socket, which is reachable from outside the network namespace it serves."""

from __future__ import annotations

import os
import socket

_TIMEOUT = 10


def request(path: str | os.PathLike, method: str, target: str, body: bytes = b"") -> tuple[int, bytes]:
    """Status and body; OSError when nobody answers."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(_TIMEOUT)
        connection.connect(os.fspath(path))
        head = f"{method} {target} HTTP/1.1\r\nHost: devmesh\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        connection.sendall(head.encode() + body)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    header, _, payload = answer.partition(b"\r\n\r\n")
    try:
        return int(header.split(b" ", 2)[1]), payload
    except (IndexError, ValueError) as error:
        raise ConnectionError("the answer isn't HTTP") from error
