# SPDX-License-Identifier: Apache-2.0
"""What the documents promise, held against the sources."""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOURCES = [p for d in ("agent", "bootstrap", "certs", "netfilter") for p in (ROOT / d).rglob("*") if p.suffix in (".h", ".cpp")]
ID = re.compile(r'"(HWS-[A-Z]+-\d{3})"')


def ids_in_code() -> set[str]:
    return {match for path in SOURCES for match in ID.findall(path.read_text())}


def test_every_error_id_is_documented_and_none_is_invented():
    documented = set(re.findall(r"^\| `(HWS-[A-Z]+-\d{3})`", (ROOT / "docs/errors.md").read_text(), re.M))
    code = ids_in_code()
    assert code - documented == set(), "raised but not in docs/errors.md"
    assert documented - code == set(), "in docs/errors.md but never raised"


def test_every_configuration_key_is_documented():
    schema = "".join(p.read_text() for p in sorted((ROOT / "agent/config").glob("schema*.cpp")))
    page = (ROOT / "docs/configuration.md").read_text()
    keys = set(re.findall(r'\.(?:scalar|text|list|map|each|each_map|string_map)\("([a-z_]+)"', schema))
    keys |= set(re.findall(r'port_list\(\w+, "([a-z_]+)"', schema))
    missing = [key for key in sorted(keys) if not re.search(rf"\b{key}\b", page)]
    assert not missing


def test_files_stay_readable():
    long = [f"{p.relative_to(ROOT)}: {n}" for p in SOURCES if (n := len(p.read_text().splitlines())) > 500]
    assert not long


def test_no_machine_or_registry_is_named():
    words = ("/work/", "deb.debian.org", "pypi.org", "proxy.golang.org", "files.pythonhosted")
    tracked = [p for p in ROOT.rglob("*") if p.is_file() and not {".git", "build", ".venv", ".cache"} & set(p.relative_to(ROOT).parts)]
    found = [
        f"{p.relative_to(ROOT)}: {w}"
        for p in tracked
        if p.suffix in (".py", ".cpp", ".h", ".md", ".txt", ".sh", ".yaml", ".mod", "") and p.name != "test_docs.py"
        for w in words
        if w in p.read_text(errors="ignore")
    ]
    assert not found
