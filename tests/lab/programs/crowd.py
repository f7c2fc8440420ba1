# SPDX-License-Identifier: Apache-2.0
"""crowd.py ADDRESS PORT COUNT: opens so many connections and holds them until it is ended; says nothing on them."""

import resource
import signal
import socket
import sys


def main() -> None:
    address, port, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, count + 64), hard))
    held = []
    for _ in range(count):
        client = socket.socket()
        client.settimeout(1)
        try:
            client.connect((address, port))
        except OSError:
            break  # the other side takes no more: that is what we're here for
        held.append(client)
    signal.pause()


main()
