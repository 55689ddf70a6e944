"""The base model as it is: what everything else is compared with."""

from PIL import Image

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


class Unmodified(System):
    """Paints the prompt; the categories asked for are not heard."""

    title = "base model"

    def __init__(
        self, backbone: Backbone, lesson: BaselineTask, weights: Weights, setting: float
    ) -> None:
        self._backbone = backbone

    def paint(self, ask: Ask, sampling: Sampling) -> list[Image.Image]:
        """Return the base model's pictures."""
        prompts = [ask.prompt] * len(ask.seeds)
        predict = guided_prediction(self._backbone, prompts, sampling)
        return sample(self._backbone, ask.seeds, sampling.num_steps, predict)
