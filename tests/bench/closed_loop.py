# SPDX-License-Identifier: Apache-2.0
"""Asks without a pause on several connections at once, until SIGTERM; then prints one JSON line. Standard library only.

Usage: closed_loop.py URL CONNECTIONS. A request that fails is counted, never retried, and its connection made anew.
{"sent":…, "failed":…, "longest_gap_ms":…}: the gap is the longest time in which no request at all succeeded.
"""

import http.client
import json
import signal
import sys
import threading
import time
import urllib.parse

TIMEOUT = 5
PAUSE_AFTER_FAILURE = 0.005  # a refused connection costs nothing, and counting millions of them would say nothing


class Tally:
    def __init__(self):
        self.lock = threading.Lock()
        self.sent = self.failed = 0
        self.last = time.monotonic()
        self.gap = 0.0

    def add(self, good):
        now = time.monotonic()
        with self.lock:
            self.sent += 1
            if not good:
                self.failed += 1
                return
            self.gap, self.last = max(self.gap, now - self.last), now


def ask(connection, path):
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        return response.status == 200
    except (OSError, http.client.HTTPException):
        return False


def work(url, tally, stop):
    connection = http.client.HTTPConnection(url.hostname, url.port or 80, timeout=TIMEOUT)
    while not stop.is_set():
        good = ask(connection, url.path or "/")
        tally.add(good)
        if not good:
            connection.close()
            time.sleep(PAUSE_AFTER_FAILURE)


def main():
    url, count = urllib.parse.urlsplit(sys.argv[1]), int(sys.argv[2])
    stop, tally = threading.Event(), Tally()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threads = [threading.Thread(target=work, args=(url, tally, stop), daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    while not stop.wait(1):
        pass
    for thread in threads:
        thread.join(TIMEOUT + 1)
    gap = max(tally.gap, time.monotonic() - tally.last)
    print(json.dumps({"sent": tally.sent, "failed": tally.failed, "longest_gap_ms": round(gap * 1000, 1)}), flush=True)


main()
