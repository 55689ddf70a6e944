"""The indicator's service: the prompt gate, exact quotas, and the ledger of what was given."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from fairgen.attributes import Attribute
from fairgen.calibration import Confusion, calibrated
from fairgen.gate import GateDecision, decide, decide_rewriting, without_additions
from fairgen.indicator import TargetDistribution
from fairgen.ledger import Ledger, stream_keys
from pipelines.recipe import Recipe
from pipelines.serve.ledger_store import Batch, LedgerStore, LedgerWriter
from pipelines.serve.reservations import Reservations
from pipelines.serve.retries import Retry
from pipelines.serve.schemas import Fairness
from pipelines.serve.settings import ServeSettings

_MAX_PROMPTS, _MAX_TARGETS = 4096, 1024
_MARGIN_S = 60.0  # beyond a request's time limit: nothing is heard of it any more


@dataclass(frozen=True)
class Asked:
    """What of a request decides on its pictures.

    `original_prompt` is what the user wrote where `prompt` is a rewriting of it. `cut_at` is the
    index of the first character of the prompt that no text encoder reads, None where all is read.
    """

    prompt: str
    num_images: int = 1
    fairness: Fairness | None = None
    caller: str = ""
    negative_prompt: str | None = None
    original_prompt: str | None = None
    cut_at: int | None = None


@dataclass(frozen=True)
class Assigned:
    """One picture's categories, and how likely they were under the target."""

    categories: dict[str, str]
    probability: float


@dataclass(frozen=True)
class Assignment:
    """A request's pictures, and what the gate said; no gate is asked when fairness is off.

    `prompt` is what is painted: a rewritten one without `removed`, what only the rewriting named of
    the person. `reservation` is what the pictures are settled by, "" where the ledger counts none
    of them.
    """

    pictures: list[Assigned]
    gate: GateDecision | None
    prompt: str
    removed: tuple[str, ...] = ()
    reservation: str = ""


@dataclass(frozen=True)
class Claim:
    """What was assigned to a request, and what it was decided by: who asked holds it until it is on
    disk.
    """

    asked: Asked
    served: Mapping[str, Confusion | None]
    retry: Retry | None
    assignment: Assignment


@dataclass(frozen=True)
class Ended:
    """A request that has ended, and the indices of its pictures that nobody got."""

    reservation: str
    lost: tuple[int, ...] = ()


@dataclass(frozen=True)
class _Reading:
    """What a request asks for: the prompt to paint, what its pictures are counted by, and the
    target, None where nothing is free.
    """

    prompt: str
    words: str
    removed: tuple[str, ...] = ()
    gate: GateDecision | None = None
    target: TargetDistribution | None = None


