# SPDX-License-Identifier: Apache-2.0
"""Prints as JSON all that a join changes in a host and a leave must restore. Standard library only; run as root.

Each section is a list of lines, with what differs between two looks at the same state (handles, times) left out.
"""

import hashlib
import json
import os
import shutil
import stat
import subprocess
import sys

TREES = ("/run", "/etc/hawser", "/var/lib/hawser", "/dev/shm")
FILES = ("/etc/hosts", "/etc/resolv.conf")
HASH_LIMIT = 1 << 20  # larger files (an Envoy) are told by their size


def output(*argv):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=10)
    if done.returncode != 0:
        sys.exit(f"{' '.join(argv)}: {done.stderr.strip()}")
    return done.stdout


def without(tree, keys):
    if isinstance(tree, dict):
        return {key: without(value, keys) for key, value in tree.items() if key not in keys}
    return [without(each, keys) for each in tree] if isinstance(tree, list) else tree


def nftables():
    items = without(json.loads(output("nft", "-j", "list", "ruleset")), {"handle"})["nftables"]
    return [json.dumps(item, sort_keys=True) for item in items if "metainfo" not in item]


def xtables():
    lines = []
    for family in ("ip", "ip6"):
        # iptables-legacy-save would load tables only by looking; this file lists those that are there
        try:
            with open(f"/proc/net/{family}_tables_names") as names:
                lines += [f"{family} legacy {name.strip()}" for name in names]
        except FileNotFoundError:
            pass
        tool = f"{family}tables-nft-save"
        if shutil.which(tool):
            lines += [f"{family} nft {line}" for line in output(tool).splitlines() if not line.startswith("#")]
    return lines


def processes(ours):
    lines = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                command = file.read().replace(b"\0", b" ").decode(errors="replace").strip()
            if int(pid) != ours:
                lines.append(f"uid {os.stat(f'/proc/{pid}').st_uid}: {command or '(zombie)'}")
        except FileNotFoundError:
            pass
    return sorted(lines)


def listening():
    columns = (line.split() for line in output("ss", "-Hlntu").splitlines())
    lines = [f"{c[0]} {c[4]}" for c in columns]
    with open("/proc/net/unix") as table:
        for line in table.readlines()[1:]:
            fields = line.split()
            if int(fields[3], 16) & 0x10000 and len(fields) > 7:  # accepts connections
                lines.append(f"unix {fields[7]}")
    return sorted(lines)


def sysctls():
    lines = []
    for root in ("/proc/sys/net/ipv4", "/proc/sys/net/ipv6"):
        for folder, _, names in os.walk(root):
            for name in names:
                try:
                    with open(f"{folder}/{name}") as file:
                        lines.append(f"{folder[14:]}/{name} = {file.read().strip()}")
                except OSError:
                    pass  # some can be written only, or have no value yet
    return sorted(lines)


def describe(path):
    info = os.lstat(path)
    line = f"{path} {stat.filemode(info.st_mode)} {info.st_uid}:{info.st_gid}"
    if stat.S_ISLNK(info.st_mode):
        return f"{line} -> {os.readlink(path)}"
    if stat.S_ISREG(info.st_mode):
        if info.st_size > HASH_LIMIT:
            return f"{line} {info.st_size} bytes"
        with open(path, "rb") as file:
            return f"{line} sha256 {hashlib.sha256(file.read()).hexdigest()[:16]}"
    return line


def files(skip):
    lines = [describe(path) for path in FILES]
    for tree in TREES:
        for folder, folders, names in os.walk(tree):
            folders[:] = [name for name in folders if f"{folder}/{name}" != skip]
            lines += [describe(f"{folder}/{name}") for name in [*folders, *names]]
    return sorted(lines)


def main():
    sections = {
        "processes": processes(os.getpid()),
        "nftables": nftables(),
        "xtables": xtables(),
        "ip rules": (output("ip", "rule") + output("ip", "-6", "rule")).splitlines(),
        "routes": (
            output("ip", "route", "show", "table", "all") + output("ip", "-6", "route", "show", "table", "all")
        ).splitlines(),
        "addresses": output("ip", "-o", "addr").splitlines(),
        "links": output("ip", "-o", "link").splitlines(),
        "sysctls": sysctls(),
        "listening sockets": listening(),
        "files": files(sys.argv[1]),
    }
    print(json.dumps(sections))


main()
