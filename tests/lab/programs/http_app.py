# SPDX-License-Identifier: Apache-2.0
"""An ordinary HTTP program that knows nothing of a mesh: it answers with what it was asked, as JSON.

Usage: http_app.py NAME ADDRESS:PORT…   (an IPv6 address in brackets). Standard library only.
"""

import http.server
import json
import socket
import sys
import threading


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    name = ""

    def setup(self):
        super().setup()
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def answer(self):
        length = int(self.headers.get("content-length") or 0)
        self.rfile.read(length)
        if self.path == "/health":
            body = b"ok\n"
        else:
            seen = {
                "service": self.name,
                "method": self.command,
                "path": self.path,
                "headers": {key.lower(): value for key, value in self.headers.items()},
                "peer": "%s %d" % self.client_address[:2],
                "local": "%s %d" % self.connection.getsockname()[:2],
                "body_bytes": length,
            }
            body = json.dumps(seen).encode() + b"\n"
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_PUT = answer

    def log_message(self, format, *args):
        if not self.path.startswith(("/load", "/health")):
            print(f"{self.client_address[0]} {format % args}", flush=True)

    def log_error(self, format, *args):
        print(f"{self.client_address[0]} {format % args}", flush=True)


def serve(address, port):
    class Server(http.server.ThreadingHTTPServer):
        address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        request_queue_size = 128

        def server_bind(self):
            if self.address_family == socket.AF_INET6:
                self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            # http.server's own would look its name up
            socket.socket.setsockopt(self.socket, socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.bind(self.server_address)
            self.server_address = self.socket.getsockname()
            self.server_name, self.server_port = address, port

    server = Server((address, port), Handler)
    threading.Thread(target=server.serve_forever).start()


def main():
    Handler.name = sys.argv[1]
    for where in sys.argv[2:]:
        address, _, port = where.rpartition(":")
        serve(address.strip("[]"), int(port))


main()
