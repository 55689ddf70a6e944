"""Unified Concept Editing: cross-attention's keys and values, changed once and in closed form.

Source: Gandikota et al., arXiv 2308.14761, method section. Legend: c the embedding of a listed
concept's token, a_p the direction that naming category p gives it, alpha_p how far, W_0 the old
layer, P the embeddings to preserve.

    v*   = W_0 (c + sum over p of alpha_p a_p)
    W    = (sum v* c^T + lambda sum over P of W_0 p p^T + rho W_0)
           (sum c c^T + lambda sum over P of p p^T + rho I)^-1

The alphas are found in rounds: paint with the layers as they stand, measure the shares, raise
alpha where a category is rarer than wanted. So it is the one system here that learns from a judge.
What it paints cannot be asked for picture by picture: the shares are as they come.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from PIL import Image
from torch import Tensor, nn

from fairgen.attributes import Attribute, render
from fairgen.backbones import Backbone, PromptCache
from fairgen.baselines.system import Ask, BaselineTask, Cost, System, Weights
from fairgen.baselines.unmodified import Unmodified
from fairgen.judging import Perception
from fairgen.sampling import Sampling

NUM_PICTURES = 16
RATE = 0.4
KEEP_WEIGHT, RIDGE = 1.0, 0.1
_SAME = 1e-4


class Uce(System):
    """Paints with the edited layers; `setting` multiplies the edit, W_0 + setting (W - W_0)."""

    title = "UCE"
    source = "arXiv 2308.14761"
    knob = "share of the edit"
    settings = (0.8, 1.0, 1.2)

    def __init__(
        self, backbone: Backbone, lesson: BaselineTask, weights: Weights, setting: float
    ) -> None:
        self._backbone = backbone
        self._edits = {path: setting * change for path, change in weights.items()}
        self._unmodified = Unmodified(backbone, lesson, {}, 1.0)

    @classmethod
    def train(cls, backbone: Backbone, lesson: BaselineTask) -> tuple[Weights, Cost]:
        """Return the best changes of the layers in as many rounds as the rows allow."""
        return Rounds(backbone, lesson).run()

    def paint(self, ask: Ask, sampling: Sampling) -> list[Image.Image]:
        """Return pictures of the edited model; the categories asked for are not heard."""
        with changed(self._backbone, self._edits):
            return self._unmodified.paint(ask, sampling)


def closed_form(old: Tensor, sources: Tensor, values: Tensor, kept: Tensor) -> Tensor:
    """Return W, out x in: `sources` E x in become `values` E x out, `kept` P x in stay."""
    old, sources, values, kept = (tensor.double() for tensor in (old, sources, values, kept))
    identity = torch.eye(old.shape[1], dtype=old.dtype, device=old.device)
    wanted = values.T @ sources + KEEP_WEIGHT * old @ kept.T @ kept + RIDGE * old
    seen = sources.T @ sources + KEEP_WEIGHT * kept.T @ kept + RIDGE * identity
    return torch.linalg.solve(seen, wanted, left=False)


@contextmanager
def changed(backbone: Backbone, changes: Weights) -> Iterator[None]:
    """Add changes to the layers' weights inside the `with`; then the old weights are back."""
    layers = {path: _layer(backbone, path) for path in changes}
    old = {path: layer.weight.data for path, layer in layers.items()}
    for path, layer in layers.items():
        layer.weight.data = old[path] + changes[path].to(old[path])
    try:
        yield
    finally:
        for path, layer in layers.items():
            layer.weight.data = old[path]


def _layer(backbone: Backbone, path: str) -> nn.Linear:
    layer = backbone.denoiser.get_submodule(path)
    assert isinstance(layer, nn.Linear)
    return layer


