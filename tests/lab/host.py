# SPDX-License-Identifier: Apache-2.0
"""A host as network, mount and PID namespaces. Lab (lab/network.py) makes several and connects them."""

from __future__ import annotations

import os
import pathlib
import signal
import socket
import subprocess
import typing

from lab import layout
from lab import namespaces as ns

PATH = f"{layout.BIN_IN_HOST}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
OTHER_LOG = "other.log"
STOP_TIMEOUT = 5.0

Argv = typing.Sequence[typing.Union[str, os.PathLike]]


class HostError(RuntimeError):
    """A command in a host failed; the text has the command, its status and its output."""


class Host:
    """Everything started here dies with the host, and the host dies with the process that made it."""

    def __init__(self, name: str, log_dir: pathlib.Path) -> None:
        self.name = name
        self.log_dir = log_dir
        self.log_dir.mkdir(parents=True, exist_ok=True)
        self._processes: list[subprocess.Popen] = []
        self._thread = ns.NamespaceThread(f"host-{name}", ns.NEWNS | ns.NEWPID | ns.NEWNET)
        self._init: subprocess.Popen | None = None
        try:
            self.call(layout.make)
            self._start_init()
            self.run(["ip", "link", "set", "lo", "up"])
        except BaseException:
            self.close()
            raise

    def _start_init(self) -> None:
        # PID 1 of the host: it ends (and with it all the host's processes) when its standard input closes, which the
        # kernel does for us however this process ends. With SIGCHLD ignored (a trap of dash doesn't survive exec) the
        # kernel reaps orphans.
        script = "mount -t proc proc /proc && echo up && exec env --ignore-signal=CHLD cat >/dev/null"
        with open(self.log_dir / OTHER_LOG, "ab") as log:
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": log}
            argv = ["sh", "-c", script]
            self._init = self.call(subprocess.Popen, argv, env={"PATH": PATH}, start_new_session=True, **pipes)
        if self._init.stdout.readline() != b"up\n":
            reason = (self.log_dir / OTHER_LOG).read_text().strip()
            raise HostError(f"host {self.name}: its init process didn't start: {reason}")
        self._init.stdout.close()

    @property
    def pid(self) -> int:
        """The host's init, as the machine numbers it: for nsenter and for `ip link set … netns`."""
        assert self._init is not None
        return self._init.pid

    def call(self, function: typing.Callable[..., ns.T], *args: typing.Any, **kwargs: typing.Any) -> ns.T:
        """Runs a short function in the host's network and mount namespaces (a socket made there stays there)."""
        return self._thread.call(function, *args, **kwargs)

    # -- processes ---------------------------------------------------------------------------------------------

    def popen(
        self,
        argv: Argv,
        *,
        uid: int | None = None,
        gid: int | None = None,
        groups: typing.Sequence[int] | None = None,
        env: dict[str, str] | None = None,
        log: str | os.PathLike | None = None,
        cwd: str | os.PathLike | None = None,
        caps: typing.Sequence[str] | None = None,
        no_new_privs: bool = False,
        **kwargs: typing.Any,
    ) -> subprocess.Popen:
        """Starts a program in the host; `caps` is the capability bounding set.

        Its output goes to the file `log` in log_dir, or where `stdout` and `stderr` say: never to our own, which a
        program that outlives a reader of it would keep open.
        """
        argv = [*_setpriv(uid, gid, groups, caps, no_new_privs), *(os.fspath(a) for a in argv)]
        environment = {"PATH": PATH, "LANG": "C.UTF-8", "HOME": "/", "PYTHONDONTWRITEBYTECODE": "1", **(env or {})}
        kwargs.setdefault("stdin", subprocess.DEVNULL)
        with open(self.log_dir / (log or OTHER_LOG), "ab") as output:
            kwargs.setdefault("stdout", output)
            kwargs.setdefault("stderr", output)
            process = self.call(
                subprocess.Popen, argv, env=environment, cwd=cwd or "/", start_new_session=True, **kwargs
            )
        self._processes = [p for p in self._processes if p.poll() is None] + [process]
        return process

    def run(
        self, argv: Argv, *, timeout: float = 10, check: bool = True, input: str | None = None, **kwargs: typing.Any
    ) -> subprocess.CompletedProcess:
        """Runs a program to its end, with its output as text."""
        pipes = {"stdin": subprocess.PIPE} if input is not None else {}
        process = self.popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **pipes, **kwargs)
        command = " ".join(os.fspath(a) for a in argv)
        try:
            out, err = process.communicate(input, timeout=timeout)
        except subprocess.TimeoutExpired:
            signal_group(process, signal.SIGKILL)
            out, err = process.communicate()
            raise HostError(f"{self.name}: `{command}` didn't end in {timeout:g} s: {(out + err).strip()}") from None
        if check and process.returncode != 0:
            raise HostError(f"{self.name}: `{command}` ended with {process.returncode}: {(err or out).strip()}")
        return subprocess.CompletedProcess(list(argv), process.returncode, out, err)

    def stop(self, process: subprocess.Popen, sig: int = signal.SIGTERM, timeout: float = STOP_TIMEOUT) -> int:
        """Asks a program of this host to end, kills it if it doesn't; its status."""
        if process.poll() is None:
            process.send_signal(sig)
            try:
                process.wait(timeout)
            except subprocess.TimeoutExpired:
                signal_group(process, signal.SIGKILL)
        return process.wait(STOP_TIMEOUT)

    # -- files, as the host sees them --------------------------------------------------------------------------

    def write(self, path: str | os.PathLike, text: str, mode: int = 0o644, uid: int = 0, gid: int = 0) -> None:
        def work() -> None:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                os.fchown(descriptor, uid, gid)
                os.fchmod(descriptor, mode)
                file.write(text)

        self.call(work)

    def read(self, path: str | os.PathLike) -> str:
        return self.call(lambda: pathlib.Path(path).read_text(encoding="utf-8"))

    def exists(self, path: str | os.PathLike) -> bool:
        return self.call(os.path.lexists, path)

    def mkdir(self, path: str, mode: int = 0o755, uid: int = 0, gid: int = 0) -> None:
        def work() -> None:
            os.makedirs(path, exist_ok=True)
            os.chown(path, uid, gid)
            os.chmod(path, mode)  # after chown, which may clear the setgid bit

        self.call(work)

    def add_name(self, address: str, *names: str) -> None:
        """A line more in the host's own /etc/hosts."""
        self.write("/etc/hosts", self.read("/etc/hosts") + f"{address} {' '.join(names)}\n")

    # -- network -----------------------------------------------------------------------------------------------

    def sysctl(self, setting: str) -> None:
        """NAME=VALUE, of the host's network."""
        self.run(["sysctl", "-qw", setting])

    def tcp(self, address: str, port: int) -> bool:
        """Whether a connection from the host to there succeeds."""
        def work() -> bool:
            try:
                socket.create_connection((address, port), timeout=1).close()
            except OSError:
                return False
            return True

        return self.call(work)

    # -- end ---------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Ends every process of the host; with the last one its namespaces, interfaces and mounts are gone."""
        if self._init is not None:
            self._init.kill()  # the kernel kills the whole PID namespace with its init
            for process in self._processes:  # init's own end waits until we have reaped our children in there
                process.wait(STOP_TIMEOUT)
            self._init.stdin.close()
            self._init.wait(STOP_TIMEOUT)
            self._init = None
        self._thread.close()


def signal_group(process: subprocess.Popen, sig: int) -> None:
    """Every program that popen() starts leads a process group."""
    try:
        os.killpg(process.pid, sig)
    except ProcessLookupError:
        pass


def _setpriv(uid, gid, groups, caps, no_new_privs) -> list[str]:
    options: list[str] = []
    if uid is not None:
        options += ["--reuid", str(uid)]
    if gid is not None or uid is not None:
        options += ["--regid", str(gid if gid is not None else uid)]
        options += ["--groups", ",".join(map(str, groups))] if groups else ["--clear-groups"]
    if caps is not None:
        options += ["--bounding-set", ",".join(["-all", *(f"+{c}" for c in caps)]), "--inh-caps", "-all"]
    if no_new_privs:
        options += ["--no-new-privs"]
    return ["setpriv", *options, "--"] if options else []
