# SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-or-later
"""Spoils the plan compiler, a line at a time, and looks whether a unit test fails.

A mutant is one of netfilter/plan*.cpp without a line that adds a rule, or with two such lines swapped. It is compiled
apart and linked in place of the good one, so the sources and the build folder stay as they are; the unit tests of
netfilter/ then have to fail. Usage, after ./dev build:

    .venv/bin/python tests/mutations/run.py [--count N] [--build build/mutations]

The build folder is made if it isn't there, file by file: an object of eight files has no single one to be replaced.

Prints a table in Markdown; ends with 1 if a mutant survived.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import pathlib
import re
import shlex
import subprocess
import sys
import tempfile

REPO = pathlib.Path(__file__).resolve().parents[2]
TESTS = ("netfilter_laws_test", "netfilter_test")
# A whole statement in one line that adds rules, or leaves something out.
ADDS = re.compile(r"^\s+(if \(.*\) )?(builder\.(leave|capture|add)\w*|leave_owner|add_(?!new)\w+|but)\(.*\);(\s*//.*)?$")
# Two of these in either order mean the same: they only leave packets alone, or fill one list.
COMMUTE = re.compile(
    r"builder\.leave|leave_owner|\bbut\(|add_(ssh|interfaces|groups|user_ports|exemptions|inbound_exemptions|included)\("
)
# Nor has the order of these any meaning: no packet meets both rules (a probe is TCP), or they do the same.
APART = ("Purpose::kProbe, std::move(probe)", "builder.add_owner(hook, Purpose::kDnsZone, question")
TIMEOUT = 120


@dataclasses.dataclass
class Mutant:
    file: pathlib.Path
    line: int
    what: str
    text: str


def mutants() -> list[Mutant]:
    out = []
    for file in sorted((REPO / "netfilter").glob("plan*.cpp")):
        lines = file.read_text().splitlines(keepends=True)
        candidates = [i for i, line in enumerate(lines) if ADDS.match(line)]
        for i in candidates:
            what = lines[i].strip()
            out.append(Mutant(file, i + 1, f"without `{what}`", "".join([*lines[:i], ";\n", *lines[i + 1 :]])))
            pair = lines[i : i + 2]
            same = all(COMMUTE.search(line) for line in pair) or any(text in pair[0] for text in APART)
            if i + 1 in candidates and not same:
                swapped = lines[:i] + [lines[i + 1], lines[i]] + lines[i + 2 :]
                out.append(Mutant(file, i + 1, f"after the next line: `{what}`", "".join(swapped)))
    return out


def chosen(all_mutants: list[Mutant], count: int) -> list[Mutant]:
    """Spread over all files and kinds."""
    count = min(count, len(all_mutants))
    return [all_mutants[i * len(all_mutants) // count] for i in range(count)]


class Workshop:
    def __init__(self, build: pathlib.Path, folder: pathlib.Path) -> None:
        self.build, self.folder = build, folder
        commands = json.loads((build / "compile_commands.json").read_text())
        self.compile = {pathlib.Path(item["file"]).resolve(): item["command"] for item in commands}
        self.link = {test: self._link_command(test) for test in TESTS}

    @staticmethod
    def prepare(build: pathlib.Path) -> None:
        configure = ["cmake", "--preset", "dev", "-B", build, "-DHAWSER_UNITY=OFF"]
        for argv in (configure, ["cmake", "--build", build, "--target", *TESTS]):
            subprocess.run(argv, cwd=REPO, check=True, stdout=subprocess.DEVNULL)

    def _link_command(self, test: str) -> str:
        argv = ["ninja", "-C", self.build, "-t", "commands", test]
        done = subprocess.run(argv, capture_output=True, text=True, check=True)
        return next(line for line in reversed(done.stdout.splitlines()) if f"-o tests/{test}" in line)

    def object_of(self, mutant: Mutant) -> pathlib.Path | None:
        """None: it doesn't compile."""
        source, out = self.folder / mutant.file.name, self.folder / "mutant.o"
        source.write_text(mutant.text)
        words = shlex.split(self.compile[mutant.file])
        words[words.index("-o") + 1] = str(out)
        words[words.index("-c") + 1] = str(source)
        argv = [word for word in words if word != "-Werror"] + ["-w", "-O0"]
        done = subprocess.run(argv, cwd=self.build, capture_output=True, timeout=TIMEOUT, check=False)
        return out if done.returncode == 0 else None

    def program(self, test: str, extra: pathlib.Path) -> pathlib.Path:
        """An object in front of an archive takes the place of the archive's."""
        out = self.folder / test
        command = self.link[test].replace(f"-o tests/{test}", f"{extra} -o {out}")
        done = subprocess.run(command, shell=True, cwd=self.build, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"{test} can't be linked: {done.stderr[-2000:]}")
        return out

    def caught_by(self, mutant: Mutant) -> str | None:
        """The first test that fails; "" if the mutant doesn't compile; None: it survives."""
        made = self.object_of(mutant)
        if made is None:
            return ""
        for test in TESTS:
            failed = self.failure(self.program(test, made))
            if failed:
                return failed
        return None

    def failure(self, program: pathlib.Path) -> str | None:
        argv = [program, "--gtest_fail_fast", "--gtest_brief=1"]
        try:
            done = subprocess.run(
                argv, cwd=self.build, capture_output=True, text=True, errors="replace", timeout=TIMEOUT, check=False
            )
        except subprocess.TimeoutExpired:
            return f"{program.name} (it doesn't end)"
        if done.returncode == 0:
            return None
        failed = re.search(r"\[  FAILED  \] ([\w/.]+)", done.stdout)
        law = re.search(r"^- (.+)\nFalsifiable", done.stdout, re.MULTILINE)
        return (failed.group(1) if failed else program.name) + (f" ({law.group(1)})" if law else "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=24, help="mutants, spread over the files; 0: all that there are")
    parser.add_argument("--build", type=pathlib.Path, default=REPO / "build" / "mutations")
    arguments = parser.parse_args()
    there = mutants()
    survivors = 0
    with tempfile.TemporaryDirectory() as folder:
        Workshop.prepare(arguments.build)
        workshop = Workshop(arguments.build.resolve(), pathlib.Path(folder))
        print("| where | mutation | caught by |\n|---|---|---|", flush=True)
        for mutant in chosen(there, arguments.count or len(there)):
            caught = workshop.caught_by(mutant)
            survivors += caught is None
            verdict = "(doesn't compile)" if caught == "" else caught or "**nothing**"
            print(f"| {mutant.file.name}:{mutant.line} | {mutant.what} | {verdict} |", flush=True)
    print(f"\n{len(there)} mutants are possible; {survivors} survived", file=sys.stderr)
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
