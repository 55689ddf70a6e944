"""Prompts that ship with the package, to measure on: occupations, prompts without people, and
prompts that name a category.
"""

from importlib.resources import files
from typing import Annotated, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from fairgen.attributes import render

PROMPTS = files("fairgen") / "prompts"
Prompt = Annotated[str, Field(min_length=1)]
T = TypeVar("T")


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ConceptPrompts(_Section):
    """Concepts, and templates that each name the place of one in {subject}."""

    form: Literal["concepts"]
    concepts: tuple[Prompt, ...] = Field(min_length=1)
    templates: tuple[Prompt, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _filled_once(self) -> "ConceptPrompts":
        wrong = [template for template in self.templates if template.count("{subject}") != 1]
        if wrong:
            raise ValueError(f"templates: got {wrong}, allowed is one {{subject}} in each")
        return _distinct(self, "concepts", self.concepts)

    @property
    def texts(self) -> tuple[str, ...]:
        """Every concept in every template."""
        return tuple(render(form, concept) for concept in self.concepts for form in self.templates)


class ThingPrompts(_Section):
    """Prompts that show nobody."""

    form: Literal["things"]
    prompts: tuple[Prompt, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _apart(self) -> "ThingPrompts":
        return _distinct(self, "prompts", self.prompts)

    @property
    def texts(self) -> tuple[str, ...]:
        return self.prompts


class ExplicitPrompt(_Section):
    """A prompt of one person, and the attributes of which it names a category."""

    prompt: Prompt
    names: tuple[Prompt, ...] = Field(min_length=1)


class ExplicitPrompts(_Section):
    """Prompts of one person that each name a category of some attributes."""

    form: Literal["explicit"]
    prompts: tuple[ExplicitPrompt, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _apart(self) -> "ExplicitPrompts":
        return _distinct(self, "prompts", self.texts)

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(found.prompt for found in self.prompts)


PromptSet = ConceptPrompts | ThingPrompts | ExplicitPrompts
_FORMS: TypeAdapter[PromptSet] = TypeAdapter(Annotated[PromptSet, Field(discriminator="form")])


def shipped_prompt_sets() -> tuple[str, ...]:
    """Return the names that `load_prompt_set` knows, sorted."""
    names = (file.name for file in PROMPTS.iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml")))


def load_prompt_set(name: str) -> PromptSet:
    """Return a shipped prompt set, in the form that its file declares. Raises ValueError for an
    unknown name.
    """
    if name not in (shipped := shipped_prompt_sets()):
        raise ValueError(f"prompt set: got {name!r}, shipped are {list(shipped)}")
    return _FORMS.validate_python(yaml.safe_load((PROMPTS / f"{name}.yaml").read_text()))


def _distinct(prompt_set: T, field: str, texts: tuple[str, ...]) -> T:
    twice = sorted({text for text in texts if texts.count(text) > 1})
    if twice:
        raise ValueError(f"{field}: got {twice} twice, allowed is each once")
    return prompt_set
