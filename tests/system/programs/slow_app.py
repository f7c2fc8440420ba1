# SPDX-License-Identifier: Apache-2.0
"""An HTTP server whose answers take a while, and which finishes those that it is at when it is told to end.

    slow_app.py PORT SECONDS
"""

import http.server
import signal
import sys
import threading
import time


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"  # no connection is kept, so that none has to be waited for

    def do_GET(self) -> None:
        if self.path.startswith("/slow"):
            print(f"at {self.path}", flush=True)
            time.sleep(float(sys.argv[2]))
        body = b"done\n"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = False  # server_close() waits for them


server = Server(("0.0.0.0", int(sys.argv[1])), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever(poll_interval=0.05)
server.server_close()
