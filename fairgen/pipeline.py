"""The library's front door: any diffusers pipeline, its pictures in the prescribed distribution."""

import re
import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from hashlib import blake2b
from numbers import Integral
from pathlib import Path
from typing import Any, Literal, Self

import torch
from diffusers import DiffusionPipeline
from PIL import Image
from pydantic import BaseModel, ConfigDict

from fairgen.adapters import Adapter, attributes_of, load_adapters
from fairgen.attributes import Attribute, adapter_name
from fairgen.backbones import PromptReader, load_backbone
from fairgen.bank import AdapterBank
from fairgen.base_model import short, storage_of
from fairgen.gate import (
    Gate,
    GateDecision,
    decide,
    decide_rewriting,
    decide_together,
    foreign_signs,
    without_additions,
)
from fairgen.indicator import TargetDistribution
from fairgen.ledger import AssignmentMethod, Ledger, assign, check_method, stream_keys
from fairgen.passes import PassGates

Fairness = Mapping[str, object] | TargetDistribution | Literal["off"] | None
_OURS = {"num_images_per_prompt": "num_images", "generator": "seed"}
_BESIDE = re.compile(r"prompt_\d")  # texts of a pipeline's further encoders
_UNDESIRED = re.compile(r"negative_prompt(_\d)?")
_SEEDS, _MOST_SEED = 2**31, 2**63 - 1


