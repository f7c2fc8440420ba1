# SPDX-License-Identifier: Apache-2.0
"""A plain TCP server in the place of sshd: it greets each client with the address it sees, then waits for its end.

Usage: banner_server.py PORT   (both families). Standard library only.
"""

import socket
import socketserver
import sys
import threading


class Handler(socketserver.BaseRequestHandler):
    timeout = 30

    def handle(self):
        self.request.settimeout(self.timeout)
        self.request.sendall(b"lab-ssh %s %d\r\n" % (self.client_address[0].encode(), self.client_address[1]))
        try:
            while self.request.recv(4096):
                pass
        except OSError:
            pass


def serve(family, port):
    class Server(socketserver.ThreadingTCPServer):
        address_family = family
        allow_reuse_address = True
        daemon_threads = True
        request_queue_size = 128

        def server_bind(self):
            if family == socket.AF_INET6:
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            super().server_bind()

    threading.Thread(target=Server(("::" if family == socket.AF_INET6 else "0.0.0.0", port), Handler).serve_forever).start()


for each in (socket.AF_INET, socket.AF_INET6):
    serve(each, int(sys.argv[1]))
