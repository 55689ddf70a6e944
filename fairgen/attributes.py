"""What may be balanced: attributes, their categories, and the words that name them in a prompt."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

Mentions = tuple[Annotated[str, Field(min_length=1)], ...]
_SLUG = r"^[a-z][a-z0-9_]*$"


class Category(BaseModel):
    """One value of an attribute: the adjective that names it, and other words that mention it.

    `word` is what adapters learn from; `mentions` ("woman", "lady", "bearded") only tell the prompt
    gate that a user has asked for the category.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=_SLUG)
    word: str = Field(pattern=r"\S")
    mentions: Mentions = ()


class Attribute(BaseModel):
    """What is balanced, as two or more categories chosen and worded by the operator.

    `mentions` are words that speak of the attribute without naming one of its categories: a
    nationality speaks of how somebody may look, and is no skin tone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=_SLUG)
    categories: tuple[Category, ...] = Field(min_length=2)
    mentions: Mentions = ()

    @model_validator(mode="after")
    def _distinct(self) -> "Attribute":
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"categories: got {list(self.names)}, allowed are distinct names")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(category.name for category in self.categories)

    def category(self, name: str) -> Category:
        """Return a category by name. Raises ValueError that lists the allowed."""
        for category in self.categories:
            if category.name == name:
                return category
        raise ValueError(f"{self.name}: got {name!r}, allowed are {list(self.names)}")


def adapter_name(attribute: str, category: str) -> str:
    """Return the name under which a category's adapter is loaded: "gender-woman"."""
    return f"{attribute}-{category}"


def render(template: str, concept: str, words: Sequence[str] = ()) -> str:
    """Fill a template's {subject} with article, words and concept: "an old female doctor"."""
    phrase = " ".join((*words, concept))
    article = "an" if phrase[0].lower() in "aeiou" else "a"
    return template.replace("{subject}", f"{article} {phrase}")
