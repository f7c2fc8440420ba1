# SPDX-License-Identifier: Apache-2.0
"""The samples of `./dev bench netfilter`, their goals, and the table."""

from __future__ import annotations

import dataclasses
import statistics
import typing

LANES = ("nftables", "xtables", "nft -f", "restore", "istio")


@dataclasses.dataclass(frozen=True)
class Row:
    """One line. `goals`: upper bounds, by lane; a figure without any is for information."""

    text: str
    key: str
    unit: str
    goals: dict[str, float] = dataclasses.field(default_factory=dict)
    digits: int = 2


ROWS = (
    Row("apply of 30 rules, inside", "apply", "ms", {"nftables": 2, "xtables": 0.2}),
    Row("  other rules instead", "change", "ms", {"nftables": 2, "xtables": 0.2}),
    Row("  of which the kernel, without our rules", "floor", "ms"),
    Row("  the same rules again", "same", "ms"),
    Row("  looking whether they are there", "observe", "ms"),
    Row("  asked of the broker, with its records on disk", "asked", "ms"),
    Row("apply of 30 rules, whole command", "whole", "ms", {"nftables": 10, "xtables": 10}),
    Row("  other rules instead", "whole change", "ms", {"nftables": 10, "xtables": 10}),
    Row("  again", "whole again", "ms", {"nftables": 10, "xtables": 10}),
    Row("  taking them out", "whole remove", "ms"),
    Row("apply of 5,000 networks, inside", "5000", "ms", {"nftables": 60, "xtables": 60}),
    Row("  whole command", "whole 5000", "ms"),
    Row("a plan of 10,000 networks", "plan 10000", "ms"),
    Row("connect, no rules, median", "connect none", "µs"),
    Row("  no rules, tracked by conntrack", "connect tracked", "µs"),
    Row("  to one of 1,000 excluded networks", "connect 1000", "µs"),
    Row("  ratio to no rules", "connect ratio", "", {"nftables": 1.1, "xtables": 1.1}),
    Row("  ratio to no rules, but tracked", "connect tracked ratio", ""),
    Row("hawser-broker RSS, 30 rules", "rss", "MB", {"nftables": 6, "xtables": 6}, 1),
    Row("flushed by another program → healed", "healed", "ms", {}, 0),
)


class Book:
    """Samples by lane and figure."""

    def __init__(self) -> None:
        self.samples: dict[str, dict[str, list[float]]] = {lane: {} for lane in LANES}

    def note(self, lane: str, key: str, *values: float) -> None:
        self.samples[lane].setdefault(key, []).extend(values)

    def median(self, lane: str, key: str) -> float | None:
        values = self.samples[lane].get(key)
        return statistics.median(values) if values else None

    def met(self, row: Row, lane: str) -> bool | None:
        value = self.median(lane, row.key)
        return None if lane not in row.goals or value is None else value <= row.goals[lane]

    def json(self) -> dict[str, typing.Any]:
        medians = {lane: {k: round(statistics.median(v), 4) for k, v in figures.items()} for lane, figures in self.samples.items()}
        goals = {
            f"{row.key}, {lane}": {"at_most": goal, "met": self.met(row, lane)} for row in ROWS for lane, goal in row.goals.items()
        }
        return {"medians": medians, "goals": goals, "samples": self.samples}

    def table(self) -> str:
        lines = [f"{'figure':<48}" + "".join(f"{lane:>11}" for lane in LANES) + "  goals", "-" * 120]
        for row in ROWS:
            values = "".join(f"{_show(self.median(lane, row.key), row):>11}" for lane in LANES)
            said = []
            for lane, goal in row.goals.items():
                met = {True: "met", False: "MISSED", None: "–"}[self.met(row, lane)]
                said.append(f"{lane} ≤ {goal:g} {met}")
            lines.append(f"{row.text:<48}{values} {row.unit:<3} {', '.join(said)}".rstrip())
        return "\n".join(lines)


def _show(value: float | None, row: Row) -> str:
    return "–" if value is None else f"{value:.{row.digits}f}"
