# SPDX-License-Identifier: Apache-2.0
"""Asks again and again, and writes down what came of each: one request after the other, so that of one that has ended
nothing more is on the wire (callers.py has many beside each other). Standard library only.

Usage: asker.py URL   until SIGTERM. 20 requests a second at most, each with a new connection and no second try. Writes a
JSON line for each: {"at":…, "until":…, "got":…}. Times are the wall clock's; `got` is the service that answered
(http_app.py), "refused", "status N", or the name of another error.
"""

import http.client
import json
import sys
import time
import urllib.parse

EVERY, TIMEOUT = 0.05, 2  # seconds


def ask(url):
    connection = http.client.HTTPConnection(url.hostname, url.port or 80, timeout=TIMEOUT)
    try:
        connection.request("GET", url.path or "/", headers={"connection": "close"})
        response = connection.getresponse()
        body = response.read()
        return json.loads(body)["service"] if response.status == 200 else f"status {response.status}"
    except (OSError, http.client.HTTPException) as error:
        return "refused" if isinstance(error, ConnectionRefusedError) else type(error).__name__
    finally:
        connection.close()


def main():
    url = urllib.parse.urlsplit(sys.argv[1])
    while True:
        begin = time.time()
        got = ask(url)
        print(json.dumps({"at": begin, "until": time.time(), "got": got}), flush=True)
        time.sleep(EVERY)


main()
