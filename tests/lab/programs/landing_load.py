# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Connects again and again until its standard input closes, then prints how often it landed at which port, as JSON.

Usage: landing_load.py ADDRESS PORT [ADDRESS PORT...]   Prints "up" after the first round. Standard library only.
"""

import json
import select
import socket
import sys


def land(address, port):
    try:
        with socket.create_connection((address, port), timeout=5) as connection:
            return str(json.loads(connection.makefile("rb").readline())["port"])
    except (OSError, ValueError) as error:
        return type(error).__name__


counts = {}
targets = list(zip(sys.argv[1::2], map(int, sys.argv[2::2])))
told = False
while not select.select([sys.stdin], [], [], 0)[0]:
    for target in targets:
        landed = land(*target)
        counts[landed] = counts.get(landed, 0) + 1
    if not told:
        print("up", flush=True)
        told = True
print(json.dumps(counts))
