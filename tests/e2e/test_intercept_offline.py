# SPDX-License-Identifier: Apache-2.0
"""`hawser intercept plan` and `explain`: without root, without a daemon, from a file."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import typing

import pytest

from lab import facts, layout

CONFIG = f"""
users: {{agent: {facts.UID_AGENT}, proxy: {facts.UID_PROXY}}}
workload: {{name: app}}
control_plane:
  address: "10.77.0.10:15012"
  root: "-----BEGIN CERTIFICATE-----"
interception:
  inbound: {{ports: [8080, "9000-9100"], exclude: [9050]}}
  outbound: {{exclude_cidrs: [10.9.0.0/16, "fd09::/16"], exclude_ports: [3306]}}
"""


@pytest.fixture(scope="module")
def config() -> typing.Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)  # pytest's own are for their owner alone
        path = f"{folder}/hawser.yaml"
        with open(path, "w", encoding="utf-8") as out:
            out.write(CONFIG)
        yield path


def hawser(*words: str) -> subprocess.CompletedProcess:
    # nobody: a user without any right, and without access to any socket
    nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "--no-new-privs"]
    program = layout.bin_dir() / "hawser"
    return subprocess.run([*nobody, program, *words], capture_output=True, text=True, timeout=20, check=False)


def explain(config: str, *words: str) -> dict:
    done = hawser("intercept", "explain", "--config", config, "--json", *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "words, outcome, port, purpose",
    [
        ("--out --dst 192.0.2.1:80 --uid 1000", "redirected", 15001, "redirect"),
        ("--out --dst [2001:db8::1]:80 --uid 1000", "redirected", 15001, "redirect"),
        ("--out --dst 192.0.2.1:80 --uid 882", "left alone", 0, "exempt_user"),
        ("--out --dst 192.0.2.1:22", "left alone", 0, "ssh"),
        ("--out --dst 169.254.169.254:80", "left alone", 0, "metadata"),
        ("--out --dst 10.77.0.10:15012", "left alone", 0, "control_plane"),
        ("--out --dst 10.9.1.1:80", "left alone", 0, "excluded_cidr"),
        ("--out --dst [fd09::1]:80", "left alone", 0, "excluded_cidr"),
        ("--out --dst 192.0.2.1:3306", "left alone", 0, "excluded_port"),
        ("--out --dst 127.0.0.1:80", "left alone", 0, "loopback"),
        ("--out --proto udp --dst 192.0.2.1:123", "left alone", 0, "not_tcp"),
        ("--out --dst 192.0.2.1:80 --state midstream", "left alone", 0, "midstream"),
        ("--in --src 192.0.2.1:50000 --dst 10.0.0.1:8080 --iface eth0", "redirected", 15006, "redirect"),
        ("--in --src 192.0.2.1:50000 --dst 10.0.0.1:9050", "left alone", 0, "excluded_port"),
        ("--in --src 192.0.2.1:50000 --dst 10.0.0.1:8081", "left alone", 0, None),
        ("--in --forwarded --dst 10.0.0.1:8080", "left alone", 0, "transit"),
    ],
)
def test_it_is_explained_what_happens_and_by_which_rule(config, words, outcome, port, purpose):
    told = explain(config, *words.split())
    assert (told["outcome"], told["port"]) == (outcome, port)
    assert (told["rule"] or {}).get("purpose") == purpose
    if purpose:
        assert told["rule"]["why"].endswith(".") and told["rule"]["rule"] in plan(config)


def plan(config: str) -> str:
    done = hawser("intercept", "plan", "--config", config)
    assert done.returncode == 0 and done.stderr == "", done.stderr
    return done.stdout


def test_what_is_not_told_is_named(config):
    text = hawser("intercept", "explain", "--config", config, "--out", "--dst", "192.0.2.1:80").stdout
    assert "redirected to port 15001, the proxy's outbound listener\n" in text
    assert "if its owner's uid is 881 or 882: left alone\n" in text


def test_the_formats_are_of_one_plan(config):
    def of(kind: str) -> str:
        done = hawser("intercept", "plan", "--config", config, "--format", kind)
        assert done.returncode == 0, done.stderr
        return done.stdout

    listed = json.loads(of("json"))
    assert f"generation {listed['generation']}\n" in of("text")
    assert f'comment "sha256:{listed["generation"]}"' in of("nft")
    assert "HAWSER_OUTPUT" in of("iptables") and "ip6tables-restore" in of("iptables")
    assert [rule["number"] for rule in listed["rules"]] == list(range(1, len(listed["rules"]) + 1))
    for rule in listed["rules"]:
        assert f"{rule['number']:5}  {rule['rule']}\n" in of("text") or rule["number"] > 3


def test_nft_and_iptables_take_what_is_printed(config):
    """In a namespace of its own: read by the real programs, which only check it."""
    for kind, reader in (("nft", ["nft", "-c", "-f", "-"]), ("iptables", None)):
        text = hawser("intercept", "plan", "--config", config, "--format", kind, "--family", "ipv4").stdout
        argv = reader or ["iptables-legacy-restore", "--test", "--noflush"]
        done = subprocess.run(["unshare", "-n", *argv], input=text, capture_output=True, text=True, timeout=20, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "words, status, id",
    [
        ("explain --out --dst 10.0.0.300:80", 65, "HWS-NF-090"),
        ("explain --out --dst 10.0.0.1:70000", 65, "HWS-NF-090"),
        ("explain --out --dst 10.0.0.1", 65, "HWS-NF-090"),
        ("explain --out --dst 10.0.0.1:80 --mark 0x1ffffffff", 65, "HWS-NF-090"),
        ("explain --out --dst 10.0.0.1:80 --src fd00::1", 65, "HWS-NF-091"),
        ("explain --out --dst 10.0.0.1:80 --uid nosuchuser", 78, "HWS-CF-006"),
        ("explain --in --out --dst 10.0.0.1:80", 64, ""),
        ("explain --dst 10.0.0.1:80", 64, ""),
        ("plan --format yaml", 64, ""),
        ("plan --diff --format nft", 64, ""),
    ],
)
def test_bad_flags_are_refused_in_one_line(config, words, status, id):
    done = hawser("intercept", *words.split(), "--config", config)
    assert done.returncode == status and done.stdout == "", done
    assert id in done.stderr
    if id:
        assert done.stderr.count("\n") == 1 and "fix:" in done.stderr


@pytest.fixture(scope="module")
def elsewhere(config) -> typing.Callable[..., subprocess.CompletedProcess]:
    """The program where users of the package exist as given, or don't: a laptop, or the host itself."""
    folder = os.path.dirname(config)

    def run(users: dict[str, int], *words: str) -> subprocess.CompletedProcess:
        mounts = "mount --make-rprivate /"
        for file in ("passwd", "group"):
            with open(f"/etc/{file}", encoding="utf-8") as known:
                lines = [line for line in known if not line.startswith("hawser")]
            rest = "x:{}:{}::/:/bin/false" if file == "passwd" else "x:{}:"
            lines += [f"{name}:{rest.format(*[number] * 2)}\n" for name, number in users.items()]
            with open(f"{folder}/{file}", "w", encoding="utf-8") as out:
                out.writelines(lines)
            os.chmod(f"{folder}/{file}", 0o644)
            mounts += f" && mount --bind {folder}/{file} /etc/{file}"
        script = f'{mounts} && exec setpriv --reuid 65534 --regid 65534 --clear-groups "$@"'
        argv = ["unshare", "--mount", "sh", "-c", script, "sh", layout.bin_dir() / "hawser", *words]
        return subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False)

    return run


