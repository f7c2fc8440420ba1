# SPDX-License-Identifier: Apache-2.0
"""hawserd started as its unit starts it: Type=notify, WatchdogSec=, socket units, standard error to the journal."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import typing

from lab import facts, fd_store
from lab.fd_store import FdStore
from lab.hawser import HawserHost

JOURNAL = "/run/systemd/journal/socket"
# name → (mode, group), as the .socket units have it
SOCKETS = {"xds": (0o660, facts.GID_PROXY), "sds": (0o660, facts.GID_PROXY), "admin": (0o666, 0)}
RUN = "/run/hawser"


class AgentUnit:
    """Use as a context manager, while no other hawserd runs in the host."""

    def __init__(self, hawser: HawserHost, watchdog_sec: float = 0.4) -> None:
        self.hawser, self.host = hawser, hawser.host
        self.watchdog_sec = watchdog_sec
        self.entries: list[dict[str, str]] = []
        self._lock = threading.Lock()
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> AgentUnit:
        self.systemd = self._stack.enter_context(FdStore(self.host))
        self._stack.callback(self.host.run, ["sh", "-c", f"rm -rf {RUN}/*.sock /run/systemd"])
        self.host.call(os.chmod, fd_store.SOCKET, 0o777)
        for name, (mode, group) in SOCKETS.items():
            self.systemd.fds[name] = self.host.call(_listen, f"{RUN}/{name}.sock", mode, group)
        # Like a real one: root's, so that nothing but what was handed over can be served
        self._stack.callback(self.host.mkdir, RUN, 0o3775, 0, facts.GID_AGENT)
        self.host.mkdir(RUN, 0o755, 0, 0)
        self._journal = self.host.call(_journal)
        self._thread = threading.Thread(target=self._read_journal, daemon=True)
        self._thread.start()
        self._stack.callback(self._end_journal)
        return self

    def __exit__(self, *error: typing.Any) -> None:
        self._stack.close()

    def spawn(self) -> None:
        """Only exec."""
        launching = self.systemd.launching()
        reader, writer = os.pipe()  # stands in for journald's stream
        try:
            seen = os.fstat(writer)
            launching["env"] |= {
                "JOURNAL_STREAM": f"{seen.st_dev}:{seen.st_ino}",
                "WATCHDOG_USEC": str(int(self.watchdog_sec * 1e6)),
            }
            self.hawser.spawn_agent(stderr=writer, **launching)
        finally:
            os.close(writer)
        threading.Thread(target=self._drain, args=(reader,), daemon=True).start()

    def told(self) -> list[str]:
        """What hawserd told systemd so far, watchdog aside."""
        return [message for message in list(self.systemd.messages) if message != "WATCHDOG=1"]

    def status(self) -> str:
        """The last STATUS=."""
        lines = [message.removeprefix("STATUS=") for message in self.told() if message.startswith("STATUS=")]
        return lines[-1] if lines else ""

    def petted(self) -> int:
        return list(self.systemd.messages).count("WATCHDOG=1")

    def journal(self) -> list[dict[str, str]]:
        with self._lock:
            return list(self.entries)

    def _drain(self, reader: int) -> None:
        with os.fdopen(reader, "rb") as stream, open(self.host.log_dir / "hawserd-stderr.log", "ab") as log:
            for line in stream:
                log.write(line)

    def _read_journal(self) -> None:
        while True:
            data = self._journal.recv(1 << 16)
            if data == b"END":
                return
            with self._lock:
                self.entries.append(_fields(data))

    def _end_journal(self) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
            self.host.call(client.sendto, b"END", JOURNAL)
        self._thread.join(5)
        self._journal.close()


def _fields(data: bytes) -> dict[str, str]:
    """The journal's native protocol, one-line values only: ours have no others."""
    return dict(line.partition("=")[::2] for line in data.decode().splitlines())


def _listen(path: str, mode: int, group: int) -> int:
    made = socket.socket(socket.AF_UNIX)
    made.bind(path)
    os.chown(path, 0, group)
    os.chmod(path, mode)
    made.listen(128)
    return made.detach()


def _journal() -> socket.socket:
    os.makedirs(os.path.dirname(JOURNAL), exist_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    made.bind(JOURNAL)
    os.chmod(JOURNAL, 0o666)
    return made
