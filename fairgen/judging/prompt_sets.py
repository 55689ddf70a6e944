"""Prompts that ship with the package, to measure on: occupations, prompts without people, and
prompts that name a category.
"""

from abc import abstractmethod
from importlib.resources import files
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator, model_validator

from fairgen.attributes import render

PROMPTS = files("fairgen.judging") / "prompts"
Prompt = Annotated[str, Field(min_length=1)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Prompts(_Strict):
    @property
    @abstractmethod
    def texts(self) -> tuple[str, ...]:
        """Every prompt of the set."""

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        twice = sorted({text for text in self.texts if self.texts.count(text) > 1})
        if twice:
            raise ValueError(f"prompts: got {twice} twice, allowed is each once")
        return self


class ConceptPrompts(_Prompts):
    """Concepts, and templates that each name the place of one in {subject}."""

    form: Literal["concepts"]
    concepts: tuple[Prompt, ...] = Field(min_length=1)
    templates: tuple[Prompt, ...] = Field(min_length=1)

    @field_validator("templates")
    @classmethod
    def _filled_once(cls, templates: tuple[str, ...]) -> tuple[str, ...]:
        wrong = [template for template in templates if template.count("{subject}") != 1]
        if wrong:
            raise ValueError(f"templates: got {wrong}, allowed is one {{subject}} in each")
        return templates

    @property
    def texts(self) -> tuple[str, ...]:
        """Every concept in every template."""
        return tuple(render(form, concept) for concept in self.concepts for form in self.templates)


class ThingPrompts(_Prompts):
    """Prompts that show nobody."""

    form: Literal["things"]
    prompts: tuple[Prompt, ...] = Field(min_length=1)

    @property
    def texts(self) -> tuple[str, ...]:
        return self.prompts


class ExplicitPrompt(_Strict):
    """A prompt of one person, and the attributes of which it names a category."""

    prompt: Prompt
    names: tuple[Prompt, ...] = Field(min_length=1)


class ExplicitPrompts(_Prompts):
    """Prompts of one person that each name a category of some attributes."""

    form: Literal["explicit"]
    prompts: tuple[ExplicitPrompt, ...] = Field(min_length=1)

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(found.prompt for found in self.prompts)


PromptSet = ConceptPrompts | ThingPrompts | ExplicitPrompts
_FORMS: TypeAdapter[PromptSet] = TypeAdapter(Annotated[PromptSet, Field(discriminator="form")])


def bundled_prompt_sets() -> tuple[str, ...]:
    """Return the names that `load_prompt_set` knows, sorted."""
    names = (file.name for file in PROMPTS.iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml")))


def load_prompt_set(name: str) -> PromptSet:
    """Return a bundled prompt set, in the form that its file declares. Raises ValueError for an
    unknown name.
    """
    if name not in (bundled := bundled_prompt_sets()):
        raise ValueError(f"prompt set: got {name!r}, shipped are {list(bundled)}")
    return _FORMS.validate_python(yaml.safe_load((PROMPTS / f"{name}.yaml").read_text()))
