# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""systemd's side of sd_notify(3) and of its descriptor store, for hosts of the lab, which have no systemd."""

from __future__ import annotations

import os
import socket
import threading
import typing

from lab.host import Host

SOCKET = "/run/notify"
# LISTEN_PID has to be the program's own, so it's set after the fork: fds go to 3, 4, … in the order of the arguments.
LAUNCH = """
import fcntl, os, sys
fds = [int(word) for word in sys.argv[1].split(",") if word]
copies = [fcntl.fcntl(fd, fcntl.F_DUPFD, 200) for fd in fds]
for place, copy in enumerate(copies):
    os.dup2(copy, 3 + place)
    os.close(copy)
os.closerange(3 + len(fds), 200)
if fds:
    os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(fds)))
os.execv(sys.argv[2], sys.argv[2:])
"""


class FdStore:
    """One unit's store; use as a context manager."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.fds: dict[str, int] = {}
        self.messages: list[str] = []
        self._lock = threading.Lock()
        self._socket = host.call(self._bind)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @staticmethod
    def _bind() -> socket.socket:
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        made.bind(SOCKET)
        return made

    def _serve(self) -> None:
        while True:
            data, fds, _, _ = socket.recv_fds(self._socket, 4096, 16)
            if data == b"END":
                return
            lines = data.decode().splitlines()
            with self._lock:
                self._take(lines, fds)

    def _take(self, lines: list[str], fds: list[int]) -> None:
        self.messages.append("\n".join(lines))
        name = next((line.removeprefix("FDNAME=") for line in lines if line.startswith("FDNAME=")), "stored")
        if "FDSTORE=1" in lines:
            assert "FDPOLL=0" in lines, lines
            for fd in fds:
                if name in self.fds:  # the same description again, as systemd sees it
                    os.close(self.fds[name])
                self.fds[name] = fd
            return
        if "FDSTOREREMOVE=1" in lines and name in self.fds:
            os.close(self.fds.pop(name))
        for fd in fds:  # BARRIER=1: its closing is the answer
            os.close(fd)

    def launching(self) -> dict[str, typing.Any]:
        """How the next main process gets what is stored: arguments for HawserHost.start_broker."""
        with self._lock:
            names, fds = list(self.fds), list(self.fds.values())
        words = ["/usr/bin/python3", "-I", "-c", LAUNCH, ",".join(map(str, fds))]
        env = {"NOTIFY_SOCKET": SOCKET, "LISTEN_FDNAMES": ":".join(names)}
        return {"before": words, "env": env, "pass_fds": fds}

    def empty(self) -> None:
        """What systemd does when the unit has stopped, and isn't being restarted."""
        with self._lock:
            for fd in self.fds.values():
                os.close(fd)
            self.fds.clear()

    def says(self, text: str) -> bool:
        with self._lock:
            return any(text in message for message in self.messages)

    def __enter__(self) -> FdStore:
        return self

    def __exit__(self, *_: object) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            self.host.call(lambda: client.sendto(b"END", SOCKET))
        self._thread.join(5)
        self._socket.close()
        self.empty()
        self.host.call(os.unlink, SOCKET)
