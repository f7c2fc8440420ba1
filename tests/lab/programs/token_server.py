# SPDX-License-Identifier: Apache-2.0
"""Those who hand out tokens, with the paths, headers and failures of the real ones: the metadata server of Google Compute
Engine, and, with a certificate, the TokenRequest of a Kubernetes API server.

Usage: token_server.py FOLDER ADDRESS:PORT [CERTIFICATE KEY]   Standard library only.

FOLDER/token is what it hands out, FOLDER/bearer whom the API server knows. FOLDER/fault, if it is there, is JSON:
{"status", "headers", "body", "no_flavor", "hang"}. FOLDER/asked gets a line of JSON for each request.
"""

import http.server
import json
import pathlib
import ssl
import sys
import time
import urllib.parse

FOLDER = pathlib.Path(sys.argv[1])
IDENTITY = "/computeMetadata/v1/instance/service-accounts/default/identity"


def read(name):
    path = FOLDER / name
    return path.read_text().strip() if path.exists() else ""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 30

    def answer(self, status, body, headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def note(self, body=""):
        line = {"method": self.command, "path": self.path, "body": body, "host": self.headers.get("Host")}
        with open(FOLDER / "asked", "a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def misbehaves(self, flavor):
        fault = json.loads(read("fault") or "{}")
        if not fault:
            return False
        if fault.get("hang"):
            time.sleep(fault["hang"])
        headers = dict(flavor) if not fault.get("no_flavor") else {}
        self.answer(fault.get("status", 200), fault.get("body", read("token")), {**headers, **fault.get("headers", {})})
        return True

    def do_GET(self):
        self.note()
        where = urllib.parse.urlsplit(self.path)
        flavor = {"Metadata-Flavor": "Google", "Server": "Metadata Server for VM", "Content-Type": "text/html"}
        # without the header, or through a proxy, it tells nobody anything
        if self.headers.get("Metadata-Flavor") != "Google" or "X-Forwarded-For" in self.headers:
            return self.answer(403, "Missing Metadata-Flavor:Google header.\n", flavor)
        if self.misbehaves(flavor):
            return None
        query = urllib.parse.parse_qs(where.query)
        if where.path != IDENTITY:
            return self.answer(404, "not found\n", flavor)
        if not query.get("audience"):
            return self.answer(400, "non-empty audience parameter required\n", flavor)
        return self.answer(200, read("token"), flavor)

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        self.note(body)
        if self.misbehaves({}):
            return None
        json_type = {"Content-Type": "application/json"}
        if self.headers.get("Authorization") != f"Bearer {read('bearer')}":
            status = {"kind": "Status", "status": "Failure", "message": "Unauthorized", "reason": "Unauthorized", "code": 401}
            return self.answer(401, json.dumps(status), json_type)
        made = {**json.loads(body), "status": {"token": read("token"), "expirationTimestamp": "2030-01-01T00:00:00Z"}}
        return self.answer(201, json.dumps(made), json_type)

    def log_message(self, format, *args):
        pass  # FOLDER/asked has it


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self):
        # http.server's own would look its name up
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = self.server_address

    def handle_error(self, request, client_address):
        pass  # whoever goes away early is what some tests are about


address, _, port = sys.argv[2].rpartition(":")
server = Server((address, int(port)), Handler)
if len(sys.argv) > 3:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[3], sys.argv[4])
    server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
