# SPDX-License-Identifier: Apache-2.0
"""The root folder of a plain Debian 12 with systemd, made once; machine.py boots overlays of it, never itself.

Two layers in .cache/system: `base-<hash>` is the release with PACKAGES; `root-<hash>` adds what the .deb depends on, as
apt chooses it. Both come from the mirror that this machine's own apt uses, and are made again when their list changes.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import typing

from lab import layout

RELEASE = "bookworm"
# what a small cloud image has, and what the tests look with
PACKAGES = (
    "systemd systemd-sysv systemd-resolved dbus libpam-systemd iproute2 nftables iptables procps openssh-server curl "
    "python3 ca-certificates netbase less dnsmasq-base"
).split()
CACHE = layout.REPO / ".cache" / "system"
DEPENDS = ("Pre-Depends", "Depends")
APT = ["apt-get", "-y", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0", "-o", "Acquire::Retries=3"]
DEBOOTSTRAP_TIMEOUT, APT_TIMEOUT = 900, 600

SSHD = """\
# probes of the tests come often, and all from one address
MaxStartups 1000
PermitRootLogin prohibit-password
"""


class ImageError(RuntimeError):
    """The image couldn't be made; the text has the last words of the tool that failed, and where its log is."""


def root_for(deb: pathlib.Path | None) -> pathlib.Path:
    """The image with everything that `deb` needs but itself; None: the release alone."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with _lock(CACHE / "lock"):
        base = _once("base", "\n".join([RELEASE, *PACKAGES, SSHD]), _make_base)
        depends = _depends(deb) if deb else ""
        if not depends:
            return base
        return _once("root", f"{base.name}\n{depends}", lambda root: _add_depends(base, root, depends))


def _once(kind: str, content: str, make: typing.Callable[[pathlib.Path], None]) -> pathlib.Path:
    """CACHE/<kind>-<hash of content>; older ones stay until `./dev clean`, as a test may use them."""
    name = f"{kind}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"
    root, partial = CACHE / name, CACHE / f"{name}.partial"
    if not root.exists():
        shutil.rmtree(partial, ignore_errors=True)
        make(partial)
        partial.rename(root)
    return root


def _make_base(root: pathlib.Path) -> None:
    print(f"making a Debian root ({RELEASE}) in {CACHE}", file=sys.stderr)
    include = ",".join(PACKAGES)
    mirror = _mirror()
    _tool(["debootstrap", "--variant=minbase", f"--include={include}", RELEASE, root, *mirror], DEBOOTSTRAP_TIMEOUT)
    _write(root / "etc/hostname", "vm\n")
    _write(root / "etc/hosts", "127.0.0.1 localhost\n::1 localhost ip6-localhost\n127.0.1.1 vm\n")
    _write(root / "etc/ssh/sshd_config.d/lab.conf", SSHD)
    _write(root / "etc/machine-id", "")  # a first boot makes one, as in a cloud image
    # there for the test that wants it; its package links resolv.conf to it
    _tool(["chroot", root, "systemctl", "disable", "systemd-resolved.service"], 30)
    _write(root / "etc/resolv.conf", "")
    (root / "var/log/journal").mkdir(exist_ok=True)  # the journal outlives a reboot
    # set up by hand here, as an image builder does; nothing waits for time, updates or a console
    for name in ("apt-daily", "apt-daily-upgrade", "dpkg-db-backup", "e2scrub_all", "fstrim"):
        (root / "etc/systemd/system" / f"{name}.timer").symlink_to("/dev/null")


def _add_depends(base: pathlib.Path, root: pathlib.Path, depends: str) -> None:
    subprocess.run(["cp", "-a", "--reflink=auto", base, root], check=True, timeout=120)
    kept = {name: _take(root / name) for name in ("etc/resolv.conf", "etc/apt/sources.list")}
    try:
        # this machine's sources, so that versions are those that the package was built against
        shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
        shutil.rmtree(root / "etc/apt")
        shutil.copytree("/etc/apt", root / "etc/apt", symlinks=True)
        _tool(["chroot", root, *APT, "update"], APT_TIMEOUT)
        # `satisfy` takes a Depends line as it is, with versions and alternatives
        _tool(["chroot", root, *APT, "satisfy", depends], APT_TIMEOUT)
        _tool(["chroot", root, "apt-get", "clean"], APT_TIMEOUT)
    finally:
        for name, content in kept.items():
            _write(root / name, content)
    shutil.rmtree(root / "var/lib/apt/lists", ignore_errors=True)


def _depends(deb: pathlib.Path) -> str:
    fields = [_tool(["dpkg-deb", "--field", deb, field], 30).strip() for field in DEPENDS]
    return ", ".join(field for field in fields if field)


def _mirror() -> list[str]:
    """What this machine's apt has for RELEASE; if it has none, debootstrap knows a default."""
    with contextlib.suppress(ImageError):
        listed = _tool(["apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages"], 30)
        for codename, _, uri in (line.partition(" ") for line in listed.splitlines()):
            if codename == RELEASE and uri:
                return [uri]
    return []


def _tool(argv: typing.Sequence[str | os.PathLike], timeout: float) -> str:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    log = CACHE / f"{os.path.basename(argv[0])}.log"
    done = subprocess.run(
        argv, env=environment, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode != 0:
        log.write_text(done.stdout + done.stderr)
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise ImageError(f"`{' '.join(map(str, argv))}` ended with {done.returncode}: {' '.join(last)} (log: {log})")
    return done.stdout


def _take(path: pathlib.Path) -> str:
    """Reads and removes: a link there mustn't be written through."""
    text = path.read_text() if path.exists() else ""
    path.unlink(missing_ok=True)
    return text


def _write(path: pathlib.Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_text(text)


@contextlib.contextmanager
def _lock(path: pathlib.Path) -> typing.Iterator[None]:
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
