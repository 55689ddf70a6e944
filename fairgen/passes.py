"""The passes of a pipeline's denoiser, told apart by what their rows read.

A row that reads the prompt is conditional and wears its picture's adapters, since an adapter stands
for words in the prompt: in a batch with unconditional rows, in a pass of its own, and in a pass of
which something is taken away (skip-layer guidance, perturbed attention). A row that reads the
negative prompt stays bare. No layout of the batch is assumed but that pictures keep their order.
"""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from fairgen.backbones import Backbone
from fairgen.bank import ActiveDirections, AdapterBank, LayerNotReached

Embedded = Tensor | list[Tensor]  # prompts, a row each


class PassGates:
    """Gates every pass of a family's pipeline while it paints N pictures of one prompt."""

    def __init__(self, backbone: Backbone, bank: AdapterBank) -> None:
        self._backbone, self._bank = backbone, bank
        self._gates_NK = torch.empty(0, 0)
        self._encoded_with: Mapping[str, Any] = {}  # the arguments
        self._prompts: list[Embedded] = []  # the prompt's embedding, then what else was encoded
        self._given: list[Embedded] = []  # in their place where nothing was
        # by what a pass reads, and which layers it skips
        self._known: list[tuple[Embedded, frozenset[str], ActiveDirections]] = []
        self._num_gated = 0

    @contextmanager
    def gating(self, gates_NK: Tensor, embedded: Sequence[Embedded] = ()) -> Iterator[None]:
        """Let the pipeline's next call wear gates, N pictures x K adapters; zeros leave it alone.
        `embedded` are the prompt and the negative one where the pipeline is given them embedded:
        some encode nothing then.

        Raises ValueError where a pass reads another prompt than the pipeline has encoded,
        LayerNotReached where adapters did not act on a conditional pass, or there was none.
        """
        if not bool(gates_NK.any()):
            yield
            return
        self._gates_NK, self._prompts, self._known, self._num_gated = gates_NK, [], [], 0
        self._given = list(embedded)
        self._encoded_with = {}
        denoiser = self._backbone.denoiser
        signature = inspect.signature(type(denoiser).forward)  # a helper's own names no argument
        with ExitStack() as undo:
            undo.enter_context(torch.compiler.set_stance("force_eager"))
            undo.enter_context(self._keeping_prompts())
            present = undo.enter_context(ExitStack())  # the gates of the pass that runs now

            def begin(_: nn.Module, args: tuple[Any, ...], options: dict[str, Any]) -> None:
                given = signature.bind(denoiser, *args, **options).arguments
                given |= given.pop("kwargs", {})
                directions = self._directions(given)
                known = {**self._encoded_with, **given}
                positions = self._backbone.positions_in(known) if directions.num_active else None
                present.enter_context(self._bank.gated(directions, positions))

            def end(*_: object) -> None:
                present.close()

            undo.callback(denoiser.register_forward_pre_hook(begin, with_kwargs=True).remove)
            undo.callback(denoiser.register_forward_hook(end).remove)
            yield
        if not self._num_gated:
            raise LayerNotReached(
                "adapters: the pipeline has painted without a conditional pass of the "
                f"{self._backbone.denoiser_name} that they were loaded into; was it exchanged?"
            )

    @contextmanager
    def _keeping_prompts(self) -> Iterator[None]:
        """Keep what the pipeline encodes inside the `with`."""
        pipe: Any = self._backbone.pipe
        own = vars(pipe).get("encode_prompt")
        encode = pipe.encode_prompt
        signature = inspect.signature(encode)

        def encode_and_keep(*args: Any, **options: Any) -> Any:
            self._encoded_with = signature.bind(*args, **options).arguments
            encoded = encode(*args, **options)
            parts: list[Embedded] = [part for part in encoded if _is_embedded(part)]
            self._prompts += [part for part in parts if part[0].ndim == parts[0][0].ndim]
            return encoded

        pipe.encode_prompt = encode_and_keep
        try:
            yield
        finally:
            del pipe.encode_prompt
            if own is not None:
                pipe.encode_prompt = own

    def _directions(self, given: Mapping[str, Any]) -> ActiveDirections:
        """Return what the rows of a pass wear, by the denoiser's arguments: computed once for all
        passes that read the same.
        """
        read = given[self._backbone.prompt_argument]
        skipped = self._backbone.skipped_projections(given)
        directions = self._known_for(read, skipped)
        if directions is None:
            called = [path for path in self._bank.projections if path not in skipped]
            directions = self._bank.active_directions(self._gates_of(read), called)
            self._known.append((read, skipped, directions))
        self._num_gated += directions.num_active > 0
        return directions

    def _known_for(self, read: Embedded, skipped: frozenset[str]) -> ActiveDirections | None:
        for known, left_out, directions in self._known:
            if known is read and left_out == skipped:
                return directions
        return None

    def _gates_of(self, read: Embedded) -> Tensor:
        """Return the gates of a pass, M rows x K: the pictures' own on conditional rows."""
        device = read[0].device
        gates_NK = self._gates_NK.to(device)
        num_images, num_rows = len(gates_NK), len(read)
        prompts = self._prompts or self._given
        conditional = _rows_that_read(read, prompts[:1])
        unconditional = _rows_that_read(read, prompts[1:])
        either = conditional & unconditional
        if bool(either.any()):  # both prompts are one: in a batch unconditional rows come first
            if num_rows == num_images:
                raise ValueError(
                    "prompt: got what the negative prompt is, too (an empty one where none is "
                    "given), and each has a pass of its own; allowed are two that differ"
                )
            conditional &= ~(either & (torch.arange(num_rows, device=device) < num_images))
        if not bool((conditional | unconditional).all()):
            raise ValueError(
                "prompt: the denoiser reads an embedding that the pipeline has not encoded (a "
                "callback may have changed it); allowed are the prompt's and the negative prompt's"
            )
        at = conditional.nonzero().flatten()
        if len(at) % num_images:
            raise ValueError(
                f"prompt: got {len(at)} conditional rows in a pass, allowed are multiples of the "
                f"{num_images} pictures"
            )
        gates_MK = gates_NK.new_zeros(num_rows, gates_NK.shape[1])
        gates_MK[at] = gates_NK.repeat(len(at) // num_images, 1)
        return gates_MK


def _is_embedded(part: object) -> bool:
    """Return whether a part of what was encoded holds embedded prompts."""
    if isinstance(part, list):
        return bool(part) and all(isinstance(row, Tensor) for row in part)
    return isinstance(part, Tensor)


def _rows_that_read(read: Embedded, prompts: Sequence[Embedded]) -> Tensor:
    """Return which of M rows are one of the embedded prompts."""
    found = torch.zeros(len(read), dtype=torch.bool, device=read[0].device)
    for prompt in prompts:
        row = prompt[0].to(read[0])
        if isinstance(read, Tensor):
            if row.shape == read.shape[1:]:
                found |= (read == row).flatten(1).all(dim=1)
        else:
            found |= torch.tensor([torch.equal(one, row) for one in read], device=found.device)
    return found
