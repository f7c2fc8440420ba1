# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Connects as told, one after the other, and prints for each what landing_server.py said, as one list of JSON.

Usage: landing_client.py '[{"address": A, "port": P, "source"?: A, "source_port"?: P, "mark"?: N}, …]'
`mark` needs CAP_NET_ADMIN, a `source` that isn't this host's also gets IP_TRANSPARENT. An answer has "mine", the own
address; else it's {"port": "refused"} or {"port": "none"}. Standard library only.
"""

import json
import socket
import sys

IP_TRANSPARENT, IPV6_TRANSPARENT = 19, 75


def land(target):
    family = socket.AF_INET6 if ":" in target["address"] else socket.AF_INET
    with socket.socket(family) as client:
        client.settimeout(2)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if target.get("mark"):
            client.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, target["mark"])
            if target.get("source"):
                level, option = (
                    (socket.SOL_IP, IP_TRANSPARENT)
                    if family == socket.AF_INET
                    else (socket.IPPROTO_IPV6, IPV6_TRANSPARENT)
                )
                client.setsockopt(level, option, 1)
        if target.get("source") or target.get("source_port"):
            anywhere = "::" if family == socket.AF_INET6 else "0.0.0.0"
            client.bind((target.get("source", anywhere), target.get("source_port", 0)))
        try:
            client.connect((target["address"], target["port"]))
            answer = json.loads(client.makefile("rb").readline())
            return {**answer, "mine": client.getsockname()[:2]}
        except ConnectionRefusedError:
            return {"port": "refused"}
        except (OSError, ValueError):
            return {"port": "none"}


print(json.dumps([land(target) for target in json.loads(sys.argv[1])]))
