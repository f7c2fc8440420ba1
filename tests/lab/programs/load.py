# SPDX-License-Identifier: Apache-2.0
"""Asks again and again, never retries, and counts what failed. Standard library only.

Usage: load.py [--rate N] [--timeout S] TARGET…   until SIGTERM. A TARGET is
  http://…           GET, once with a connection kept alive and once with a new one for each request
  banner://ADDR:PORT a new connection each time; the server (banner_server.py) must see our very own address and port,
                     which is true only if nobody stands in between
  ssh://ADDR:PORT    a new connection each time; a real sshd greets

Writes a JSON line 10 times a second: {"sent":…, "failed":…, "by_target":{…}, "failures":[…]}; the last one also has
the answer times {"p50_ms":…, "p99_ms":…, "max_ms":…}.
"""

import argparse
import http.client
import json
import signal
import socket
import threading
import time
import urllib.parse

MAX_FAILURES = 20  # that are described; all are counted
MAX_TIMES = 200_000


class Tally:
    def __init__(self):
        self.lock = threading.Lock()
        self.sent = self.failed = 0
        self.by_target = {}
        self.failures = []
        self.times = []

    def add(self, target, mode, seconds, error):
        with self.lock:
            self.sent += 1
            key = f"{target} {mode}"
            self.by_target[key] = self.by_target.get(key, 0) + 1
            if len(self.times) < MAX_TIMES:
                self.times.append(seconds)
            if error is not None:
                self.failed += 1
                if len(self.failures) < MAX_FAILURES:
                    at = time.strftime("%H:%M:%S", time.gmtime()) + f"{time.time() % 1:.3f}"[1:]
                    self.failures.append({"at": at, "target": target, "mode": mode, "error": error})

    def line(self, with_times=False):
        with self.lock:
            times = sorted(self.times) if with_times else []
            report = {"sent": self.sent, "failed": self.failed, "by_target": self.by_target, "failures": self.failures}
        if times:
            at = lambda share: round(1000 * times[min(len(times) - 1, int(share * len(times)))], 2)  # noqa: E731
            report.update(p50_ms=at(0.5), p99_ms=at(0.99), max_ms=at(1))
        return json.dumps(report)


class Http:
    def __init__(self, url, timeout, keep_alive):
        self.path, self.keep_alive = url.path or "/", keep_alive
        self.connection = http.client.HTTPConnection(url.hostname, url.port or 80, timeout=timeout)

    def once(self):
        doing = "connect"
        try:
            if self.connection.sock is None:
                self.connection.connect()
            doing = "request from port %d" % self.connection.sock.getsockname()[1]
            self.connection.request("GET", self.path, headers={} if self.keep_alive else {"connection": "close"})
            response = self.connection.getresponse()
            body = response.read()
            if response.status != 200:
                self.connection.close()
                return f"status {response.status}: {body[:80].decode(errors='replace')}"
            if not self.keep_alive:
                self.connection.close()
            return None
        except (OSError, http.client.HTTPException) as error:
            self.connection.close()
            return f"{doing}: {type(error).__name__}: {error}"


class Banner:
    def __init__(self, url, timeout):
        self.where, self.timeout = (url.hostname, url.port), timeout

    def once(self):
        try:
            with socket.create_connection(self.where, timeout=self.timeout) as connection:
                with connection.makefile("rb") as stream:
                    seen = stream.readline().decode().strip()
                ours = "lab-ssh %s %d" % connection.getsockname()[:2]
            return None if seen == ours else f"not direct: the server saw {seen!r}, we are {ours!r}"
        except OSError as error:
            return f"{type(error).__name__}: {error}"


class Ssh:
    def __init__(self, url, timeout):
        self.where, self.timeout = (url.hostname, url.port), timeout

    def once(self):
        try:
            with socket.create_connection(self.where, timeout=self.timeout) as connection:
                with connection.makefile("rb") as stream:
                    seen = stream.readline()
            return None if seen.startswith(b"SSH-2.0-") else f"no sshd: {seen!r}"
        except OSError as error:
            return f"{type(error).__name__}: {error}"


def work(target, mode, client, tally, period, stop):
    due = time.monotonic()
    while not stop.is_set():
        begin = time.monotonic()
        error = client.once()
        now = time.monotonic()
        tally.add(target, mode, now - begin, error)
        due = max(due + period, now - period)  # no burst after a slow answer
        stop.wait(due - now)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rate", type=float, default=50, help="requests a second for each target and mode")
    parser.add_argument("--timeout", type=float, default=5)
    parser.add_argument("targets", nargs="+")
    args = parser.parse_args()
    stop, tally, threads = threading.Event(), Tally(), []
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    for target in args.targets:
        url = urllib.parse.urlsplit(target)
        if url.scheme in ("banner", "ssh"):
            clients = {"new": (Banner if url.scheme == "banner" else Ssh)(url, args.timeout)}
        else:
            clients = {"kept": Http(url, args.timeout, True), "new": Http(url, args.timeout, False)}
        for mode, client in clients.items():
            threads.append(
                threading.Thread(target=work, args=(target, mode, client, tally, 1 / args.rate, stop), daemon=True)
            )
    for thread in threads:
        thread.start()
    while not stop.wait(0.1):
        print(tally.line(), flush=True)
    for thread in threads:
        thread.join(args.timeout + 1)
    print(tally.line(with_times=True), flush=True)


main()
