# SPDX-License-Identifier: Apache-2.0
"""The package's parts, held against the design and against each other; nothing here needs root or a build."""

import pathlib
import re
import shutil
import subprocess

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGING = ROOT / "packaging"
UNITS = sorted((PACKAGING / "systemd").iterdir())
SERVICES = {"hawser.service": "/usr/sbin/hawserd", "hawser-broker.service": "/usr/sbin/hawser-broker"}
SOCKETS = {  # socket: (service, group, mode)
    "xds": ("hawser.service", "hawser-proxy", "0660"),
    "sds": ("hawser.service", "hawser-proxy", "0660"),
    "admin": ("hawser.service", "root", "0666"),
    "broker": ("hawser-broker.service", "hawser", "0660"),
}
BY_HAND = {"hawser-proxyless.socket"}  # an operator enables it


def unit(name: str) -> dict[str, dict[str, list[str]]]:
    """A unit file as section → key → values; systemd lets a key come twice."""
    sections: dict[str, dict[str, list[str]]] = {}
    section: dict[str, list[str]] = {}
    for line in (PACKAGING / "systemd" / name).read_text().splitlines():
        if line.startswith("["):
            section = sections.setdefault(line.strip("[]"), {})
        elif line and line[0] not in "#;":
            key, value = line.split("=", 1)
            section.setdefault(key, []).append(value)
    return sections


def values(name: str, section: str, key: str) -> list[str]:
    return unit(name).get(section, {}).get(key, [])


def script(name: str) -> str:
    return (PACKAGING / "deb" / name).read_text()


@pytest.mark.parametrize("name", SERVICES)
def test_services_never_give_up_and_are_watched(name: str):
    assert values(name, "Unit", "StartLimitIntervalSec") == ["0"]
    assert values(name, "Service", "Type") == ["notify"]
    assert values(name, "Service", "Restart") == ["always"]
    assert values(name, "Service", "WatchdogSec")
    assert values(name, "Service", "TimeoutStopSec") == ["10s"]
    assert values(name, "Service", "ExecStart")[0].split()[0] == SERVICES[name]


@pytest.mark.parametrize("name", [p.name for p in UNITS])
def test_no_unit_can_hold_up_boot_or_login_or_lose_the_sockets(name: str):
    text = (PACKAGING / "systemd" / name).read_text()
    assert not re.search(r"^RuntimeDirectory", text, re.M), "its end would remove the others' sockets"
    assert not re.search(r"^(Wants|Requires|After)=.*network-online", text, re.M)
    assert not re.search(r"^Before=|^RequiredBy=", text, re.M)


@pytest.mark.parametrize("name", SOCKETS)
def test_sockets_have_the_owner_and_mode_of_the_design(name: str):
    service, group, mode = SOCKETS[name]
    section = unit(f"hawser-{name}.socket")["Socket"]
    assert section["ListenStream"] == [f"/run/hawser/{name}.sock"]
    assert section["FileDescriptorName"] == [name]
    assert (section["Service"], section["SocketGroup"], section["SocketMode"]) == ([service], [group], [mode])
    assert section["SocketUser"] == ["root"]
    assert section["TriggerLimitIntervalSec"] == ["0"]
    assert f"hawser-{name}.socket" in values(service, "Service", "Sockets")[0].split()


def test_the_agent_has_no_privilege_and_the_broker_only_two():
    assert values("hawser.service", "Service", "User") == ["hawser"]
    assert values("hawser.service", "Service", "CapabilityBoundingSet") == [""]
    assert values("hawser-broker.service", "Service", "CapabilityBoundingSet") == ["CAP_NET_ADMIN CAP_NET_RAW"]
    for name in SERVICES:
        assert values(name, "Service", "NoNewPrivileges") == ["yes"]
        assert values(name, "Service", "ProtectSystem") == ["strict"]


def test_the_brokers_rules_outlive_its_restart_and_the_proxies_outlive_it():
    assert values("hawser-broker.service", "Service", "FileDescriptorStoreMax") == ["8"]
    for name in SERVICES:
        assert not values(name, "Service", "Slice"), "stopping hawser.slice ends what is in it"
        assert not values(name, "Unit", "BindsTo") and not values(name, "Unit", "PartOf")


def test_at_shutdown_the_agent_goes_before_what_it_needs_for_that():
    after = values("hawser.service", "Unit", "After")[0].split()
    assert {"hawser-broker.service", "dbus.service"} <= set(after)


def test_folders_have_the_owners_of_the_design():
    lines = (PACKAGING / "tmpfiles.d/hawser.conf").read_text().splitlines()
    rows = {f[1]: tuple(f[2:5]) for f in (line.split() for line in lines) if f and not f[0].startswith("#")}
    assert rows == {
        "/run/hawser": ("0755", "root", "root"),
        "/run/hawser/proxy": ("2750", "hawser-proxy", "hawser"),
        "/run/xtables.lock": ("0600", "root", "root"),
        "/var/lib/hawser": ("0755", "root", "root"),
        "/var/lib/hawser/identity": ("0700", "hawser", "hawser"),
        "/var/lib/hawser/supervisor": ("0700", "hawser", "hawser"),
        "/var/lib/hawser/xds": ("0700", "hawser", "hawser"),
        "/var/lib/hawser/netfilter": ("0700", "root", "root"),
        "/var/lib/hawser/proxy": ("0755", "root", "root"),
        "/var/lib/hawser/proxy/bin": ("0755", "root", "root"),
        "/var/lib/hawser/proxy/run": ("0755", "root", "root"),
        "/var/lib/hawser/proxy/boot": ("2750", "root", "hawser-proxy"),
    }


