# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Tells each TCP connection, in one line of JSON, where it landed: {"port", "from", "to", "original"}.

Usage: landing_server.py [--transparent PORT]... PORT...   (both families). Standard library only. Prints "up" when all
ports are bound. `original` is the destination before a redirect, as the proxy asks the kernel for it; null without one.
"""

import json
import socket
import struct
import sys
import threading

SO_ORIGINAL_DST = 80  # linux/netfilter_ipv4.h, and IP6T_SO_ORIGINAL_DST
IP_TRANSPARENT, IPV6_TRANSPARENT = 19, 75


def original(connection):
    level, size = (socket.SOL_IP, 16) if connection.family == socket.AF_INET else (socket.IPPROTO_IPV6, 28)
    try:
        found = connection.getsockopt(level, SO_ORIGINAL_DST, size)
    except OSError:
        return None
    (port,) = struct.unpack("!H", found[2:4])
    address = found[4:8] if size == 16 else found[8:24]
    return [socket.inet_ntop(connection.family, address), port]


def talk(connection, port):
    with connection:
        try:
            told = {
                "port": port,
                "from": connection.getpeername()[:2],
                "to": connection.getsockname()[:2],
                "original": original(connection),
            }
            connection.sendall(json.dumps(told).encode() + b"\n")
            while data := connection.recv(4096):
                connection.sendall(data)
        except OSError:
            pass


def accept(listener, port):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=talk, args=(connection, port), daemon=True).start()


def listen(port, transparent):
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
        listener = socket.socket(family)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if transparent:
            level, option = (
                (socket.SOL_IP, IP_TRANSPARENT)
                if family == socket.AF_INET
                else (socket.IPPROTO_IPV6, IPV6_TRANSPARENT)
            )
            listener.setsockopt(level, option, 1)
        listener.bind((address, port))
        listener.listen(128)
        threading.Thread(target=accept, args=(listener, port), daemon=True).start()


def main():
    words = iter(sys.argv[1:])
    for word in words:
        if word == "--transparent":
            listen(int(next(words)), True)
        else:
            listen(int(word), False)
    print("up", flush=True)
    threading.Event().wait()


main()
