# SPDX-License-Identifier: Apache-2.0
"""A thread that lives in namespaces of its own: what it opens, mounts and starts is there and nowhere else.

Namespaces belong to the thread and to the processes it starts, never to a file, so nothing has to be deleted:
when the last of them ends (whatever ended it), the kernel removes namespaces, interfaces, rules and mounts.
"""

from __future__ import annotations

import concurrent.futures
import ctypes
import os
import typing

NEWNS, NEWPID, NEWNET = 0x00020000, 0x20000000, 0x40000000

MS_NOSUID, MS_NODEV, MS_REC, MS_BIND, MS_PRIVATE = 0x2, 0x4, 0x4000, 0x1000, 0x40000

_libc = ctypes.CDLL(None, use_errno=True)
_libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]

T = typing.TypeVar("T")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def mount(source: str, target: str, fstype: str = "", flags: int = 0, options: str = "") -> None:
    """mount(2) in the calling thread's mount namespace."""
    result = _libc.mount(os.fsencode(source), os.fsencode(target), fstype.encode(), flags, options.encode())
    _check(result, f"mount {source} on {target}")


def bind(source: str, target: str) -> None:
    os.makedirs(target, exist_ok=True)
    mount(source, target, flags=MS_BIND | MS_REC)


def tmpfs(target: str, mode: int = 0o755) -> None:
    os.makedirs(target, exist_ok=True)
    mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV, f"mode={mode:o}")


def enter(descriptor: int) -> None:
    """setns(2): the calling thread, and what it starts from now on, is in that namespace."""
    _check(_libc.setns(descriptor, 0), "setns")


class NamespaceThread:
    """Runs functions in new namespaces, one after the other; processes that they start are children of this process."""

    def __init__(self, name: str, flags: int) -> None:
        # A worker of the executor stays for good, so the namespaces stay until close().
        self._pool = concurrent.futures.ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self.call(self._enter, flags)

    @staticmethod
    def _enter(flags: int) -> None:
        # NEWNS gives this thread its own root and working directory too (the kernel implies CLONE_FS); NEWPID is
        # for the processes that it starts: the first of them becomes the init of the PID namespace.
        _check(_libc.unshare(flags), "unshare (root with CAP_SYS_ADMIN is needed)")
        if flags & NEWNS:
            mount("none", "/", flags=MS_REC | MS_PRIVATE)  # what is mounted here doesn't reach the machine

    def call(self, function: typing.Callable[..., T], *args: typing.Any, **kwargs: typing.Any) -> T:
        return self._pool.submit(function, *args, **kwargs).result()

    def close(self) -> None:
        self._pool.shutdown(wait=True)
