"""How a family's own pipeline is called, and what a pass of its denoiser reads."""

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, ClassVar

import torch
from diffusers import DiffusionPipeline

from fairgen.backbones.prompt_contexts import PromptContexts
from fairgen.bank import Positions

_TEXTS = re.compile(r"prompt_\d|negative_prompt(_\d)?")  # beside the prompt


class PipelineCall(PromptContexts):
    """What differs between the families' pipelines for whoever calls them.

    `pipe_options` are arguments without which a pipeline would change the size or the prompt that
    it was asked for. `prompt_argument` is the denoiser's argument that holds the embedded prompts,
    a row each, or a list of them. `takes_pictures` says that the family has pipelines that begin
    from a picture, img2img and inpainting. `instruction_argument` is the pipeline's argument for
    the lines that it puts before a prompt, which a language model reads first; "" where there is
    none. `hands_generators_on` says that its scheduler draws noise from the generators that the
    pipeline is given. `most_clip_tokens` is how many a CLIP reads at most, where that is no limit
    of its tokenizer's. `embedded_argument` is the pipeline's argument for an embedded prompt.
    """

    pipe: DiffusionPipeline
    _instruction: str | None  # None is the pipeline's own

    pipe_options: ClassVar[Mapping[str, Any]] = {}
    prompt_argument: ClassVar[str] = "encoder_hidden_states"
    takes_pictures: ClassVar[bool] = True
    instruction_argument: ClassVar[str] = ""
    hands_generators_on: ClassVar[bool] = True
    most_clip_tokens: ClassVar[int | None] = None
    embedded_argument: ClassVar[str] = "prompt_embeds"

    def prompts_in(self, prompt: object, options: Mapping[str, Any]) -> list[str | None]:
        """Return the prompts of a call, None for the one that is embedded among its options.

        Raises ValueError for what is no prompt, and for both kinds or several embedded ones.
        """
        embedded = options.get(self.embedded_argument)
        if embedded is not None and len(embedded) != 1:
            got = f"{len(embedded)} rows"
            raise ValueError(f"{self.embedded_argument}: got {got}, allowed is 1")
        if embedded is not None and prompt is None:
            return [None]
        texts: Any = [prompt] if isinstance(prompt, str) else prompt
        is_list = isinstance(texts, list | tuple) and all(isinstance(text, str) for text in texts)
        if embedded is not None or not is_list or not texts:
            beside = "without" if embedded is None else "with"
            raise ValueError(
                f"prompt: got {type(prompt).__name__} {beside} {self.embedded_argument}, allowed "
                "is one text, a list of them, or one embedded prompt"
            )
        return list(texts)

    def options_of_each(self, num_prompts: int, options: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Return the options of each prompt's call: of a list of negative prompts, or of texts for
        further encoders, the one that is its own.

        Raises ValueError for a list of another length.
        """
        each = [dict(options) for _ in range(num_prompts)]
        for name, texts in options.items():
            if not _TEXTS.fullmatch(name) or not isinstance(texts, list | tuple):
                continue
            if len(texts) != num_prompts:
                raise ValueError(
                    f"{name}: got {len(texts)} texts, allowed is one for all prompts, or a list of "
                    f"as many, {num_prompts}"
                )
            for own, text in zip(each, texts, strict=True):
                own[name] = text
        return each

    def embedded_in(self, options: Mapping[str, Any]) -> list[Any]:
        """Return the embedded prompt of a call and the negative one, as far as they are given."""
        names = self.embedded_argument, f"negative_{self.embedded_argument}"
        return [options[name] for name in names if options.get(name) is not None]

    def call_options(self, num_images: int, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments with which the pipeline paints several pictures of one prompt."""
        own = {**self.pipe_options, **self.instruction_options(self.instruction_in({}))}
        return {"num_images_per_prompt": num_images, **own, **options}

    def first_step(self, num_steps: int, strength: float) -> int:
        """Return the step with which a picture is begun that is there already: as the family's own
        img2img pipeline rounds; `num_steps` where none is left.
        """
        return num_steps - min(int(num_steps * strength), num_steps)

    def positions_in(self, arguments: Mapping[str, Any]) -> Positions | None:
        """Return where the adapted layers read the prompt in a pass that the pipeline makes, by the
        arguments of the denoiser and those with which prompts were encoded; None where they read
        nothing else.
        """
        return None

    def read_as(self, prompt: str) -> str:
        """Return a prompt as the pipeline gives it to its tokenizers, character by character."""
        return prompt

    def as_read(self, prompt: str, instruction: str) -> tuple[str, int]:
        """Return the text that the tokenizers are given, and how many characters of it more than of
        the prompt stand before one of the prompt's.
        """
        text = instruction + self.read_as(prompt)
        return text, len(text.rstrip()) - len(prompt.rstrip())

    def instruction_in(self, options: Mapping[str, Any]) -> str:
        """Return what a call of the pipeline puts before the prompt."""
        if not self.instruction_argument:
            return ""
        if self.instruction_argument in options:
            return "\n".join(options[self.instruction_argument] or ())
        if self._instruction is not None:
            return self._instruction
        parameters = inspect.signature(type(self.pipe).__call__).parameters
        return "\n".join(parameters[self.instruction_argument].default)

    def instruction_options(self, instruction: str) -> dict[str, Any]:
        """Return the argument with which the pipeline puts an instruction before the prompt."""
        if not self.instruction_argument:
            return {}
        return {self.instruction_argument: [instruction] if instruction else None}

    @property
    def max_tokens(self) -> int | None:
        """How many tokens of a prompt the pipeline reads where it is told nothing else; None where
        its tokenizers say so.
        """
        for call in (type(self.pipe).__call__, self.pipe.encode_prompt):
            if found := inspect.signature(call).parameters.get("max_sequence_length"):
                return found.default
        return None

    def longest_prompt(self, asked: int | None) -> int | None:
        """Return how many tokens of a prompt the pipeline reads where its `max_sequence_length` is
        `asked`, None its own.
        """
        return asked or self.max_tokens

    @contextmanager
    def drawing_from(self, generators: Sequence[torch.Generator]) -> Iterator[None]:
        """Inside the `with`, the scheduler draws its noise from a generator a picture."""
        scheduler: Any = self.pipe.scheduler
        step = scheduler.step
        draws = "generator" in inspect.signature(step).parameters
        if self.hands_generators_on or not draws:
            yield
            return
        scheduler.step = partial(step, generator=list(generators))
        try:
            yield
        finally:
            del scheduler.step

    def num_tokens_before(self, tokenizer: Any, instruction: str) -> int:
        """Return how many tokens an encoder reads besides those of a prompt's own number."""
        return 0

    def skipped_projections(self, options: Mapping[str, Any]) -> frozenset[str]:
        """Return the layers that a pass of the pipeline leaves out on purpose, by what else it
        gives the denoiser.
        """
        return frozenset()


def reader_of(pipe: Any, name: str) -> Any:
    """Return a component by which adapters find the prompt's own tokens among those that the
    denoiser reads. Raises ValueError where it was taken off the pipeline.
    """
    if (part := getattr(pipe, name, None)) is None:
        raise ValueError(
            f"{name}: got None, allowed is the pipeline's own: adapters act at the prompt's "
            "tokens, and where these stand among embedded ones is found with it"
        )
    return part


def repeated_prompts(options: Mapping[str, Any], num_images: int) -> dict[str, Any]:
    """Return a call's arguments with its embedded prompts repeated, if it has any, where the
    pipeline itself does not repeat all of them.
    """
    found = dict(options)
    if found.get("prompt_embeds") is None:
        return found
    for name, given in found.items():
        if name.endswith(("prompt_embeds", "prompt_attention_mask")) and given is not None:
            found[name] = (
                [row for row in given for _ in range(num_images)]  # each as long as its prompt
                if isinstance(given, list)
                else given.repeat_interleave(num_images, 0)
            )
    return found | {"num_images_per_prompt": 1}