class Rounds:
    """Legend: T tokens of a listed concept's prompts, D the embedding's width."""

    def __init__(self, backbone: Backbone, lesson: BaselineTask) -> None:
        self._backbone, self._lesson, self._cost = backbone, lesson, Cost()
        self._prompts = PromptCache(backbone)
        self._layers = {path: _layer(backbone, path) for path in backbone.projections("kv")}
        self._kept = self._prompts.stack(list(lesson.preserve))["text"].flatten(0, 1)
        self._tokens = {concept: self.tokens_of(concept) for concept in lesson.concepts}
        self._directions = {
            concept: {
                (attribute.name, category.name): self.tokens_of(concept, category.word)
                - self._tokens[concept]
                for attribute in lesson.attributes
                for category in attribute.categories
            }
            for concept in lesson.concepts
        }
        self.alphas = {
            concept: dict.fromkeys(found, 0.0) for concept, found in self._directions.items()
        }

    def run(self) -> tuple[Weights, Cost]:
        steps = self._lesson.sampling.num_steps
        a_round = 2 * steps * NUM_PICTURES * len(self._lesson.concepts)
        best: Weights = {
            path: torch.zeros_like(layer.weight.cpu()) for path, layer in self._layers.items()
        }
        changes, least = best, float("inf")
        for turn in range(max(1, self._lesson.max_rows // a_round)):
            missing = self._missing(changes, seed=turn * NUM_PICTURES)
            self._cost.denoiser_rows += a_round
            error = sum(lack**2 for found in missing.values() for lack in found.values())
            if error < least:
                best, least = changes, error
            for concept, found in missing.items():
                for category, lack in found.items():
                    self.alphas[concept][category] += RATE / math.sqrt(turn + 1) * lack
            changes = self.changes()
        return {path: change.cpu().contiguous() for path, change in best.items()}, self._cost

    def _missing(self, changes: Weights, seed: int) -> dict[str, dict[tuple[str, str], float]]:
        """Return how much each category's share lacks, concept by concept, with edited layers."""
        lesson = self._lesson
        system = Uce(self._backbone, lesson, changes, 1.0)
        seeds = range(lesson.seed + seed, lesson.seed + seed + NUM_PICTURES)
        found = {}
        for index, concept in enumerate(lesson.concepts):
            template = lesson.templates[index % len(lesson.templates)]
            images = system.paint(
                Ask(template, concept, list(seeds), [{}] * NUM_PICTURES), lesson.sampling
            )
            perception = lesson.judge.read(images)
            found[concept] = {
                (attribute.name, name): 1 / len(attribute.names) - share
                for attribute in lesson.attributes
                for name, share in _shares(attribute, lesson, perception).items()
            }
        return found

    def changes(self) -> Weights:
        """Return W - W_0 of every layer at the present alphas."""
        sources = torch.cat(list(self._tokens.values()))
        moved = torch.cat(
            [
                self._tokens[concept]
                + sum(
                    alpha * self._directions[concept][category] for category, alpha in own.items()
                )
                for concept, own in self.alphas.items()
            ]
        )
        return {
            path: (
                closed_form(layer.weight, sources, moved @ layer.weight.T, self._kept)
                - layer.weight
            ).float()
            for path, layer in self._layers.items()
        }

    def tokens_of(self, concept: str, word: str = "") -> Tensor:
        """Return the embeddings from the concept's token to the last, all templates, T x D.

        A word before the concept moves its tokens; they are read where they then stand.
        """
        words = [word] if word else []
        found = []
        for template in self._lesson.templates:
            prompt, start = self.start_of(template, concept, words)
            first = self.start_of(template, concept, [])[1]
            length = prompt.shape[0]
            places = [min(start + step, length - 1) for step in range(length - first)]
            found.append(prompt[places])
        return torch.cat(found)

    def start_of(self, template: str, concept: str, words: list[str]) -> tuple[Tensor, int]:
        """Return a prompt's embedding, L x D, and the first token that hangs on the concept.

        That is the first at which prompts of two concepts differ: a text encoder reads forwards.
        """
        other = min(
            self._lesson.concepts,
            key=lambda c: (c == concept, (c[0] in "aeiou") != (concept[0] in "aeiou")),
        )
        one, two = self._prompts.stack(
            [render(template, concept, words), render(template, other, words)]
        )["text"]
        differing = ((one - two).abs().amax(-1) > _SAME).nonzero().flatten()
        return one, int(differing[0])


def _shares(attribute: Attribute, lesson: BaselineTask, perception: Perception) -> dict[str, float]:
    """Return the share of each category in the pictures in which the judge names one; equal shares,
    which teach nothing, where it names none.
    """
    columns = [lesson.judge.heads[attribute.name].index(name) for name in attribute.names]
    seen = perception.probabilities[attribute.name][:, columns].argmax(1)
    if attribute.name in perception.abstained:
        seen = seen[~perception.abstained[attribute.name]]
    if not len(seen):
        return dict.fromkeys(attribute.names, 1 / len(attribute.names))
    return {
        name: float((seen == index).float().mean()) for index, name in enumerate(attribute.names)
    }
