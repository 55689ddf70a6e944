"""The rows of a training batch: their prompts, and the peers whose adapters are on beside them."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fairgen.attributes import Attribute, adapter_name, render

_PEER_ON_PROBABILITY = 0.8  # how likely each other attribute is on in a row with peers


@dataclass
class TrainingRow:
    """One trajectory in flight: the adapted model's prompt, and g and d_k for the frozen one."""

    category: int
    adapted_prompt: str
    neutral_prompt: str
    category_prompt: str
    peers: list[str]
    step_index: int


@dataclass(frozen=True)
class TrainingRowSource:
    """Draws the rows of one attribute, `attributes` being all that prompts may name.

    `peers` maps another attribute to the categories whose adapters may be on. The probabilities are
    those of `DiscoveryConfig`.
    """

    attribute: Attribute
    attributes: Sequence[Attribute]
    concepts: Sequence[str]
    templates: Sequence[str]
    peers: Mapping[str, Sequence[str]]
    mix_attributes: float
    counterfactual_probability: float
    peer_probability: float

    def draw(self, rng: random.Random, category: int) -> TrainingRow:
        """Return a fresh row of a category, counted on past the last from the first."""
        category %= len(self.attribute.names)
        template, concept = rng.choice(self.templates), rng.choice(self.concepts)
        own = self.attribute.categories[category].word
        if self.peers and rng.random() < self.peer_probability:
            return self._draw_with_peers(rng, category, template, concept)
        words: dict[str, str] = {}
        for other in self._others:
            if rng.random() < self.mix_attributes / len(self._others):
                words[other.name] = rng.choice(other.categories).word
        category_prompt = self._prompt(template, concept, words | {self.attribute.name: own})
        if rng.random() < self.counterfactual_probability:
            opposite = [c.word for c in self.attribute.categories if c.word != own]
            words[self.attribute.name] = rng.choice(opposite)
        neutral_prompt = self._prompt(template, concept, words)
        return TrainingRow(
            category, neutral_prompt, neutral_prompt, category_prompt, [], step_index=0
        )

    @property
    def _others(self) -> list[Attribute]:
        return [found for found in self.attributes if found.name != self.attribute.name]

    def _draw_with_peers(
        self, rng: random.Random, category: int, template: str, concept: str
    ) -> TrainingRow:
        """Return a row in which adapters of the other attributes are on, all or some of them."""
        words: dict[str, str] = {}
        peers = []
        for other in self._others:
            if other.name in self.peers and rng.random() < _PEER_ON_PROBABILITY:
                chosen = other.category(rng.choice(self.peers[other.name]))
                words[other.name] = chosen.word
                peers.append(adapter_name(other.name, chosen.name))
        own = {self.attribute.name: self.attribute.categories[category].word}
        return TrainingRow(
            category,
            render(template, concept),
            self._prompt(template, concept, words),
            self._prompt(template, concept, words | own),
            peers,
            step_index=0,
        )

    def _prompt(self, template: str, concept: str, words: Mapping[str, str]) -> str:
        """Return a prompt whose first attribute's word stands next to the concept.

        In the order that captions use, several words are obeyed better than in another.
        """
        order = [found.name for found in reversed(self.attributes) if found.name in words]
        return render(template, concept, [words[name] for name in order])