class IndicatorService:
    """Decides what every picture of every request shows; the only state is the ledger, which lies
    in the settings' database, or below their home folder. One event loop may call it.
    """

    def __init__(self, settings: ServeSettings, recipe: Recipe) -> None:
        """Take the ledger over from whoever kept it before.

        Raises ValueError when the default fairness names what the attributes do not have, or when
        the ledger's database cannot be used.
        """
        self._attributes, self._default = recipe.attributes, settings.fairness
        self._gate = lru_cache(_MAX_PROMPTS)(
            lambda prompt, negative: decide(prompt, self._attributes, negative)
        )
        self._rewritten = lru_cache(_MAX_PROMPTS)(
            lambda original, prompt: without_additions(original, prompt, self._attributes)
        )
        self._target = lru_cache(_MAX_TARGETS)(self._read_target)
        self._calibrate = settings.calibrate
        if isinstance(settings.fairness, dict):
            TargetDistribution.from_request(settings.fairness, recipe.attributes)
        store = _store(settings, recipe.registry.prefix)
        self._ledger = Ledger(recorded=store is not None)
        self._reservations = Reservations(self._ledger, settings.limits.timeout_s + _MARGIN_S)
        if store is not None:
            kept = store.load()
            self._ledger.restore({key: found for key, found in kept.streams.items() if found})
            self._reservations.restore(
                {name: found for name, found in kept.reservations.items() if found}
            )
        self._writer = LedgerWriter(store, self._changes)

    async def assign(
        self,
        asked: Asked,
        served: Mapping[str, Confusion | None],
        retry: Retry | None = None,
        name: str = "",
    ) -> Assignment:
        """Return what `decided` does, once it is on disk."""
        found = self.decided(asked, served, retry, name)
        if found.reservation:
            await self._writer.kept()
        return found

    def decided(
        self,
        asked: Asked,
        served: Mapping[str, Confusion | None],
        retry: Retry | None = None,
        name: str = "",
    ) -> Assignment:
        """Return the next pictures of a prompt's stream under the asked target; they count for the
        person that the prompt shows, for the caller, and in all traffic, too. Nobody may get one
        before `note` has returned. The gate reads the user's own words, as far as an encoder reads
        them. A next try gets the pictures of the one that it repeats, and so does who asks for a
        reservation of the same name again.

        `served` holds the attributes that have adapters, with the confusion of those that were
        measured. An attribute that the gate does not free is left out of the target. Raises
        ValueError for a target that cannot be met.
        """
        reading = self._read(asked, served)
        if reading.target is None:
            nothing = [Assigned({}, 1.0)] * asked.num_images
            return Assignment(nothing, reading.gate, reading.prompt, reading.removed)
        repeated = self._reservations.repeat(retry.key) if retry and retry.again else None
        if repeated is None:
            keys, by = self._counted_by(asked, served, reading, reading.target)
            kept_by = retry.key if retry else ""
            repeated = self._reservations.assign(keys, by, asked.num_images, kept_by, name)
        reservation, found = repeated
        pictures = [
            Assigned(
                dict(zip(found.target.attributes, found.target.cells[cell], strict=True)),
                found.target.probabilities[cell],
            )
            for cell in found.cells
        ]
        return Assignment(pictures, reading.gate, reading.prompt, reading.removed, reservation)

    async def note(self, notes: Sequence[Claim | Ended]) -> None:
        """Return once what was decided, and how requests have ended, is on disk. What another
        indicator has decided, and lost with its process, counts as it was decided.
        """
        for note in notes:
            if isinstance(note, Ended):
                self._reservations.settle(note.reservation, note.lost)
            elif note.assignment.reservation not in self._reservations:
                self._take_over(note)
        await self._writer.kept()

    def _take_over(self, claim: Claim) -> None:
        """Count what was decided, unless it was by settings that are not ours."""
        asked, assignment = claim.asked, claim.assignment
        try:
            reading = self._read(asked, claim.served)
        except ValueError:
            return
        if reading.target is None:
            return
        keys, by = self._counted_by(asked, claim.served, reading, reading.target)
        indices = {cell: index for index, cell in enumerate(by.cells)}
        shown = [
            tuple(picture.categories.get(name, "") for name in by.attributes)
            for picture in assignment.pictures
        ]
        if indices.keys() >= set(shown):
            cells = tuple(indices[cell] for cell in shown)
            kept_by = claim.retry.key if claim.retry else ""
            self._reservations.take_over(assignment.reservation, keys, by, cells, kept_by)

    def _read(self, asked: Asked, served: Mapping[str, Confusion | None]) -> _Reading:
        """Ask the gate, unless fairness is off. Raises ValueError for a target that cannot be
        met.
        """
        wanted = self._wanted(asked.fairness, served)
        if wanted == "off":
            return _Reading(asked.prompt, asked.prompt)
        prompt, removed = asked.prompt, tuple[str, ...]()
        words = prompt[: asked.cut_at]
        if asked.original_prompt is not None:
            words = asked.original_prompt
            rewriting = self._rewritten(words, prompt)
            prompt, removed = rewriting.prompt, rewriting.removed
        gate = self._gate(words, asked.negative_prompt)
        if asked.original_prompt is not None:
            gate = decide_rewriting(
                gate, prompt, self._attributes, lambda text, *_: self._gate(text, None)
            )
        target = self._target(json.dumps(wanted), tuple(served), gate.free)
        return _Reading(prompt, words, removed, gate, target)

    def _counted_by(
        self,
        asked: Asked,
        served: Mapping[str, Confusion | None],
        reading: _Reading,
        target: TargetDistribution,
    ) -> tuple[tuple[bytes, ...], TargetDistribution]:
        """Return the ledger's streams of a request, and what cells are assigned by."""
        by = target
        if self._calibrate:
            by = calibrated(target, {n: found for n, found in served.items() if found})
        return stream_keys(reading.words.strip(), target, _levels(reading.gate, asked.caller)), by

    def _changes(self) -> Batch:
        """Return what the ledger's database does not know yet."""
        return Batch(self._ledger.changes(), self._reservations.changes())

    def _wanted(
        self, fairness: Fairness | None, served: Mapping[str, Confusion | None]
    ) -> Fairness:
        """Return the fairness of a request: its own, the settings', or uniform over all served."""
        if fairness is not None:
            return fairness
        if self._default is not None:
            return self._default
        return dict.fromkeys(self._served(tuple(served)), "uniform") or "off"

    def _served(self, names: tuple[str, ...]) -> dict[str, Attribute]:
        return {a.name: a for a in self._attributes if a.name in names}

    def _read_target(
        self, wanted: str, names: tuple[str, ...], free: tuple[str, ...]
    ) -> TargetDistribution | None:
        """Return the target that a fairness asks for as JSON, over what is free of the served;
        None where nothing is.
        """
        served = list(self._served(names).values())
        target = TargetDistribution.from_request(json.loads(wanted), served)
        left = [name for name in target.attributes if name in free]
        return target.marginalised(left) if left else None


def _levels(gate: GateDecision | None, caller: str) -> tuple[tuple[str, str], ...]:
    """Return the streams above a prompt's: its person's, its caller's, and all."""
    person = gate.person if gate and gate.person else ""
    return ("person", person), ("caller", caller), ("all", "")


def _store(settings: ServeSettings, endpoint: str) -> LedgerStore | None:
    """Return where the settings keep the ledger of an endpoint."""
    if settings.ledger is not None:
        return LedgerStore(settings.ledger.get_secret_value(), endpoint)
    if settings.home is not None:
        return LedgerStore.below(settings.home, endpoint)
    return None
