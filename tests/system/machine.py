# SPDX-License-Identifier: Apache-2.0
"""A booted Debian as a host of the lab: systemd-nspawn over an overlay of the image, on the lab's bridge.

    with Lab() as lab:
        vm = Machine(lab, "vm", image.root_for(deb), facts.VM_IP, facts.VM_IP6)   # a lab Host, not booted yet
        vm.boot()
        vm.install(deb)                       # dpkg -i
        vm.run(["hawser", "status"])          # run, popen, call, read, write … as every lab Host has
        vm.systemctl("restart", "hawser.service")
        vm.unit("hawser.service")["MainPID"]  # `systemctl show`, as a dict
        vm.journal("hawser.service")
        vm.reboot()                           # through systemd: units are stopped in order
        vm.power_cycle()                      # the plug is pulled: no program hears of it

A boot begins with a new network namespace, as a real one begins with an empty kernel: rules, routes and sysctls of the
last one are gone, files stay. Lab.close() ends the machine; nothing of it is outside the lab's folder and namespaces.
What run() and popen() start is in the machine's namespaces, but in none of its units (`systemd-run --wait` makes one).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import pathlib
import secrets
import shutil
import signal
import subprocess
import threading
import typing

from lab import layout, poll
from lab import namespaces as ns
from lab.host import STOP_TIMEOUT, Argv, Host, HostError
from lab.network import Lab

BOOT_TIMEOUT, DOWN_TIMEOUT = 40.0, 40.0
NSPAWN_REBOOT = 133  # nspawn's status when the system inside asked for a reboot
LOGS = f"{layout.LAB_DIR}/logs"  # log_dir, in the machine
# Beside what nspawn leaves by itself: the programs under test need the first two, and what PID 1 of a real machine has.
CAPABILITIES = "CAP_NET_ADMIN,CAP_NET_RAW,CAP_IPC_LOCK,CAP_SYS_RESOURCE"

_CGROUP_PREFIX = "hawser-test-"
_CLONE_FS = 0x200
_libc = ctypes.CDLL(None, use_errno=True)


class Machine(Host):
    """See the file's head. `PATH` of what runs here has no programs of the build: they come from the package."""

    def __init__(self, lab: Lab, name: str, root: pathlib.Path, address: str, address6: str) -> None:
        self.name, self.log_dir = name, lab.log_dir / name
        self.log_dir.mkdir(parents=True, exist_ok=True)
        self.log_dir.chmod(0o777)  # programs of any uid write there
        self.boots = 0
        self._lab, self._address, self._address6 = lab, address, address6
        self._processes: list[subprocess.Popen] = []
        self._nspawn: subprocess.Popen | None = None
        self._pid1 = 0
        self._thread: _InsideThread | None = None  # type: ignore[assignment]
        self._network: ns.NamespaceThread | None = None
        self._cgroup = _make_cgroup(name)
        # PID 1 outlives a killed nspawn; this one notices by its standard input that we are gone, however we went
        watch = 'cat >/dev/null; echo 1 >"$0/cgroup.kill"'
        self._watcher = subprocess.Popen(
            ["sh", "-c", watch, str(self._cgroup)], stdin=subprocess.PIPE, start_new_session=True
        )
        self._directory = lab.directory / "machines" / name
        self.root = self._directory / "root"  # its files, while it runs, are in `upper` beside it
        for each in ("root", "upper", "work"):
            (self._directory / each).mkdir(parents=True)
        # its mounts belong to this thread, and its processes die with it
        self._outside = ns.NamespaceThread(f"machine-{name}", ns.NEWNS)
        lab.hosts[name] = self
        options = f"lowerdir={root},upperdir={self._directory}/upper,workdir={self._directory}/work"
        self._outside.call(ns.mount, "overlay", str(self.root), "overlay", 0, options)
        self._outside.call(ns.tmpfs, "/run/systemd")  # nspawn's own state

    # -- power -------------------------------------------------------------------------------------------------

    def boot(self, timeout: float = BOOT_TIMEOUT) -> None:
        """Returns when systemd has started everything that a boot starts."""
        assert self._nspawn is None, f"{self.name} is on already"
        self._connect()
        self.boots += 1
        with open(self.log_dir / f"console-{self.boots}.log", "ab") as console:
            self._nspawn = self._outside.call(
                subprocess.Popen,
                self._nspawn_command(),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
                env={"PATH": os.environ["PATH"], "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"},
            )
        self._pid1 = poll.until(f"{self.name} has a PID 1", self._find_pid1, timeout)
        self._thread = _InsideThread(f"inside-{self.name}", self._pid1)
        poll.until(f"{self.name} is up", self._up, timeout, every=0.05)

    def reboot(self) -> None:
        """`systemctl reboot`, and the next boot."""
        self._down(lambda: self.run(["systemctl", "reboot"], check=False), NSPAWN_REBOOT)
        self.boot()

    def power_cycle(self) -> None:
        """The machine loses its power and gets it back."""
        self.power_off()
        self.boot()

    def power_off(self) -> None:
        """No program in it learns of it; files stay."""
        if self._nspawn is not None:
            self._down(self._kill, None)

    def _down(self, trigger: typing.Callable[[], object], status: int | None) -> None:
        nspawn = self._nspawn
        assert nspawn is not None, f"{self.name} isn't on"
        trigger()

        def ended() -> bool:
            # PID 1's end waits until we have reaped what we started in there
            self._processes = [p for p in self._processes if p.poll() is None]
            return nspawn.poll() is not None

        try:
            poll.until(f"{self.name} is down", ended, DOWN_TIMEOUT)
        finally:
            if nspawn.poll() is None:
                self._kill()
                poll.until(f"{self.name} is dead", ended, DOWN_TIMEOUT)
            self._disconnect()
        assert status is None or nspawn.returncode == status, f"systemd-nspawn ended with {nspawn.returncode}"

    def _kill(self) -> None:
        for process in self._processes:
            if process.poll() is None:
                process.kill()
        try:
            # of the PID that we found ourselves, which is nspawn's child and so not reused before nspawn ends
            os.kill(self._pid1 or self._nspawn.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass

    def _disconnect(self) -> None:
        for process in self._processes:
            process.wait(STOP_TIMEOUT)
        self._processes = []
        self._nspawn, self._pid1 = None, 0
        if self._thread is not None:
            self._thread.close()
            self._thread = None
        if self._network is not None:
            self._network.close()
            self._network = None

    def close(self) -> None:
        """Ends the machine and forgets its files. May be called twice."""
        try:
            self.power_off()
        finally:
            self._disconnect()
            self._outside.close()
            self._watcher.kill()
            self._watcher.wait(STOP_TIMEOUT)
            self._watcher.stdin.close()
            _remove_cgroup(self._cgroup)

    def _connect(self) -> None:
        self._network = ns.NamespaceThread(f"net-{self.name}", ns.NEWNET)
        self._network_tid = self._network.call(threading.get_native_id)

        self._run_in_network(["ip", "link", "set", "lo", "up"])
        self._lab.connect(self.name, self._network_tid, self._run_in_network, self._address, self._address6)

    def _run_in_network(self, argv: Argv, input: str | None = None) -> None:
        self._network.call(subprocess.run, argv, input=input, text=True, check=True, timeout=10)

    def sysctl(self, setting: str) -> None:
        """Of this boot; in the container /proc/sys is read-only."""
        self._run_in_network(["sysctl", "-qw", setting])

    def _nspawn_command(self) -> list[str]:
        binds = [f"--bind-ro={layout.REPO}:{layout.REPO_IN_HOST}", f"--bind={self.log_dir}:{LOGS}"]
        enter = 'echo $$ >"$0/cgroup.procs"; exec "$@"'
        return [
            *("setpriv", "--pdeathsig", "KILL", "sh", "-c", enter, str(self._cgroup)),
            *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--link-journal=no"),
            *("--resolv-conf=off", "--timezone=off", "--console=read-only"),
            *("-D", str(self.root), "-M", f"{self.name}-{os.getpid()}", f"--hostname={self.name}"),
            f"--network-namespace-path=/proc/{os.getpid()}/task/{self._network_tid}/ns/net",
            *(f"--capability={CAPABILITIES}", *binds, "--boot"),
        ]

    def _find_pid1(self) -> int:
        assert self._nspawn is not None
        if self._nspawn.poll() is not None:
            last = (self.log_dir / f"console-{self.boots}.log").read_text(errors="replace").strip().splitlines()[-2:]
            raise poll.Hopeless(f"systemd-nspawn ended with {self._nspawn.returncode}: {' / '.join(last)}")
        for pid in _children(self._nspawn.pid):
            status = dict(line.split(":\t", 1) for line in _lines(f"/proc/{pid}/status") if ":\t" in line)
            if status.get("NSpid", "").split()[1:] == ["1"] and status["Name"] == "systemd":
                return pid
        return 0

    def _up(self) -> bool:
        done = self.run(["systemctl", "is-system-running"], check=False, timeout=5)
        return done.stdout.strip() in ("running", "degraded")

    # -- the system --------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The machine's PID 1, as this machine numbers it."""
        return self._pid1

    def systemctl(self, *arguments: str, check: bool = True, timeout: float = 30) -> str:
        return self.run(["systemctl", *arguments], check=check, timeout=timeout).stdout.strip()

    def unit(self, name: str) -> dict[str, str]:
        """All properties of a unit, as `systemctl show` prints them."""
        return dict(line.partition("=")[::2] for line in self.systemctl("show", name).splitlines())

    def outer_pid(self, pid: int) -> int:
        """What this process here calls a process of the machine."""
        same = os.readlink(f"/proc/{self._pid1}/ns/pid")
        for status in pathlib.Path("/proc").glob("[0-9]*/status"):
            with contextlib.suppress(OSError):
                numbers = next(line.split()[1:] for line in _lines(str(status)) if line.startswith("NSpid:"))
                if numbers[-1] == str(pid) and os.readlink(status.parent / "ns" / "pid") == same:
                    return int(numbers[0])
        raise HostError(f"{self.name} has no process {pid}")

    def journal(self, *units: str, options: typing.Sequence[str] = ()) -> str:
        """Of this boot; all units if none is named."""
        which = [word for unit in units for word in ("-u", unit)]
        return self.run(["journalctl", "-b", "--no-pager", "-q", "-o", "short-precise", *which, *options]).stdout

    def install(self, *debs: pathlib.Path, check: bool = True) -> subprocess.CompletedProcess:
        """dpkg -i, as somebody does who was given the file. What it depends on is in the image already."""
        names = []
        for deb in debs:
            shutil.copy(deb, self.log_dir / deb.name)
            names.append(f"{LOGS}/{deb.name}")
        try:
            return self.dpkg("--install", *names, check=check)
        finally:
            for deb in debs:
                (self.log_dir / deb.name).unlink()

    def dpkg(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
        return self.run(["dpkg", *arguments], timeout=60, check=check, env={"DEBIAN_FRONTEND": "noninteractive"})

    def beside(self, name: str) -> Host:
        """A host of the lab in this boot's network, with files of its own: for programs that the image has no libraries
        of. Interception sees no difference."""
        host = Host(name, self._lab.log_dir / name)
        self._lab.hosts[name] = host
        descriptor = os.open(f"/proc/{self._pid1}/ns/net", os.O_RDONLY)
        try:
            host.call(ns.enter, descriptor)
        finally:
            os.close(descriptor)
        return host

    def keep_state(self) -> None:
        """Copies what a failure's reader wants into log_dir: the journal of all boots, and Hawser's state."""
        upper = self._directory / "upper"
        if (journal := upper / "var/log/journal").exists():
            argv = ["journalctl", "-D", str(journal), "--no-pager", "-o", "short-precise"]
            with open(self.log_dir / "journal.log", "wb") as file:
                subprocess.run(argv, stdout=file, stderr=subprocess.STDOUT, timeout=30, check=False)
        for path in ("var/lib/hawser", "etc/hawser"):
            if (upper / path).exists():  # a copied Envoy would be the most of it
                ignore = shutil.ignore_patterns("bin", "*.key", "*key.pem")
                shutil.copytree(upper / path, self.log_dir / path, ignore=ignore, symlinks=True, dirs_exist_ok=True)

    def install_offline(self, deb: pathlib.Path) -> subprocess.CompletedProcess:
        """As an image builder does: dpkg -i in a chroot, while the machine is off."""
        assert self._nspawn is None, f"{self.name} is on"

        def work() -> subprocess.CompletedProcess:
            shutil.copy(deb, self.root / deb.name)
            argv = ["chroot", str(self.root), "dpkg", "--install", f"/{deb.name}"]
            try:
                return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
            finally:
                (self.root / deb.name).unlink()

        return self._outside.call(work)

    def popen(self, argv: Argv, **kwargs: typing.Any) -> subprocess.Popen:
        if self._thread is None:
            raise HostError(f"{self.name} is off: {' '.join(map(os.fspath, argv))}")
        return super().popen(argv, **kwargs)

    def call(self, function: typing.Callable[..., ns.T], *args: typing.Any, **kwargs: typing.Any) -> ns.T:
        if self._thread is None:
            raise HostError(f"{self.name} is off")
        return super().call(function, *args, **kwargs)


class _InsideThread(ns.NamespaceThread):
    """As its base, but in the namespaces that a process has already."""

    def __init__(self, name: str, pid: int) -> None:
        super().__init__(name, 0)
        self.call(self._join, pid)

    @staticmethod
    def _enter(flags: int) -> None:
        """Nothing new is made."""

    @staticmethod
    def _join(pid: int) -> None:
        root = os.open(f"/proc/{pid}/root", os.O_PATH | os.O_DIRECTORY)
        names = ("mnt", "uts", "ipc", "net", "cgroup", "pid")
        opened = [os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY) for name in names]
        ns._check(_libc.unshare(_CLONE_FS), "unshare")  # a root and working directory of its own
        for descriptor in opened:
            ns.enter(descriptor)
            os.close(descriptor)
        os.fchdir(root)
        os.chroot(".")
        os.close(root)


def _cgroup2() -> pathlib.Path:
    for line in _lines("/proc/self/mounts"):
        _, target, kind, *_ = line.split()
        if kind == "cgroup2":
            return pathlib.Path(target)
    raise HostError("no cgroup2 is mounted: systemd can't run without one")


def _cgroup_named(path: pathlib.Path) -> list[pathlib.Path]:
    """The same folder in systemd's own hierarchy, where there is one: nspawn makes it there as well."""
    mounts = (line.split() for line in _lines("/proc/self/mounts"))
    return [pathlib.Path(each[1]) / path.name for each in mounts if each[2] == "cgroup" and "name=systemd" in each[3]]


def memory_is_limited() -> bool:
    """Can systemd limit memory in a machine? Not where the first hierarchy has that controller."""
    return "memory" in (_cgroup2() / "cgroup.subtree_control").read_text().split()


def _make_cgroup(name: str) -> pathlib.Path:
    """Of its own, since nspawn makes two folders with fixed names where it stands."""
    pattern = _cgroup2() / f"{_CGROUP_PREFIX}*"
    for old in [each for place in (pattern, *_cgroup_named(pattern)) for each in place.parent.glob(place.name)]:
        pid = old.name.removeprefix(_CGROUP_PREFIX).partition("-")[0]
        if not os.path.exists(f"/proc/{pid}"):  # its owner was killed
            _remove_cgroup(old)
    path = _cgroup2() / f"{_CGROUP_PREFIX}{os.getpid()}-{name}-{secrets.token_hex(4)}"
    path.mkdir()
    return path


def _remove_cgroup(path: pathlib.Path) -> None:
    """It is empty a moment after its last process ended. If it stays, the next run removes it."""
    for place in (path, *_cgroup_named(path)):
        for folder, _, _ in os.walk(place, topdown=False):
            with contextlib.suppress(AssertionError):
                poll.until("the cgroup is empty", lambda f=folder: os.rmdir(f) is None, 2)


def _children(pid: int) -> list[int]:
    return [int(child) for line in _lines(f"/proc/{pid}/task/{pid}/children") for child in line.split()]


def _lines(path: str) -> list[str]:
    try:
        return pathlib.Path(path).read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return []
