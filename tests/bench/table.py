"""Figures as text: medians, ratios within rounds, one Markdown table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median


@dataclass
class Series:
    """What one measurement gave, round by round: seconds of each contender. `target` says what was to be reached.

    The first contender is labctl.
    """

    name: str
    target: str = ""
    rounds: list[Mapping[str, float]] = field(default_factory=list)

    def medians(self) -> dict[str, float]:
        """The median of each contender over all rounds."""
        names = list(self.rounds[0]) if self.rounds else []
        return {name: median(each[name] for each in self.rounds) for name in names}

    def ratios(self) -> dict[str, float]:
        """The first contender over each other one: the median of the ratios within the rounds.

        What else the host did in a round it did to all of them, so that this is steadier than the medians' ratio.
        """
        names = list(self.rounds[0]) if self.rounds else []
        return {name: median(each[names[0]] / each[name] for each in self.rounds) for name in names[1:]}

    def differences(self) -> dict[str, float]:
        """The first contender less each other one, in seconds: the median within the rounds."""
        names = list(self.rounds[0]) if self.rounds else []
        return {name: median(each[names[0]] - each[name] for each in self.rounds) for name in names[1:]}


def markdown(series: Sequence[Series]) -> str:
    """One table of all of them."""
    rows = [["what", "labctl", "beside it", "ratio", "difference", "to reach"]]
    for each in series:
        if not each.rounds:
            continue
        medians = each.medians()
        own, *others = medians
        ratios, differences = each.ratios(), each.differences()
        rows.append(
            [
                each.name,
                f"{medians[own]:.2f} s",
                "<br>".join(f"{name} {medians[name]:.2f} s" for name in others),
                "<br>".join(f"{ratios[name]:.2f}" for name in others),
                "<br>".join(f"{differences[name]:+.2f} s" for name in others),
                each.target,
            ]
        )
    head, *body = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *body])
