# SPDX-License-Identifier: Apache-2.0
"""The proxies that run in the VM, one or two of them; replacing one by the next; and watching what a hand-over mustn't do."""

from __future__ import annotations

import json
import pathlib
import threading
import typing

from bench import procfs
from lab import poll, rotation, services
from lab.world import World

METRICS = "http://127.0.0.1:15020/stats/prometheus"
FOLDERS = ("/dev/shm", "/run/hawser/proxy", "/var/lib/hawser/proxy/run", "/var/lib/hawser/proxy/boot")
LOOKS_A_SECOND = 20
HANDSHAKE_EVERY = 0.5


class Unavailable(RuntimeError):
    """This Hawser has no such hand-over."""


def envoys(scene: World) -> list[int]:
    """Proxies that serve in the VM, as the machine numbers them; not those that only look at a bootstrap."""
    return [pid for pid in procfs.in_network_of(scene.host.pid, "envoy") if not _only_looks(pid)]


def _only_looks(pid: int) -> bool:
    try:
        words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return True
    return b"--mode" in words or b"--version" in words or b"--restart-epoch" not in words and b"-c" not in words


def known(scene: World) -> dict[str, typing.Any]:
    """What hawserd knows of the proxy; empty: nothing yet."""
    return scene.vm.status().get("proxy", {})


def proxy(scene: World) -> dict[str, typing.Any]:
    found = known(scene)
    assert found, "hawserd knows of no proxy"
    return found


def wait_adopted(scene: World, pid: int, limit: float) -> None:
    """A hawserd that began anew has found the proxy that ran, and it's LIVE: before, no restart of it is thought of."""

    def adopted() -> bool:
        found = proxy(scene)
        assert found["state"] == "LIVE" and found["pid"] == pid, found
        return True

    poll.until(f"the proxy that ran, pid {pid}, is adopted", adopted, limit, every=0.1)


def wait_another(scene: World, pid: int, limit: float) -> dict[str, typing.Any]:
    """One that isn't `pid` is LIVE. Told by one look, for between two of them one may end and the next begin."""

    def another() -> dict[str, typing.Any]:
        found = proxy(scene)
        assert found["state"] == "LIVE" and found["pid"] not in (0, pid), found
        return found

    return poll.until(f"another proxy than pid {pid} is LIVE", another, limit, every=0.1)


def restart(scene: World, kind: str, timeout: float = 60) -> dict[str, typing.Any]:
    """`kind` is what --hand-over takes; "": hawserd's choice."""
    words = ["--hand-over", kind] if kind else []
    done = scene.vm.cli("proxy", "restart", "--json", *words, check=False, timeout=timeout)
    if "not expected" in done.stderr and kind == "hot-restart":  # the only one, before there was a choice
        return restart(scene, "", timeout)
    if "not expected" in done.stderr or done.returncode == 64:
        raise Unavailable(f"hawser has no hand-over {kind!r}: {done.stderr.strip().splitlines()[0]}")
    if done.returncode != 0:
        raise RuntimeError(f"hawser proxy restart ended with {done.returncode}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def leftovers(scene: World) -> dict[str, int]:
    """How many files of generations there are, by folder; how many processes, and how many names they have in the network."""
    counted = scene.host.run(["sh", "-c", "for f in " + " ".join(FOLDERS) + "; do ls -A $f | wc -l; done"]).stdout.split()
    out = dict(zip(FOLDERS, map(int, counted)))
    # a holder is a hawser-broker, too
    out["processes"] = len(scene.host.run(["sh", "-c", "pgrep 'envoy|hawser-broker'"]).stdout.split())
    names = "grep -c envoy_domain_socket_child /proc/net/unix || true"  # one of each process
    out["names"] = int(scene.host.run(["sh", "-c", names]).stdout)
    return out


def wait_alone(scene: World, limit: float) -> None:
    """One proxy runs, and nothing of another is left."""

    def alone() -> bool:
        return len(envoys(scene)) == 1 and leftovers(scene)["/var/lib/hawser/proxy/run"] == 1

    poll.until("the predecessor has gone", alone, limit, every=0.1)


def counters(scene: World) -> dict[str, float]:
    """Envoy's counters through hawserd, by series."""
    text = services.curl(scene.host, METRICS, timeout=10).body
    kinds: dict[str, str] = {}
    out: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ", 3)
            kinds[name] = kind
        elif line and not line.startswith("#"):
            series, _, value = line.rpartition(" ")
            if kinds.get(series.partition("{")[0]) == "counter":
                out[series] = float(value)
    return out


class Watcher:
    """Beside the hand-overs: how many proxies run, what certificate a caller is shown, and renewals."""

    def __init__(self, scene: World, renew_every: float) -> None:
        self._scene = scene
        self._renew_every = renew_every
        self._stop = threading.Event()
        self.most_proxies = 0
        self.looks = 0
        self.renewals = 0
        self.seen = rotation.Watched()
        self.errors: list[str] = []
        self._threads = [threading.Thread(target=self._run, args=how) for how in self._duties()]

    def _duties(self) -> list[tuple[str, typing.Callable[[], None], float]]:
        duties: list[tuple[str, typing.Callable[[], None], float]] = [
            ("proxies", self._count, 1 / LOOKS_A_SECOND),
            ("handshake", lambda: self.seen.look(self._scene), HANDSHAKE_EVERY),
        ]
        return duties + ([("renewal", self._renew, self._renew_every)] if self._renew_every else [])

    def _run(self, what: str, duty: typing.Callable[[], None], every: float) -> None:
        while not self._stop.wait(every):
            try:
                duty()
            except Exception as error:  # noqa: BLE001 (it is a finding, and the others go on)
                self.errors.append(f"{what}: {error}")

    def _count(self) -> None:
        self.looks += 1
        self.most_proxies = max(self.most_proxies, len(envoys(self._scene)))

    def _renew(self) -> None:
        self._scene.vm.renew()
        self.renewals += 1

    def __enter__(self) -> Watcher:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *error: typing.Any) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)
