# SPDX-License-Identifier: Apache-2.0
"""The lab: hosts on one bridge. Nothing of it is in the machine's own namespaces, so several labs can run at once."""

from __future__ import annotations

import fcntl
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import threading
import types
import typing
import zlib

from lab import facts, layout
from lab import namespaces as ns
from lab.host import Host

GATEWAY, GATEWAY6 = "10.77.0.1", "fd77::1"  # routes lead there; it forwards nothing, so what isn't on the bridge is lost
WORK_ROOT = layout.REPO / ".cache" / "lab"

# No router, no duplicate-address detection: addresses are usable at once and stay as the test set them.
_SYSCTLS = ("net.ipv6.conf.all.accept_ra=0", "net.ipv6.conf.default.accept_ra=0", "net.ipv6.conf.default.accept_dad=0")


class Lab:
    """Use as a context manager in the main thread; SIGTERM then cleans up like Ctrl-C does."""

    def __init__(self) -> None:
        self.hosts: dict[str, Host] = {}
        self.directory, self._lock = _work_directory()
        self.log_dir = self.directory / "logs"
        self._closed = False
        self._sigterm: object = None
        self._net = ns.NamespaceThread("lab-net", ns.NEWNET)
        try:
            self._ip(
                "link set lo up",
                "link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0",
                f"address add {GATEWAY}/{facts.PREFIX} dev br0",
                f"address add {GATEWAY6}/{facts.PREFIX6} dev br0 nodad",
                "link set br0 up",
            )
        except BaseException:
            self.close()
            raise

    def _ip(self, *lines: str) -> None:
        done = self._net.call(
            subprocess.run, ["ip", "-batch", "-"], input="\n".join(lines), text=True, capture_output=True, timeout=10
        )
        if done.returncode != 0:
            raise RuntimeError(f"lab network: {done.stderr.strip()}")

    def add_host(self, name: str, address: str | None = None, address6: str | None = None) -> Host:
        """A host called `name`, with eth0 on the bridge if it gets an address."""
        host = Host(name, self.log_dir / name)
        self.hosts[name] = host
        if address is None and address6 is None:
            host.run(["sysctl", "-qw", *_SYSCTLS])
            return host
        self.connect(name, host.pid, lambda argv, input: host.run(argv, input=input), address, address6)
        return host

    def connect(
        self,
        name: str,
        pid: int,
        run: typing.Callable[[list[str], str | None], object],
        address: str | None,
        address6: str | None,
    ) -> None:
        """eth0 on the bridge for the network namespace of process (or thread) `pid`; `run` runs a command in there."""
        run(["sysctl", "-qw", *_SYSCTLS], None)  # an interface takes the defaults of the moment when it's made
        port = f"to-{name}"[:15]
        of_last_boot = ["ip", "link", "delete", port]
        self._net.call(subprocess.run, of_last_boot, capture_output=True, timeout=10, check=False)
        # a name's address is always the same, as a machine's is: after its reboot neighbours needn't learn another
        mac = "02:00:%02x:%02x:%02x:%02x" % tuple(zlib.crc32(name.encode()).to_bytes(4, "big"))
        peer = f"peer name eth0 address {mac} netns {pid}"
        self._ip(f"link add {port} type veth {peer}", f"link set {port} master br0", f"link set {port} up")
        lines = ["link set eth0 up"]
        if address:
            lines += [f"address add {address}/{facts.PREFIX} dev eth0", f"route add default via {GATEWAY}"]
        if address6:
            lines += [
                f"address add {address6}/{facts.PREFIX6} dev eth0 nodad",
                f"route add ::/0 via {GATEWAY6}",
            ]
        run(["ip", "-batch", "-"], "\n".join(lines))

    def wire(self, a: Host, b: Host, name: str) -> None:
        """One interface more for each of two hosts, connected; they are up once both hosts have said so."""
        self._ip(f"link add {name} netns {a.pid} type veth peer name {name} netns {b.pid}")

    def keep_logs(self, where: pathlib.Path) -> pathlib.Path:
        """Copies the logs of all programs, for a failure that somebody has to read."""
        shutil.rmtree(where, ignore_errors=True)
        shutil.copytree(self.log_dir, where)
        return where

    def close(self) -> None:
        """May be called twice."""
        if self._closed:
            return
        self._closed = True
        for host in reversed(self.hosts.values()):
            host.close()
        self._net.close()
        shutil.rmtree(self.directory, ignore_errors=True)
        os.close(self._lock)

    def __enter__(self) -> Lab:
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            self._sigterm = signal.signal(signal.SIGTERM, as_interrupt)
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: types.TracebackType | None) -> None:
        try:
            self.close()
        finally:
            if self._sigterm is not None:
                signal.signal(signal.SIGTERM, self._sigterm)


def as_interrupt(_number: int, _frame: object) -> None:
    """A signal handler. pytest would count a SystemExit as one failed test and go on with the next."""
    raise KeyboardInterrupt


def _work_directory() -> tuple[pathlib.Path, int]:
    """A folder for logs and bundles, with a lock that says that its owner lives; those of the dead are removed."""
    WORK_ROOT.mkdir(parents=True, exist_ok=True)
    guard = os.open(WORK_ROOT, os.O_RDONLY)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX)  # between making a folder and locking it, it would look dead
        for old in WORK_ROOT.iterdir():
            if old.is_dir() and _is_dead(old):
                shutil.rmtree(old, ignore_errors=True)
        directory = pathlib.Path(tempfile.mkdtemp(prefix="run-", dir=WORK_ROOT))
        directory.chmod(0o755)
        lock = os.open(directory, os.O_RDONLY)
        fcntl.flock(lock, fcntl.LOCK_EX)
        return directory, lock
    finally:
        os.close(guard)


def _is_dead(directory: pathlib.Path) -> bool:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
