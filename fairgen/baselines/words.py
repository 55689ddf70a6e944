"""The attribute's word in the prompt: the rival that everyone forgets.

"A photo of a doctor" becomes "a photo of an old brown-skinned female doctor". It costs nothing, and
changes what the prompt says.
"""

from PIL import Image

from fairgen.attributes import render
from fairgen.backbones import Backbone
from fairgen.baselines.system import (
    Ask,
    BaselineTask,
    System,
    Weights,
    guided_prediction,
    sample,
)
from fairgen.sampling import Sampling


class Words(System):
    """Names the asked categories in the prompt, in the order that the base model obeys best."""

    title = "words"

    def __init__(
        self, backbone: Backbone, lesson: BaselineTask, weights: Weights, setting: float
    ) -> None:
        self._backbone, self._lesson = backbone, lesson

    def paint(self, ask: Ask, sampling: Sampling) -> list[Image.Image]:
        """Return pictures of the prompts that name what is asked."""
        prompts = [
            render(ask.template, ask.concept, self._lesson.words(categories))
            for categories in ask.categories
        ]
        predict = guided_prediction(self._backbone, prompts, sampling)
        return sample(self._backbone, ask.seeds, sampling.num_steps, predict)