class ImageRecord(BaseModel):
    """Where a picture comes from: its seed, its categories, how likely they were, what was on.

    `prompt` is None where an embedded one was given. `adapters` holds the first 12 hex digits of
    the weights' sha256 of each adapter by its name; `base` is the base model's fingerprint and
    `storage` how its weights are kept, such as "float16" or "nf4, bfloat16". `flagged` says that
    the base model's own safety checker made the picture black. `gate` is the gate's word on the
    prompt, with the reason for every attribute that was left alone; None where it was not asked.
    `removed` is what only a rewriting of the user's words named, and the prompt no longer holds.
    `prompt_cut_at` is the index of the first character that no text encoder read, `foreign_signs`
    what another tool gives a meaning, such as "(doctor:1.3)", and the pipeline reads as plain text.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: str | None
    seed: int
    categories: dict[str, str]
    probability: float
    adapters: dict[str, str]
    base: str
    storage: str
    flagged: bool = False
    gate: GateDecision | None = None
    removed: tuple[str, ...] = ()
    prompt_cut_at: int | None = None
    foreign_signs: tuple[str, ...] = ()


@dataclass(frozen=True)
class FairGenOutput:
    """Pictures and one record for each."""

    images: list[Image.Image]
    records: list[ImageRecord]


class FairGenPipeline:
    """Wraps a diffusers pipeline; with fairness off it is that pipeline, pixel by pixel.

    It remembers what was given, so that pictures of many calls follow the target together: those of
    one prompt, those of one person ("doctor", whatever else the prompts say), and all.

    The pipeline stays as it is: nothing of it is frozen, cast or moved, and `close` (or the end of
    a `with`) takes the bank's hooks off again. Calls of several threads wait for each other; the
    pipeline itself they may not call meanwhile.
    """

    def __init__(
        self,
        pipe: DiffusionPipeline,
        adapters: Sequence[Adapter | Path | str],
        *,
        siblings: bool = False,
        gate: Gate | None = decide,
        ledger: Ledger | None = None,
    ) -> None:
        """Load the adapters into a bank on the pipe's denoiser; with `siblings` also those of a
        model that this one was fine-tuned from, or with.

        `gate` says of a prompt which attributes it leaves open; None acts on every prompt. `ledger`
        is a ledger to go on with, None a new one. Raises ValueError for an adapter of another base
        model, one without effect, a file that cannot be trusted, and what is no list of them.
        """
        self.pipe = pipe
        self._one_at_a_time = threading.RLock()
        self._gate, self._ledger = gate, ledger if ledger is not None else Ledger()
        self._backbone = load_backbone(pipe)
        base = self._backbone.fingerprint
        self._base = short(base)
        self._storage, self._stored_as = "", frozenset[object]()
        self.adapters = load_adapters(adapters)
        for adapter in self.adapters:
            adapter.check_base(base, siblings)
        projections = list(dict.fromkeys(path for a in self.adapters for path in a.directions))
        self.bank = AdapterBank(
            self._backbone.denoiser, projections, self._backbone.device, self._backbone.columns()
        )
        for adapter in self.adapters:
            self.bank.check(adapter.name, adapter.directions)
            self.bank.add(adapter.name, adapter.directions)
        self._digests = {adapter.name: adapter.sha256[:12] for adapter in self.adapters}
        self._categories: dict[str, list[str]] = {}
        for metadata in (adapter.metadata for adapter in self.adapters):
            self._categories.setdefault(metadata.attribute, []).append(metadata.category)
        self._passes, self._reader = (
            PassGates(self._backbone, self.bank),
            PromptReader(self._backbone),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the adapters off the pipeline."""
        with self._one_at_a_time:
            self.bank.close()

    def to(self, *args: torch.device | torch.dtype | str) -> Self:
        """Move the pipeline as its own `to` does; the adapters follow wherever it runs."""
        self.pipe.to(*args)
        return self

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        """The attributes whose adapters are loaded. Raises ValueError for a lone category."""
        return attributes_of(self.adapters)

    def __call__(
        self,
        prompt: str | Sequence[str] | None = None,
        num_images: int = 1,
        fairness: Fairness = None,
        *,
        seed: int | None = None,
        categories: Mapping[str, str] | None = None,
        original_prompt: str | None = None,
        assignment: AssignmentMethod = "quota",
        batch_size: int = 16,
        **pipe_options: Any,
    ) -> FairGenOutput:
        """Return `num_images` pictures of each prompt with their records, prompt by prompt.

        `fairness` None means uniform over all loaded attributes, less what the prompt names itself.
        Without a `seed` the next pictures that the ledger owes are given, with a seed of torch's
        own generator. With one, pictures have the seeds seed, seed + 1, ..., and prompt and seed
        alone decide on the categories, so that the same call gives the same pictures again; the
        ledger does not count them, nor any picture of a call that raises. `categories` pins one
        category an attribute, whatever the prompt says: with a record's seed and categories its
        picture comes again. `original_prompt` is what the user wrote where the one prompt is a
        rewriting of it: the gate reads that, and what only the rewriting names of the person is
        taken out.

        `pipe_options` go to the wrapped pipeline as they are, prompt by prompt, and the gate reads
        the texts among them, such as `prompt_2`; a list of texts, such as negative prompts, holds
        one for each prompt. An embedded prompt is given as its `prompt_embeds` (and what else the
        family takes), with `prompt` left out, and no gate can read it. Raises ValueError for a
        request that the adapters cannot meet, and for options that would return no pictures, or
        another number of them; LayerNotReached where the adapters did not act, so that no record
        names one that the picture did not feel.
        """
        if refused := sorted({"output_type", "return_dict"} & pipe_options.keys()):
            raise ValueError(f"{refused[0]}: allowed are PIL pictures only, call `pipe` itself")
        if refused := sorted(_OURS.keys() & pipe_options.keys()):
            raise ValueError(f"{refused[0]}: allowed is {_OURS[refused[0]]!r} in its place")
        num_images = _whole("num_images", num_images, 1)
        batch_size = _whole("batch_size", batch_size, 1)
        if seed is not None:
            seed = _whole("seed", seed, 0, _MOST_SEED + 1 - num_images)
        check_method(assignment)
        prompts = self._backbone.prompts_in(prompt, pipe_options)
        if categories is not None and fairness is not None:
            raise ValueError("categories: got fairness beside it, allowed is one of both")
        if not isinstance(original_prompt, str | None):
            raise ValueError(f"original_prompt: got {original_prompt!r}, allowed is one text")
        if original_prompt is not None and (len(prompts) != 1 or prompts[0] is None):
            raise ValueError("original_prompt: allowed is one beside one prompt")
        options = self._backbone.options_of_each(len(prompts), pipe_options)
        asked = [
            self._asked(text, fairness, categories, original_prompt, own)
            for text, own in zip(prompts, options, strict=True)
        ]
        whole = FairGenOutput([], [])
        with self._one_at_a_time, ExitStack() as undelivered:
            self._look_at_storage()
            for one, own in zip(asked, options, strict=True):
                text, target = one.words, one.target
                first_seed = int(torch.randint(_SEEDS, ())) if seed is None else seed
                cells: list[int | None] = [None] * num_images
                if target is not None and seed is None and assignment == "quota":
                    streams = _streams(text, target, one.gate)
                    assigned = self._ledger.assign_to(streams, target, num_images)
                    cells = [*assigned]
                    for cell in assigned:
                        undelivered.callback(self._ledger.give_back, streams, target.cells[cell])
                elif target is not None:
                    cells = [*assign(target, num_images, _digest(first_seed, text), assignment)]
                records = [
                    self._record(one, first_seed + index, cell) for index, cell in enumerate(cells)
                ]
                for start in range(0, num_images, batch_size):
                    batch = self._paint(records[start : start + batch_size], own)
                    whole.images.extend(batch.images)
                    whole.records.extend(batch.records)
            undelivered.pop_all()
        return whole

    def _asked(
        self,
        prompt: str | None,
        fairness: Fairness,
        categories: Mapping[str, str] | None,
        original_prompt: str | None,
        pipe_options: Mapping[str, Any],
    ) -> "_Asked":
        """Return what is asked of a prompt's pictures, and what the gate said of it."""
        max_tokens = pipe_options.get("max_sequence_length")
        words = prompt if original_prompt is None else original_prompt
        before = self._backbone.instruction_in(pipe_options)
        cut_at = None if prompt is None else self._reader.cut_at(prompt, max_tokens, before)
        asked = _Asked(prompt, words, cut_at)
        if categories is not None:
            return replace(asked, target=self._pinned(categories))
        if fairness == "off" or (fairness is None and not self.adapters):
            return asked
        if isinstance(fairness, TargetDistribution):
            target = fairness
            target.check(self._categories)
        else:
            uniform = {attribute.name: "uniform" for attribute in self.attributes}
            wanted = uniform if fairness is None else fairness
            target = TargetDistribution.from_request(wanted, self.attributes)
        if self._gate is None or prompt is None or words is None:
            return replace(asked, target=target)
        attributes = [a for a in self.attributes if a.name in target.attributes]
        removed = tuple[str, ...]()
        if original_prompt is not None:
            rewriting = without_additions(original_prompt, prompt, attributes)
            prompt, removed = rewriting.prompt, rewriting.removed
            cut_at = self._reader.cut_at(prompt, max_tokens, before)
        else:
            words = prompt[:cut_at]
        beside, undesired = (_texts(pipe_options, name) for name in (_BESIDE, _UNDESIRED))
        gate = decide_together(
            self._gate, (words, *beside), attributes, ", ".join(undesired) or None
        )
        if original_prompt is not None:
            gate = decide_rewriting(gate, prompt, attributes, self._gate)
        free = [name for name in target.attributes if name in gate.free]
        left = target.marginalised(free) if free else None
        return _Asked(prompt, words, cut_at, left, gate, removed)

    def _pinned(self, categories: Mapping[str, str]) -> TargetDistribution | None:
        """Return the one cell that is asked for. Raises ValueError for what has no adapter."""
        known = self._categories
        if not isinstance(categories, Mapping):
            raise ValueError(
                f"categories: got {categories!r}, allowed is a table over {sorted(known)}, such as "
                "{'gender': 'woman'}"
            )
        for name, category in categories.items():
            if name not in known:
                raise ValueError(f"categories: got {name!r}, allowed are {sorted(known)}")
            if category not in known[name]:
                raise ValueError(f"categories.{name}: got {category!r}, allowed are {known[name]}")
        if not categories:
            return None
        return TargetDistribution(
            attributes=tuple(categories), cells=(tuple(categories.values()),), probabilities=(1.0,)
        )

    def _paint(
        self, records: Sequence[ImageRecord], pipe_options: Mapping[str, Any]
    ) -> FairGenOutput:
        """Run the pipe on one batch of a prompt, each conditional row with its picture's gates."""
        gates_NK = torch.tensor(
            [[float(name in record.adapters) for name in self.bank.names] for record in records]
        )
        self.bank.follow(self._backbone.device)
        generators = [torch.Generator().manual_seed(record.seed) for record in records]
        prompt = records[0].prompt
        given = pipe_options if prompt is None else {"prompt": prompt, **pipe_options}
        # some pipelines write into the lists that they are given, and the next batch has them again
        given = {k: list(v) if isinstance(v, list) else v for k, v in given.items()}
        options = self._backbone.call_options(len(records), given)
        embedded = self._backbone.embedded_in(options)
        with self._passes.gating(gates_NK, embedded), self._backbone.drawing_from(generators):
            output = self.pipe(generator=generators, **options)
        images = output[0]  # they have not the same name in all
        flags = getattr(output, "nsfw_content_detected", None) or [False] * len(images)
        return FairGenOutput(
            images,
            [
                record.model_copy(update={"flagged": bool(flag)})
                for record, flag in zip(records, flags, strict=True)
            ],
        )

    def _look_at_storage(self) -> None:
        """Look at how the weights are stored again where their types have changed."""
        denoiser = self._backbone.denoiser
        now = frozenset((type(p.data), p.dtype) for p in denoiser.parameters())
        if now != self._stored_as:
            self._storage, self._stored_as = storage_of(denoiser), now

    def _record(self, asked: "_Asked", seed: int, cell: int | None) -> ImageRecord:
        """Return the record of a picture of a cell, or of one without fairness."""
        target = asked.target
        categories: dict[str, str] = {}
        if target is not None and cell is not None:
            categories = dict(zip(target.attributes, target.cells[cell], strict=True))
        on = [adapter_name(attribute, category) for attribute, category in categories.items()]
        return ImageRecord(
            prompt=asked.prompt,
            seed=seed,
            categories=categories,
            probability=1.0 if target is None or cell is None else target.probabilities[cell],
            adapters={name: self._digests[name] for name in on},
            base=self._base,
            storage=self._storage,
            gate=asked.gate,
            removed=asked.removed,
            prompt_cut_at=asked.cut_at,
            foreign_signs=foreign_signs(asked.prompt or ""),
        )


