# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Sends packets for real, each as its owner, and prints where TCP's landed. Root alone can run it.

Standard input: a JSON list of {"id", "transport", "src", "sport", "dst", "dport", "uid", "gid", "mark"}; `src` and
`sport` may be null. Standard output: a JSON object, id → what land_server.py said, "refused", "none" or (UDP) "sent".
"""

import json
import os
import socket
import sys

SO_MARK, IP_FREEBIND, IPV6_FREEBIND = 36, 15, 78


def owned_socket(packet):
    """The owner of a socket is who made it; what follows needs root."""
    family = socket.AF_INET6 if ":" in packet["dst"] else socket.AF_INET
    kind = socket.SOCK_STREAM if packet["transport"] == "tcp" else socket.SOCK_DGRAM
    os.setegid(packet["gid"])
    os.seteuid(packet["uid"])
    try:
        return socket.socket(family, kind)
    finally:
        os.seteuid(0)
        os.setegid(0)


def send(packet):
    with owned_socket(packet) as it:
        it.settimeout(2)
        if packet.get("mark"):
            it.setsockopt(socket.SOL_SOCKET, SO_MARK, packet["mark"])
        if packet.get("src") or packet.get("sport"):
            if it.family == socket.AF_INET6:  # an address that is ours by a route alone
                it.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
            else:
                it.setsockopt(socket.SOL_IP, IP_FREEBIND, 1)
            it.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            it.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            it.bind((packet.get("src") or ("::" if ":" in packet["dst"] else "0.0.0.0"), packet.get("sport") or 0))
        try:
            it.connect((packet["dst"], packet["dport"]))
            if packet["transport"] == "udp":
                it.send(packet["id"].encode())
                return "sent"
            return it.makefile("rb").readline().decode().strip() or "none"
        except ConnectionRefusedError:
            return "refused"
        except OSError as error:
            return f"none ({error})"


os.setgroups([])
print(json.dumps({packet["id"]: send(packet) for packet in json.load(sys.stdin)}))
