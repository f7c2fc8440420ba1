# SPDX-License-Identifier: Apache-2.0
"""What a host's file tree looks like: the machine's, with its own /run, /etc, /var/lib and /dev/shm.

/etc/hawser and /var/lib/hawser need a place to be mounted on, and nothing may be made on the machine for it. So
/etc and /var/lib are small tmpfs whose entries are links to the machine's, and the host's own files lie beside them.
"""

from __future__ import annotations

import os
import pathlib

from lab import namespaces as ns

REPO = pathlib.Path(__file__).resolve().parents[2]
LAB_DIR = "/run/lab"  # what the lab itself needs in a host; no part of what a test compares
REPO_IN_HOST = f"{LAB_DIR}/repo"  # reachable for every uid, even if the clone lies in /root
BIN_IN_HOST = f"{LAB_DIR}/bin"
PYTHON = "/usr/bin/python3"  # for what runs as an ordinary uid and needs the standard library only

HOSTS = "127.0.0.1 localhost\n::1 localhost ip6-localhost\n"
RESOLV_CONF = "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n"  # nobody listens there: an answer at once


def bin_dir() -> pathlib.Path:
    """Where the C++ programs are."""
    return pathlib.Path(os.environ.get("HAWSER_BIN") or REPO / "build" / "dev" / "bin")


def in_host(path: str | os.PathLike) -> str:
    """A path of the repository as every uid in a host can reach it; other paths as they are."""
    path = pathlib.Path(os.path.abspath(path))
    return f"{REPO_IN_HOST}/{path.relative_to(REPO)}" if path.is_relative_to(REPO) else str(path)


def make() -> None:
    """Runs in a thread with a mount namespace of its own (NamespaceThread)."""
    sources = {REPO_IN_HOST: REPO, BIN_IN_HOST: bin_dir(), f"{LAB_DIR}/etc": "/etc", f"{LAB_DIR}/var-lib": "/var/lib"}
    # opened first: each stays reachable by its descriptor when a tmpfs covers its path
    opened = {target: os.open(source, os.O_PATH) for target, source in sources.items() if os.path.isdir(source)}
    ns.tmpfs("/run")
    ns.tmpfs("/dev/shm", 0o1777)
    for target, descriptor in opened.items():
        ns.bind(f"/proc/self/fd/{descriptor}", target)
        os.close(descriptor)
    _links("/etc", f"{LAB_DIR}/etc", own={"hawser", "hosts", "resolv.conf"})
    _links("/var/lib", f"{LAB_DIR}/var-lib", own={"hawser"})
    ns.tmpfs("/etc/hawser")
    ns.tmpfs("/var/lib/hawser")
    pathlib.Path("/etc/hosts").write_text(HOSTS, encoding="ascii")
    pathlib.Path("/etc/resolv.conf").write_text(RESOLV_CONF, encoding="ascii")


def _links(directory: str, original: str, own: set[str]) -> None:
    ns.tmpfs(directory)
    for entry in os.scandir(original):
        if entry.name in own:
            continue
        # a relative link is relative to its own folder, so it is copied
        target = os.readlink(entry.path) if entry.is_symlink() else entry.path
        os.symlink(target, f"{directory}/{entry.name}")
