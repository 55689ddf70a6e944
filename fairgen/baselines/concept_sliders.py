"""Concept Sliders: a low-rank slider a category, pulled towards it and away from another.

Source: Gandikota et al., arXiv 2311.12092, method section. For category k with its word c+, another
category's word c- and the neutral prompt g,

    eps_k(x_t, g)  <-  eps(x_t, g) + eta * (eps(x_t, c+) - eps(x_t, c-))

With their rank of 4, here on the cross-attention projections. Which slider is on is a coin's
choice: a slider knows no distribution.
"""

import random

from fairgen.attributes import render
from fairgen.backbones import Backbone
from fairgen.baselines.gated import Gated
from fairgen.baselines.partial_denoising import Example, learn
from fairgen.baselines.system import BaselineTask, Cost, Weights

ETA = 1.0
RANK = 4
LEARNING_RATE = 5e-3


class ConceptSliders(Gated):
    """Switches on the sliders of what is asked; `setting` is their scale."""

    title = "Concept Sliders"
    source = "arXiv 2311.12092"
    knob = "scale"
    settings = (0.5, 1.0, 1.5, 2.0)
    both_branches = True

    @classmethod
    def train(cls, backbone: Backbone, lesson: BaselineTask) -> tuple[Weights, Cost]:
        """Return a slider a category."""
        attributes = {attribute.name: attribute for attribute in lesson.attributes}

        def example(rng: random.Random, attribute: str, category: str) -> Example:
            template, concept = rng.choice(lesson.templates), rng.choice(lesson.concepts)
            words = {c.name: c.word for c in attributes[attribute].categories}
            other = rng.choice([word for name, word in words.items() if name != category])
            neutral = render(template, concept)
            towards = render(template, concept, [words[category]])
            away = render(template, concept, [other])
            return Example(neutral, {neutral: 1.0, towards: ETA, away: -ETA})

        return learn(
            backbone,
            lesson,
            example,
            rank=RANK,
            learning_rate=LEARNING_RATE,
        )
