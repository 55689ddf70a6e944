"""What a row of a training batch is asked: its prompts, and whose adapters are on beside it."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fairgen.attributes import Attribute, adapter_name, render

_IN_COMPANY = 0.8  # how likely each other attribute is on in a row in company


@dataclass
class Row:
    """One trajectory in flight: what the adapted model is told, and the frozen one's g and d_k."""

    category: int
    told: str
    neutral: str
    named: str
    company: list[str]
    place: int


@dataclass(frozen=True)
class RowSource:
    """Draws the rows of one attribute, `attributes` being all that prompts may name.

    `company` holds, by other attribute, the categories whose adapters may be on. The shares are
    those of `DiscoveryConfig`.
    """

    attribute: Attribute
    attributes: Sequence[Attribute]
    concepts: Sequence[str]
    templates: Sequence[str]
    company: Mapping[str, Sequence[str]]
    mix_attributes: float
    oppose: float
    company_share: float

    def draw(self, rng: random.Random, category: int) -> Row:
        """Return a fresh row of a category, counted on past the last from the first."""
        category %= len(self.attribute.names)
        template, concept = rng.choice(self.templates), rng.choice(self.concepts)
        own = self.attribute.categories[category].word
        if self.company and rng.random() < self.company_share:
            return self._in_company(rng, category, template, concept)
        words: dict[str, str] = {}
        for other in self._others:
            if rng.random() < self.mix_attributes / len(self._others):
                words[other.name] = rng.choice(other.categories).word
        named = self._prompt(template, concept, words | {self.attribute.name: own})
        if rng.random() < self.oppose:
            opposite = [c.word for c in self.attribute.categories if c.word != own]
            words[self.attribute.name] = rng.choice(opposite)
        neutral = self._prompt(template, concept, words)
        return Row(category, neutral, neutral, named, [], place=0)

    @property
    def _others(self) -> list[Attribute]:
        return [found for found in self.attributes if found.name != self.attribute.name]

    def _in_company(self, rng: random.Random, category: int, template: str, concept: str) -> Row:
        """Return a row in which adapters of the other attributes are on, all or some of them."""
        words: dict[str, str] = {}
        company = []
        for other in self._others:
            if other.name in self.company and rng.random() < _IN_COMPANY:
                chosen = other.category(rng.choice(self.company[other.name]))
                words[other.name] = chosen.word
                company.append(adapter_name(other.name, chosen.name))
        own = {self.attribute.name: self.attribute.categories[category].word}
        return Row(
            category,
            render(template, concept),
            self._prompt(template, concept, words),
            self._prompt(template, concept, words | own),
            company,
            place=0,
        )

    def _prompt(self, template: str, concept: str, words: Mapping[str, str]) -> str:
        """Return a prompt whose first attribute's word stands next to the concept.

        In the order that captions use, several words are obeyed better than in another.
        """
        order = [found.name for found in reversed(self.attributes) if found.name in words]
        return render(template, concept, [words[name] for name in order])