@dataclass(frozen=True)
class _Asked:
    """What is painted of a prompt: `words` are the user's own as far as they are read, `target` is
    None for the base model's pictures.
    """

    prompt: str | None
    words: str | None
    cut_at: int | None
    target: TargetDistribution | None = None
    gate: GateDecision | None = None
    removed: tuple[str, ...] = ()


def _whole(field: str, got: int, least: int, most: int | None = None) -> int:
    """Return a whole number, numpy's as well. Raises ValueError for what is none, or too far."""
    is_whole = isinstance(got, Integral) and not isinstance(got, bool)
    if not is_whole or got < least or (most is not None and got > most):
        limit = "on" if most is None else f"to {most}"
        raise ValueError(f"{field}: got {got!r}, allowed are whole numbers from {least} {limit}")
    return int(got)


def _texts(pipe_options: Mapping[str, Any], name: re.Pattern[str]) -> list[str]:
    """Return the texts of the options that have such a name."""
    given = (value for option, value in pipe_options.items() if name.fullmatch(option))
    return [value for value in given if isinstance(value, str)]


def _streams(
    prompt: str | None, target: TargetDistribution, gate: GateDecision | None
) -> tuple[bytes, ...]:
    """Return the ledger's streams of a prompt, of its person and of all."""
    above = ("person", gate.person if gate and gate.person else ""), ("all", "")
    return stream_keys(prompt.strip() if prompt else "", target, above)


def _digest(seed: int, prompt: str | None) -> int:
    """Return 64 bits of a seed and a prompt: at one seed prompts differ in their categories."""
    text = f"{seed} {'' if prompt is None else prompt.strip()}"
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())
