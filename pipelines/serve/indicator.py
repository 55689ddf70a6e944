"""The indicator's service: the prompt gate, exact quotas, and the ledger of what was given."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from fairgen.attributes import Attribute
from fairgen.calibration import Confusion, calibrated
from fairgen.gate import GateDecision, decide
from fairgen.indicator import TargetDistribution
from fairgen.ledger import Ledger
from pipelines.serve.schemas import Fairness

_MAX_PROMPTS = 4096


@dataclass(frozen=True)
class Assigned:
    """One picture's categories, and how likely they were under the target."""

    categories: dict[str, str]
    probability: float


@dataclass(frozen=True)
class Assignment:
    """A request's pictures, and what the gate said; no gate is asked when fairness is off."""

    pictures: list[Assigned]
    gate: GateDecision | None


class IndicatorService:
    """Decides what every picture of every request shows; the only state is the ledger."""

    def __init__(
        self, attributes: Sequence[Attribute], default: Fairness | None, calibrate: bool
    ) -> None:
        """`default` is the fairness of a request without its own; None is uniform over all served.
        With `calibrate`, what measured adapters miss is made up for.

        Raises ValueError when the default names what the attributes do not have.
        """
        self._attributes, self._default = tuple(attributes), default
        self._gate = lru_cache(_MAX_PROMPTS)(lambda prompt: decide(prompt, self._attributes))
        self._calibrate, self._ledger = calibrate, Ledger()
        if isinstance(default, dict):
            TargetDistribution.from_request(default, attributes)

    def assign(
        self,
        prompt: str,
        num_images: int,
        fairness: Fairness | None,
        served: Mapping[str, Confusion | None],
        caller: str = "",
    ) -> Assignment:
        """Return the next pictures of this prompt's stream under the asked target; they count for
        the person that it shows, for the caller, and in all traffic, too.

        `served` holds the attributes that have adapters, with the confusion of those that were
        measured. An attribute that the gate does not free is left out of the target. Raises
        ValueError for a target that cannot be met.
        """
        asked, gate = self._asked(prompt, fairness, served)
        if asked is None:
            return Assignment([Assigned({}, 1.0)] * num_images, gate)
        target = asked
        if self._calibrate:
            target = calibrated(asked, {n: found for n, found in served.items() if found})
        levels = _levels(gate, caller)
        cells = self._ledger.assign(prompt.strip(), asked, num_images, by=target, above=levels)
        return Assignment(
            [
                Assigned(
                    dict(zip(target.attributes, target.cells[cell], strict=True)),
                    target.probabilities[cell],
                )
                for cell in cells
            ],
            gate,
        )

    def give_back(
        self,
        prompt: str,
        fairness: Fairness | None,
        served: Mapping[str, Confusion | None],
        caller: str,
        pictures: Sequence[Mapping[str, str]],
    ) -> None:
        """Take pictures off the ledger that were assigned and that nobody got, by categories."""
        asked, gate = self._asked(prompt, fairness, served)
        if asked is None:
            return
        for categories in pictures:
            if set(categories) == set(asked.attributes):
                cell = [categories[name] for name in asked.attributes]
                self._ledger.give_back(prompt.strip(), asked, cell, above=_levels(gate, caller))

    def _asked(
        self, prompt: str, fairness: Fairness | None, served: Mapping[str, Confusion | None]
    ) -> tuple[TargetDistribution | None, GateDecision | None]:
        """Return the target over what the gate frees, None where there is nothing to decide; and
        what the gate said, if it was asked.
        """
        attributes = [a for a in self._attributes if a.name in served]
        wanted = fairness if fairness is not None else self._default
        if wanted is None and attributes:
            wanted = {attribute.name: "uniform" for attribute in attributes}
        if wanted is None or wanted == "off":
            return None, None
        target = TargetDistribution.from_request(wanted, attributes)
        gate = self._gate(prompt)
        free = [name for name in target.attributes if name in gate.free]
        return (target.marginalised(free) if free else None), gate


def _levels(gate: GateDecision | None, caller: str) -> tuple[tuple[str, str], ...]:
    """Return the streams above a prompt's: its person's, its caller's, and all."""
    person = gate.person if gate and gate.person else ""
    return ("person", person), ("caller", caller), ("all", "")
