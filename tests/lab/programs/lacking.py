# SPDX-License-Identifier: Apache-2.0
"""Runs a program on a kernel that seems to lack something: lacking.py WHAT[,WHAT…] PROGRAM [ARGUMENT…].

A filter of system calls (seccomp(2)) has the kernel refuse exactly those calls, with the error that it has where the
module isn't there, or where memory is short. Everything else is as it was, also for what the program starts.
"""

import ctypes
import errno
import os
import platform
import struct
import sys

AF_NETLINK, NETLINK_NETFILTER = 16, 12
NETLINK_ROUTE = 0
IPPROTO_IP, IPPROTO_IPV6 = 0, 41
SOL_SOCKET, SO_SNDBUF, SO_SNDBUFFORCE = 1, 7, 32
# (AUDIT_ARCH, socket, setsockopt, getsockopt): linux/audit.h, asm/unistd.h
ARCHITECTURES = {"x86_64": (0xC000003E, 41, 54, 55), "aarch64": (0xC00000B7, 198, 208, 209)}
ARCHITECTURE, SOCKET, SETSOCKOPT, GETSOCKOPT = ARCHITECTURES[platform.machine()]


def option(call: int, ipv4: int, ipv6: int, error: int) -> list:
    """Of a table's socket: linux/netfilter_ipv4/ip_tables.h, netfilter_ipv6/ip6_tables.h."""
    return [(call, {1: IPPROTO_IP, 2: ipv4}, error), (call, {1: IPPROTO_IPV6, 2: ipv6}, error)]


LACKING = {
    "nf_tables": [(SOCKET, {0: AF_NETLINK, 2: NETLINK_NETFILTER}, errno.EPROTONOSUPPORT)],
    "ip_tables": option(GETSOCKOPT, 64, 64, errno.ENOPROTOOPT) + option(GETSOCKOPT, 67, 69, errno.ENOPROTOOPT),
    "xt_matches": option(GETSOCKOPT, 66, 68, errno.ENOENT),
    "xt_memory": option(SETSOCKOPT, 64, 64, errno.ENOMEM),
    "xt_consent": option(SETSOCKOPT, 64, 64, errno.EINVAL),
    "xt_peace": option(SETSOCKOPT, 64, 64, errno.EAGAIN),  # a table that isn't the one that was read
    # A container, whose sockets may not have more than net.core.wmem_default.
    "large_buffers": [(SETSOCKOPT, {1: SOL_SOCKET, 2: name}, errno.EPERM) for name in (SO_SNDBUF, SO_SNDBUFFORCE)],
    "rtnetlink": [(SOCKET, {0: AF_NETLINK, 2: NETLINK_ROUTE}, errno.EACCES)],
}

LOAD, EQUAL, RETURN = 0x20, 0x15, 0x06  # linux/bpf_common.h: LD|W|ABS, JMP|JEQ|K, RET|K
ALLOW, ERRNO = 0x7FFF0000, 0x00050000  # linux/seccomp.h
NUMBER_AT, ARCH_AT, ARGUMENTS_AT = 0, 4, 16  # struct seccomp_data; the lower half of an argument comes first
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, MODE_FILTER = 38, 22, 2


def filter_of(rules: list) -> bytes:
    code = [(LOAD, 0, 0, ARCH_AT), (EQUAL, 1, 0, ARCHITECTURE), (RETURN, 0, 0, ALLOW)]
    for call, arguments, error in rules:
        tests = [(NUMBER_AT, call), *((ARGUMENTS_AT + 8 * index, value) for index, value in arguments.items())]
        for i, (at, value) in enumerate(tests):
            # what isn't equal goes on behind this rule
            code += [(LOAD, 0, 0, at), (EQUAL, 0, 2 * (len(tests) - i) - 1, value)]
        code.append((RETURN, 0, 0, ERRNO | error))
    code.append((RETURN, 0, 0, ALLOW))
    return b"".join(struct.pack("HBBI", *one) for one in code)


def install(code: bytes) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    held = ctypes.create_string_buffer(code, len(code))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(held)))
    numbers = (ctypes.c_ulong, ctypes.c_ulong, ctypes.c_ulong)
    libc.prctl.argtypes = [ctypes.c_int, ctypes.c_ulong, ctypes.c_void_p, *numbers[1:]]
    for what in ((PR_SET_NO_NEW_PRIVS, 1, None, 0, 0), (PR_SET_SECCOMP, MODE_FILTER, ctypes.addressof(program), 0, 0)):
        if libc.prctl(*what) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


install(filter_of([rule for what in sys.argv[1].split(",") for rule in LACKING[what]]))
os.execvp(sys.argv[2], sys.argv[2:])
