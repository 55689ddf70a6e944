"""FairGen as its official code has it: the yardstick for what this project changed.

Rank 1 on all four cross-attention projections, strength 1, and an empty neutral prompt: adapter k
learns to answer "" as the frozen model answers the category's word,

    eps_k(x_t, "")  <-  eps(x_t, "") + 1 * (eps(x_t, d_k) - eps(x_t, "")) = eps(x_t, d_k).

Each gradient pays for its own partly denoised trajectory, the adapter acts on both branches of
guidance, attributes are trained apart, and one category is drawn for all pictures of a call.
Source: arXiv 2412.18810 and its published settings.
"""

import random
from collections.abc import Iterator

from fairgen.attributes import render
from fairgen.backbones import Backbone
from fairgen.baselines.gated import Gated
from fairgen.baselines.partial_denoising import Example, LowRankTrainer, learning
from fairgen.baselines.system import BaselineTask, Cost, Weights

LEARNING_RATE = 2e-3


class Official(Gated):
    """Switches on the official adapters of what is asked; `setting` multiplies them."""

    title = "official FairGen"
    source = "arXiv 2412.18810"
    knob = "scale"
    settings = (0.5, 0.75, 1.0, 1.5)
    both_branches = True

    @classmethod
    def train(cls, backbone: Backbone, lesson: BaselineTask) -> tuple[Weights, Cost]:
        """Return an adapter a category."""
        *_, last = cls.learning(backbone, lesson)
        return last.weights(), last.cost

    @staticmethod
    def learning(backbone: Backbone, lesson: BaselineTask) -> Iterator[LowRankTrainer]:
        """Yield what is learnt after every update."""
        attributes = {attribute.name: attribute for attribute in lesson.attributes}

        def example(rng: random.Random, attribute: str, category: str) -> Example:
            word = attributes[attribute].category(category).word
            named = render(rng.choice(lesson.templates), "person", [word])
            return Example("", {"": 0.0, named: 1.0})  # as theirs does, it pays for both

        return learning(
            backbone,
            lesson,
            example,
            rank=1,
            learning_rate=LEARNING_RATE,
        )
