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
    ) -> Assignment:
        """Return the next pictures of this prompt's stream under the asked target.

        `served` holds the attributes that have adapters, with the confusion of those that were
        measured. An attribute that the gate does not free is left out of the target. Raises
        ValueError for a target that cannot be met.
        """
        attributes = [a for a in self._attributes if a.name in served]
        wanted = fairness if fairness is not None else self._default
        if wanted is None and attributes:
            wanted = {attribute.name: "uniform" for attribute in attributes}
        if wanted is None or wanted == "off":
            return Assignment([Assigned({}, 1.0)] * num_images, None)
        target = TargetDistribution.from_request(wanted, attributes)
        gate = self._gate(prompt)
        free = [name for name in target.attributes if name in gate.free]
        if not free:
            return Assignment([Assigned({}, 1.0)] * num_images, gate)
        asked = target = target.marginalised(free)
        if self._calibrate:
            target = calibrated(asked, {n: found for n, found in served.items() if found})
        cells = self._ledger.assign(prompt.strip(), asked, num_images, by=target)
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
