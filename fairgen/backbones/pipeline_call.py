"""How a family's own pipeline is called, and what a pass of its denoiser reads."""

from collections.abc import Mapping
from typing import Any, ClassVar

from fairgen.positions import Positions


class PipelineCall:
    """What differs between the families' pipelines for whoever calls them.

    `pipe_options` are arguments without which a pipeline would change the size or the prompt that
    it was asked for. `prompt_argument` is the denoiser's argument that holds the embedded prompts,
    a row each, or a list of them. `takes_pictures` says that the family has pipelines that begin
    from a picture, img2img and inpainting.
    """

    pipe_options: ClassVar[Mapping[str, Any]] = {}
    prompt_argument: ClassVar[str] = "encoder_hidden_states"
    takes_pictures: ClassVar[bool] = True

    def call_options(self, num_images: int, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the arguments with which the pipeline paints several pictures of one prompt."""
        return {"num_images_per_prompt": num_images, **self.pipe_options, **options}

    def first_step(self, num_steps: int, strength: float) -> int:
        """Return the step with which a picture is begun that is there already: as the family's own
        img2img pipeline rounds; `num_steps` where none is left.
        """
        return num_steps - min(int(num_steps * strength), num_steps)

    def positions_in(self, arguments: Mapping[str, Any]) -> Positions | None:
        """Return where the adapted layers read the prompt in a pass that the pipeline makes, by the
        denoiser's arguments; None where they read nothing else.
        """
        return None

    def read_as(self, prompt: str) -> str:
        """Return a prompt as the pipeline gives it to its tokenizers, character by character."""
        return prompt

    def skipped_projections(self, options: Mapping[str, Any]) -> frozenset[str]:
        """Return the layers that a pass of the pipeline leaves out on purpose, by what else it
        gives the denoiser.
        """
        return frozenset()
