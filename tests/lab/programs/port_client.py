# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Connects to each ADDRESS PORT of its arguments and prints what port_server.py there says, "refused" or "none".

Usage: port_client.py ADDRESS PORT [ADDRESS PORT...]   Standard library only.
"""

import socket
import sys


def reached(address, port):
    try:
        with socket.create_connection((address, port), timeout=2) as connection:
            return connection.makefile("rb").readline().decode().strip() or "none"
    except ConnectionRefusedError:
        return "refused"
    except OSError:
        return "none"


targets = sys.argv[1:]
for address, port in zip(targets[::2], targets[1::2]):
    print(reached(address, int(port)))