def test_a_service_may_write_what_it_has_to_and_nothing_else():
    paths = {name: values(name, "Service", "ReadWritePaths")[0].split() for name in SERVICES}
    assert paths["hawser.service"] == ["/var/lib/hawser/identity", "/var/lib/hawser/supervisor", "/var/lib/hawser/xds"]
    assert paths["hawser-broker.service"] == ["/var/lib/hawser/netfilter", "/var/lib/hawser/proxy", "-/run/xtables.lock"]


def test_users_are_made_and_purged():
    made = set(re.findall(r"^[ug] (\S+)", (PACKAGING / "sysusers.d/hawser.conf").read_text(), re.M))
    assert made == {"hawser", "hawser-proxy", "hawser-admin"}
    assert "systemd-sysusers hawser.conf" in script("postinst")
    purge = script("postrm").split("purge)")[1]
    for name in made:
        assert re.search(rf"for (user|group) in [^;]*\b{name}\b", purge)


def test_the_shipped_configuration_sets_nothing():
    assert yaml.safe_load((PACKAGING / "etc/hawser.yaml").read_text()) is None
    assert script("conffiles").split() == ["/etc/hawser/hawser.yaml"]


def test_every_enabled_unit_is_enabled_and_purged_by_the_scripts():
    enabled = {p.name for p in UNITS if unit(p.name).get("Install")}
    assert enabled - BY_HAND == set(SERVICES) | {f"hawser-{name}.socket" for name in SOCKETS}
    for name, wanted in (("postinst", enabled - BY_HAND), ("postrm", enabled)):
        assert wanted <= set(re.findall(r"hawser[\w-]*\.(?:service|socket)", script(name)))


@pytest.mark.parametrize("name", sorted(BY_HAND))
def test_what_an_operator_enables_stays_off_and_is_stopped_on_removal(name: str):
    assert name not in script("postinst") and name in script("prerm")
    assert name not in values("hawser.service", "Service", "Sockets")[0].split()


def test_removal_takes_the_rules_out_before_it_stops_what_could():
    steps = [
        "stop $AGENT",  # it would put them back
        "hawser intercept remove",
        "stop $BROKER",
        "hawser-broker --withdraw",
        "stop hawser.slice",
    ]
    remove = script("prerm").split("withdraw() {")[1].split("\n}")[0]
    places = [remove.index(step) for step in steps]
    assert places == sorted(places)
    assert re.search(r"^  remove\) ! ours_to_stop \|\| withdraw ;;$", script("prerm"), re.M)
    assert re.search(r"^  upgrade [^)]*\) ;;$", script("prerm"), re.M)


@pytest.mark.parametrize("name", ["postinst", "prerm", "postrm"])
def test_scripts_are_sound(name: str):
    path = PACKAGING / "deb" / name
    assert script(name).startswith("#!/bin/sh\n") and "\nset -e\n" in script(name)
    subprocess.run(["sh", "-n", path], check=True)
    for line in script(name).splitlines():  # where systemd isn't running, each call of it has to be guarded
        assert not re.match(r"(systemctl|deb-systemd-invoke) ", line), f"not guarded: {line}"
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", "-s", "sh", path], check=True)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze")
def test_systemd_accepts_the_units(tmp_path: pathlib.Path):
    """In a copy whose programs exist, so that each complaint is one about the unit."""
    for path in UNITS:
        text = re.sub(r"^Documentation=.*\n", "", path.read_text(), flags=re.M)
        text = re.sub(r"/usr/s?bin/hawser(d|-broker)?", "/bin/true", text)
        (tmp_path / path.name).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *sorted(str(p) for p in tmp_path.iterdir())],
        capture_output=True, text=True, timeout=60, check=False,
        env={"SYSTEMD_UNIT_PATH": f"{tmp_path}:", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
    )  # fmt: skip
    ours = [line for line in done.stderr.splitlines() if "hawser" in line]
    assert not ours and done.returncode == 0, done.stderr


def test_the_manual_knows_every_key_and_verb():
    page = (PACKAGING / "man/hawser.yaml.5").read_text()
    keys = re.findall(r"^\| (`.*?`) \|", (ROOT / "docs/configuration.md").read_text(), re.M)
    names = {key for cell in keys for key in re.findall(r"`([\w.]+)`", cell)}
    assert names and not {key for key in names if not re.search(rf"\b{re.escape(key)}\b", page)}
    manual = (PACKAGING / "man/hawser.1").read_text().replace("\\-", "-")
    sources = [p.read_text() for p in (ROOT / "agent/cli").glob("*.cpp")]
    verbs = {verb for text in sources for verb in re.findall(r'add_subcommand\(\s*"(\w+)"', text)}
    assert verbs and not {verb for verb in verbs if not re.search(rf"\b{verb}\b", manual)}


def test_the_completion_is_bash():
    subprocess.run(["bash", "-n", PACKAGING / "completions/hawser"], check=True)


def test_the_package_lists_its_scripts_and_finds_its_files():
    recipe = (ROOT / "cmake/HawserPackage.cmake").read_text()
    for name in ("postinst", "prerm", "postrm", "conffiles"):
        assert re.search(rf"foreach\(script [^)]*\b{name}\b", recipe)
    for path in re.findall(r'"\$\{HAWSER_PACKAGING\}/([\w./-]+)"', recipe):
        assert (PACKAGING / path).exists(), path
