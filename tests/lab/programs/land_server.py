# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Tells where packets land: answers a TCP connection with NAME:PORT, and prints what a datagram says with NAME:PORT.

Usage: land_server.py NAME PORT...   (both families, TCP and UDP). Standard library only. Prints "up" when all ports are
bound. Listeners are transparent, so that TPROXY may choose them. Datagrams are only printed: an answer's way back
depends on who sends it. One is answered, and not printed: the broker's own question for a name.
"""

import selectors
import socket
import sys

SOL_IPV6, IPV6_TRANSPARENT, IP_TRANSPARENT = 41, 75, 19
IP_PKTINFO, IPV6_RECVPKTINFO = 8, 49
PROBE = b"\6hawser\7invalid\0"


def bound(family, kind, port):
    it = socket.socket(family, kind)
    it.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        it.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    if kind == socket.SOCK_STREAM:
        if family == socket.AF_INET6:
            it.setsockopt(SOL_IPV6, IPV6_TRANSPARENT, 1)
        else:
            it.setsockopt(socket.SOL_IP, IP_TRANSPARENT, 1)
    if kind == socket.SOCK_DGRAM:
        level, option = (SOL_IPV6, IPV6_RECVPKTINFO) if family == socket.AF_INET6 else (socket.SOL_IP, IP_PKTINFO)
        it.setsockopt(level, option, 1)
    it.bind(("::" if family == socket.AF_INET6 else "0.0.0.0", port))
    if kind == socket.SOCK_STREAM:
        it.listen(128)
    it.setblocking(False)
    return it


def answer(it, where):
    try:
        if it.type == socket.SOCK_DGRAM:
            said, arrived_at, _, sender = it.recvmsg(64, 128)
            if PROBE in said:  # from where it arrived, as an answer has to
                it.sendmsg([said[:2] + b"\x81\x83" + said[4:]], arrived_at, 0, sender)
            else:
                print(said.decode(), where, flush=True)
            return
        connection, _ = it.accept()
        with connection:
            connection.setblocking(True)
            connection.settimeout(1)
            connection.sendall(where.encode() + b"\n")
            connection.recv(16)  # until the client has closed: then the TIME_WAIT is the client's
    except OSError:
        pass


def main():
    name, waiting = sys.argv[1], selectors.DefaultSelector()
    for port in map(int, sys.argv[2:]):
        for family in (socket.AF_INET, socket.AF_INET6):
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                waiting.register(bound(family, kind, port), selectors.EVENT_READ, f"{name}:{port}")
    print("up", flush=True)
    while True:
        for key, _ in waiting.select():
            answer(key.fileobj, key.data)


main()
