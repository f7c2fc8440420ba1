# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Asks a DNS server for an A record and prints the address that it answers, or "none".

Usage: dns_client.py udp|tcp SERVER NAME [SOURCE_PORT]   Standard library only.
"""

import socket
import struct
import sys


def question(name):
    labels = b"".join(bytes([len(part)]) + part.encode() for part in name.split("."))
    return struct.pack("!HHHHHH", 4711, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", 1, 1)


def address(answer):
    if len(answer) < 12 or struct.unpack("!H", answer[6:8])[0] == 0:
        return "none"
    return socket.inet_ntoa(answer[-4:])  # one record, and nothing after it


def ask(protocol, server, name, source_port):
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    with socket.socket(family, kind) as client:
        client.settimeout(3)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if source_port:
            client.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", source_port))
        client.connect((server, 53))  # so that an answer from elsewhere isn't one
        asked = question(name)
        if protocol == "udp":
            client.send(asked)
            return address(client.recv(512))
        client.sendall(struct.pack("!H", len(asked)) + asked)
        stream = client.makefile("rb")
        (length,) = struct.unpack("!H", stream.read(2))
        return address(stream.read(length))


try:
    print(ask(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]) if len(sys.argv) > 4 else 0))
except (OSError, struct.error):
    print("none")
