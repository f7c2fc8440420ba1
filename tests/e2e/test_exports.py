# SPDX-License-Identifier: Apache-2.0
"""The identity as files for programs that know of no mesh: one set at a time, whoever reads when."""

from __future__ import annotations

import os
import subprocess

import pytest
from cryptography import x509

from lab import facts, poll, steps

pytestmark = pytest.mark.incremental
FOLDER = "/run/exported"
READER = facts.GID_ADMIN  # a group that hawserd isn't in
CONFIG = f"exports:\n- {{to: {FOLDER}, layout: istio, group: '{READER}'}}\n"


def item(world) -> dict | None:
    return next((item for item in world.vm.status()["items"] if item["name"] == "exports"), None)


def serial_in(world, name: str) -> int:
    return x509.load_pem_x509_certificate(world.host.read(f"{FOLDER}/{name}").encode()).serial_number


def test_a_folder_that_is_not_there_is_named_and_holds_nothing_up(world):
    world.host.write("/etc/hawser/conf.d/60-exports.yaml", CONFIG)
    world.host.mkdir("/run", 0o755)
    steps.join(world)
    told = poll.until("status names the folder", lambda: item(world), 10)
    assert told["state"] == "degraded" and told["id"] == "HWS-XP-001" and FOLDER in told["detail"], told


def test_it_is_written_when_the_folder_comes(world):
    world.host.mkdir(FOLDER, 0o2755, facts.UID_AGENT, READER)
    poll.until("the export is tried again", lambda: item(world)["state"] == "ok", 30)
    assert serial_in(world, "cert-chain.pem") == int(world.vm.cert()["serial"], 16)
    info = world.host.call(os.stat, f"{FOLDER}/key.pem")
    assert (info.st_mode & 0o7777, info.st_uid, info.st_gid) == (0o640, facts.UID_AGENT, READER)


# Opens the set once, and has openssl say whether key and certificate are a pair; again where it was taken away meanwhile.
PAIR = f"""
for _ in 1 2 3 4 5; do
  cd -P {FOLDER}/..data || continue
  key=$(openssl pkey -in key.pem -pubout 2>/dev/null) && leaf=$(openssl x509 -in cert-chain.pem -noout -pubkey 2>/dev/null) &&
    openssl verify -CAfile root-cert.pem -untrusted cert-chain.pem cert-chain.pem >/dev/null 2>&1 || continue
  [ "$key" = "$leaf" ] && exit 0 || exit 1
done
exit 2
"""


def test_openssl_never_reads_half_of_two_sets(world):
    begun = world.vm.cert()["serial"]
    for _ in range(5):
        renewing = world.host.popen([world.host.run(["sh", "-c", "command -v hawser"]).stdout.strip(), "cert", "renew"])
        while True:
            done = world.host.run(["sh", "-c", PAIR], check=False)
            assert done.returncode == 0, done
            if renewing.poll() is not None:
                break
        assert renewing.returncode == 0
    assert world.vm.cert()["serial"] != begun
    poll.until(
        "the newest is exported", lambda: serial_in(world, "cert-chain.pem") == int(world.vm.cert()["serial"], 16), 5
    )


def test_openssl_serves_and_calls_with_it(world):
    """s_server and s_client, unmodified, both with the exported files, each verifying the other."""
    files = ["-cert", f"{FOLDER}/cert-chain.pem", "-key", f"{FOLDER}/key.pem", "-CAfile", f"{FOLDER}/root-cert.pem"]
    server = world.host.popen(
        ["openssl", "s_server", "-accept", "127.0.0.1:9900", *files, "-Verify", "2", "-verify_return_error", "-www"],
        log="s_server.log",
    )
    try:
        poll.until("s_server listens", lambda: world.host.tcp("127.0.0.1", 9900), 10)
        done = world.host.run(
            ["openssl", "s_client", "-connect", "127.0.0.1:9900", *files, "-verify_return_error", "-brief"],
            input="Q\n",
            check=False,
        )
        assert "Verification: OK" in done.stderr + done.stdout, done
    finally:
        server.send_signal(9)
        server.wait(5)
    assert isinstance(server, subprocess.Popen)


def test_by_hand_as_root_and_as_nobody_else(world):
    done = world.vm.cli("cert", "export", "--to", "/run/by-hand", "--layout", "pem", "--owner", str(facts.UID_APP))
    assert done.stdout.split() == [f"/run/by-hand/{name}" for name in ("key.pem", "cert.pem", "chain.pem", "ca.pem")]
    info = world.host.call(os.stat, "/run/by-hand/key.pem")
    assert (info.st_mode & 0o7777, info.st_uid) == (0o600, facts.UID_APP)
    denied = world.vm.cli("cert", "export", "--to", "/tmp/never", check=False, uid=facts.UID_APP, gid=facts.GID_APP)
    assert denied.returncode == 77 and "HWS-XP-004" in denied.stderr, denied
    assert len(denied.stderr.strip().splitlines()) == 1


def test_what_is_not_ours_is_never_replaced(world):
    world.host.mkdir("/run/theirs")
    world.host.write("/run/theirs/key.pem", "theirs")
    done = world.vm.cli("cert", "export", "--to", "/run/theirs", check=False)
    assert "HWS-XP-003" in done.stderr and world.host.read("/run/theirs/key.pem") == "theirs", done


def test_leaving_takes_them_away(world):
    world.vm.leave()
    assert world.host.run(["ls", "-A", FOLDER]).stdout == ""
