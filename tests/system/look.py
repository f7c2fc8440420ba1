# SPDX-License-Identifier: Apache-2.0
"""Prints as JSON what a package may leave in a system: files, users, groups, units. Standard library only; run as root.

Network and sockets are lab/programs/snapshot.py's part. Left out is what a system changes by itself as time goes by.
"""

import grp
import hashlib
import json
import os
import pwd
import stat
import subprocess

# The rest of /run belongs to systemd; /run/xtables.lock is also made by the first iptables that runs, and stays.
OTHER_TREES = ("/run/hawser", "/dev/shm")
SKIP = {
    "/proc", "/sys", "/dev", "/run", "/tmp", "/var/tmp", "/var/log", "/var/cache",
    "/var/lib/dpkg",  # its list of packages is a section of its own
    "/var/lib/systemd/timers", "/var/lib/systemd/random-seed", "/var/lib/systemd/timesync", "/var/lib/systemd/linger",
    "/var/lib/systemd/catalog", "/var/lib/systemd/credential.secret", "/var/lib/systemd/deb-systemd-helper-enabled",
    "/var/lib/systemd/deb-systemd-helper-masked", "/var/lib/systemd/deb-systemd-user-helper-enabled",
    # copies that every change of users leaves, and its lock
    "/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-", "/etc/subuid-", "/etc/subgid-", "/etc/.pwd.lock",
}  # fmt: skip
HASH_LIMIT = 1 << 20


def output(*argv):
    return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True).stdout


def describe(path):
    info = os.lstat(path)
    line = f"{path} {stat.filemode(info.st_mode)} {info.st_uid}:{info.st_gid}"
    if stat.S_ISLNK(info.st_mode):
        return f"{line} -> {os.readlink(path)}"
    if stat.S_ISREG(info.st_mode):
        if info.st_size > HASH_LIMIT or path.startswith("/usr/"):
            return f"{line} {info.st_size} bytes"
        with open(path, "rb") as file:
            return f"{line} sha256 {hashlib.sha256(file.read()).hexdigest()[:16]}"
    return line


def walk(tree):
    for folder, folders, names in os.walk(tree):
        folders[:] = [name for name in folders if os.path.join(folder, name) not in SKIP]
        for name in [*folders, *names]:
            path = os.path.join(folder, name)
            if path not in SKIP:
                yield describe(path)


def files():
    lines = list(walk("/"))
    for path in OTHER_TREES:
        if os.path.lexists(path):
            lines += [describe(path), *walk(path)]
    # what deb-systemd-helper notes; the folders themselves stay, empty, after any package with units
    for folder, _, names in os.walk("/var/lib/systemd"):
        if "deb-systemd" in folder:
            lines += [describe(os.path.join(folder, name)) for name in names]
    return sorted(lines)


def units():
    listed = output("systemctl", "list-unit-files", "--no-legend", "--no-pager").splitlines()
    return sorted(" ".join(line.split()[:2]) for line in listed)


print(
    json.dumps(
        {
            "files": files(),
            "users": [":".join(map(str, user)) for user in pwd.getpwall()],
            "groups": [f"{g.gr_name}:{g.gr_gid}:{','.join(g.gr_mem)}" for g in grp.getgrall()],
            "units": units(),
            "packages": output("dpkg-query", "-W", "-f", "${Package} ${Version} ${Status}\\n").splitlines(),
        }
    )
)