BOTH = {"hawser": 881, "hawser-proxy": 882}


def test_a_machine_without_our_users_explains_all_the_same(elsewhere, config):
    plain = config.replace("hawser.yaml", "plain.yaml")
    with open(plain, "w", encoding="utf-8") as out:
        out.write(CONFIG.split("\n", 2)[2])
    here = elsewhere({}, "intercept", "plan", "--config", plain)
    assert here.returncode == 0, here.stderr
    assert [line.split(":")[1] for line in here.stderr.splitlines()] == [" warning"] * 2
    assert "no user 'hawser' here: <hawser> (4294967280) stands for its ids" in here.stderr
    assert "no user 'hawser-proxy' here" in here.stderr
    there = elsewhere(BOTH, "intercept", "plan", "--config", plain)
    assert (there.returncode, there.stderr) == (0, "")
    marked = there.stdout.replace("881", "<hawser>").replace("882", "<hawser-proxy>")
    assert marked.splitlines()[2:] == here.stdout.splitlines()[2:]
    assert marked.splitlines()[1] != here.stdout.splitlines()[1], "not that host's generation"

    ask = ["intercept", "explain", "--config", plain, "--out", "--dst", "192.0.2.1:80"]
    assert "its owner's uid is <hawser> or <hawser-proxy>: left alone" in elsewhere({}, *ask).stdout
    assert "left alone" in elsewhere({}, *ask, "--uid", "hawser").stdout.splitlines()[1]
    assert "redirected" in elsewhere({}, *ask, "--uid", "1000").stdout.splitlines()[1]
    nft = elsewhere({}, "intercept", "plan", "--config", plain, "--format", "nft").stdout
    assert nft.startswith("# 4294967280 stands for the ids of hawser\n") and "meta skuid { 4294967280, " in nft
    one = elsewhere({"hawser": 881}, "intercept", "plan", "--config", plain)
    assert "uid 881,<hawser-proxy> " in one.stdout and one.stderr.count("\n") == 1


def test_nothing_stands_for_users_in_what_is_compared_or_was_named(elsewhere, config):
    plain = config.replace("hawser.yaml", "other.yaml")
    with open(plain, "w", encoding="utf-8") as out:
        out.write("users: {proxy: envoy-of-ours}\n")
    for words in (["plan", "--diff", "--config", "/dev/null"], ["plan", "--config", plain]):
        done = elsewhere({}, "intercept", *words)
        assert (done.returncode, done.stdout) == (78, "") and "HWS-CF-006" in done.stderr, done
    assert "'envoy-of-ours' doesn't exist" in done.stderr


def test_without_the_broker_a_diff_says_so(config):
    done = hawser("intercept", "plan", "--diff", "--config", config)
    assert done.returncode in (69, 77) and done.stdout == ""
    assert done.stderr.count("\n") == 1 and "hawser-broker" in done.stderr


def test_a_missing_file_and_a_bad_one_are_named(config):
    done = hawser("intercept", "plan", "--config", "/nonexistent.yaml")
    assert done.returncode == 78 and "/nonexistent.yaml" in done.stderr and "HWS-CF-001" in done.stderr
    bad = config.replace("hawser.yaml", "bad.yaml")
    with open(bad, "w", encoding="utf-8") as out:
        out.write("interception:\n  outbound: {exclude_cidrs: [10.0.0.0/40]}\n")
    done = hawser("intercept", "plan", "--config", bad)
    assert done.returncode == 78 and f"{bad}:2:" in done.stderr and done.stdout == ""
