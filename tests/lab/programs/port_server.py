# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Answers each TCP connection with the number of the port that it really reached, then echoes what it gets.

Usage: port_server.py PORT...   (both families). Standard library only. Prints "up" when all ports are bound.
"""

import socket
import sys
import threading


def talk(connection, port):
    with connection:
        try:
            connection.sendall(b"%d\n" % port)
            while data := connection.recv(4096):
                connection.sendall(data)
        except OSError:
            pass


def accept(listener, port):
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=talk, args=(connection, port), daemon=True).start()


def main():
    for port in map(int, sys.argv[1:]):
        for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            listener = socket.socket(family)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listener.bind((address, port))
            listener.listen(128)
            threading.Thread(target=accept, args=(listener, port), daemon=True).start()
    print("up", flush=True)
    threading.Event().wait()


main()
