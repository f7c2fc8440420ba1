# SPDX-License-Identifier: Apache-2.0
"""bench-xds-push in a host: pushes to direct clients and to clients behind an agent, in turns."""

from __future__ import annotations

import dataclasses
import json
import queue
import subprocess
import threading
import typing

from interop import pki
from lab import facts, layout
from lab.host import Host

NAME, PORT, PLAIN_PORT = "pushes.istio-system.svc", 15112, 15110
PLANE = f"{NAME}:{PORT}"
FILES = "/run/push"
ANSWER_TIMEOUT = 120.0


@dataclasses.dataclass(frozen=True)
class Server:
    """PEM text of a server called NAME."""

    key: str
    chain: str
    roots: str


def server_of(authority: pki.Pair) -> Server:
    server = pki.server(authority, NAME, [NAME], ["127.0.0.1"])
    return Server(server.key_pem, server.certificate_pem, authority.certificate_pem)


class Pushes:
    """Use as a context manager. Its certificate is the mesh's own CA's, so that both agents trust it."""

    def __init__(self, host: Host, server: Server) -> None:
        self._host = host
        as_proxy = {"mode": 0o600, "uid": facts.UID_PROXY, "gid": facts.GID_PROXY}
        host.write(f"{FILES}/key.pem", server.key, **as_proxy)
        host.write(f"{FILES}/chain.pem", server.chain, **as_proxy)
        host.write(f"{FILES}/root.pem", server.roots, **as_proxy)
        hosts = host.read("/etc/hosts")
        if NAME not in hosts:
            host.write("/etc/hosts", f"{hosts}127.0.0.1 {NAME}\n")
        # As the proxy's user: the agents' sockets are for it alone.
        self._process = host.popen(
            [f"{layout.BIN_IN_HOST}/bench-xds-push", "--key", f"{FILES}/key.pem", "--chain", f"{FILES}/chain.pem"]
            + ["--root", f"{FILES}/root.pem", "--name", NAME, "--port", str(PORT), "--plain-port", str(PLAIN_PORT)],
            uid=facts.UID_PROXY,
            gid=facts.GID_PROXY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            log="xds-push.log",
        )
        self._said: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=self._listen, daemon=True).start()
        self._answer()

    def _listen(self) -> None:
        for line in self._process.stdout:
            self._said.put(line)
        self._said.put(None)

    def _answer(self) -> dict[str, typing.Any]:
        try:
            line = self._said.get(timeout=ANSWER_TIMEOUT)
        except queue.Empty:
            line = None
        if line is None:
            words = (self._host.log_dir / "xds-push.log").read_text(encoding="utf-8", errors="replace").strip()
            raise RuntimeError(f"{self._host.name}: bench-xds-push gave no answer: {words[-400:]}")
        return json.loads(line)

    def _order(self, text: str) -> dict[str, typing.Any]:
        self._process.stdin.write(text + "\n")
        self._process.stdin.flush()
        return self._answer()

    def connect(self, client: str, where: str = "tls", variant: str = "delta") -> bool:
        """`where`: "tls" or "plain" for a direct client, else an agent's socket. False: no clusters came."""
        return "error" not in self._order(f"connect {client} {variant} {where}")

    def drop(self, client: str) -> None:
        self._order(f"drop {client}")

    def push(self, client: str, size: int, count: int) -> list[float]:
        """Milliseconds from push to client, of each."""
        return self._order(f"push {client} {size} {count}")["ms"]

    def one(self, client: str, count: int) -> list[float]:
        """The same for one changed cluster."""
        return self._order(f"one {client} {count}")["ms"]

    def __enter__(self) -> Pushes:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.stdin.close()
        self._host.stop(self._process)
