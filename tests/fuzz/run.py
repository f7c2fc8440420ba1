# SPDX-License-Identifier: Apache-2.0
"""`./dev test fuzz`: each fuzzer for a while, from its seeds and from what earlier runs found."""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys

REPO = pathlib.Path(__file__).resolve().parents[2]
CORPUS = REPO / "tests/fuzz/corpus"
KEPT = REPO / ".cache/fuzz"
# An input that takes a second or half a gigabyte is a finding, too.
LIMITS = ("-timeout=5", "-rss_limit_mb=1024", "-malloc_limit_mb=256", "-max_len=8192")


def fuzz(program: pathlib.Path, seconds: int) -> tuple[str, int, str]:
    name = program.name.removeprefix("fuzz-")
    corpus, findings = KEPT / "corpus" / name, KEPT / "findings" / name
    for folder in (corpus, findings):
        folder.mkdir(parents=True, exist_ok=True)
    argv = [program, *LIMITS, f"-max_total_time={seconds}", "-print_final_stats=1", f"-artifact_prefix={findings}/"]
    environment = {**os.environ, "UBSAN_OPTIONS": "print_stacktrace=1", "ASAN_OPTIONS": "detect_leaks=1"}
    log = KEPT / f"{name}.log"
    with log.open("wb") as out:
        process = subprocess.Popen([*argv, corpus, CORPUS / name], cwd=REPO, env=environment, stdout=out, stderr=out)
        try:
            code = process.wait(timeout=seconds + 120)
        except subprocess.TimeoutExpired:  # -timeout should have ended it
            process.kill()
            code = process.wait()
    return name, code, log.read_text(encoding="utf-8", errors="replace")


def report(name: str, code: int, output: str) -> bool:
    executed = re.search(r"stat::number_of_executed_units:\s*(\d+)", output)
    covered = re.findall(r"cov: (\d+)", output)
    if code == 0:
        print(f"  {name:<16} {int(executed[1]) if executed else 0:>10,} inputs, {covered[-1] if covered else '?'} edges")
        return True
    kept = re.search(r"Test unit written to (\S+)", output)
    why = re.search(r"broken promise: .*|SUMMARY: .*|runtime error: .*", output)
    print(f"  {name:<16} FAILED: {why[0] if why else f'exit status {code}'}")
    print(f"    log: {KEPT / f'{name}.log'}")
    if kept:
        print(f"    again: build/fuzz/bin/fuzz-{name} {kept[1]}")
        print(f"    when it's repaired, keep the input: cp {kept[1]} tests/fuzz/corpus/{name}/")
    return False


def main() -> int:
    parser = argparse.ArgumentParser(prog="./dev test fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=20, help="for each fuzzer")
    parser.add_argument("-k", dest="name", default="", help="only fuzzers whose name contains this")
    options = parser.parse_args()
    programs = sorted((REPO / "build/fuzz/bin").glob("fuzz-*"))
    programs = [program for program in programs if options.name in program.name]
    if not programs:
        print(f"no fuzzer is called {options.name or 'anything'} in build/fuzz/bin", file=sys.stderr)
        return 64
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        results = list(pool.map(lambda program: fuzz(program, options.seconds), programs))
    return 0 if all([report(*result) for result in results]) else 1


if __name__ == "__main__":
    sys.exit(main())
