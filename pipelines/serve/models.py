"""The names under which clients ask for pictures: the set, its base model, and the operator's."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fairgen.attributes import Attribute
from fairgen.indicator import TargetDistribution
from pipelines.recipe import read_yaml
from pipelines.serve.access.errors import RequestError
from pipelines.serve.schemas import Fairness, ImageRequest, sides_of

Asked = TypeVar("Asked", bound=ImageRequest)
SizePolicy = Literal["refuse", "native", "nearest"]


class ModelAlias(BaseModel):
    """What a name stands for where a request does not say it itself.

    `base` paints without adapters. `size_policy` says what becomes of a size that the recipe does
    not list: it is refused, or painted at the native or the nearest size and reported as that.
    `url` answers with a data: URI, for clients that wait for a url.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    base: bool = False
    fairness: Fairness | None = None
    steps: int | None = Field(default=None, ge=1)
    guidance_scale: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    size_policy: SizePolicy = "refuse"
    url: bool = False

    @model_validator(mode="after")
    def _is_one_model(self) -> "ModelAlias":
        if self.base and self.fairness not in (None, "off"):
            raise ValueError("got fairness beside base, which has no adapters; allowed is one")
        return self

    def check(self, attributes: Sequence[Attribute], most_steps: int) -> None:
        """Raise ValueError for what requests of the name would be refused for."""
        if isinstance(self.fairness, dict):
            TargetDistribution.from_request(self.fairness, attributes)
        if (self.steps or 0) > most_steps:
            raise ValueError(f"steps: got {self.steps}, allowed are at most {most_steps}")

    def applied(self, request: Asked, sizes: tuple[str, ...]) -> Asked:
        """Return a request with what it leaves open; `sizes` are those that the recipe lists, none
        for any.

        Raises RequestError for a size that is refused, and for fairness that the base cannot have.
        """
        changes: dict[str, Any] = {}
        if self.base and (request.categories or request.fairness not in (None, "off")):
            field = "categories" if request.categories else "fairness"
            message = f"{field}: got some of the base model, which has no adapters; allowed is none"
            raise RequestError(400, message, param=field, code="invalid_value")
        if self.base:
            changes["fairness"] = "off"
        elif request.fairness is None and request.categories is None:
            changes["fairness"] = self.fairness
        if request.num_inference_steps is None:
            changes["num_inference_steps"] = self.steps
        if request.guidance_scale is None:
            changes["guidance_scale"] = self.guidance_scale
        if request.response_format is None and self.url:
            changes["response_format"] = "url"
        return request.model_copy(update=changes | {"size": self._size(request, sizes)})

    def _size(self, request: ImageRequest, sizes: tuple[str, ...]) -> str | None:
        """Return the size to paint."""
        if not any(request.sides_px) or request.size in sizes:
            return request.size
        if self.size_policy == "native":
            return None
        if not sizes:
            return request.size
        if self.size_policy == "nearest":
            return nearest(request.sides_px, sizes)
        message = f"size: got {request.size}, allowed are {', '.join(sizes)} and auto"
        raise RequestError(400, message, param="size", code="invalid_value")


def nearest(asked: tuple[int, int], sizes: Sequence[str]) -> str:
    """Return which of the sizes is nearest to the asked one."""
    return min(sizes, key=lambda size: distance(asked, sides_of(size)))


def distance(asked: tuple[int, int], other: tuple[int, int]) -> float:
    """Return how far a size is from the asked one: in shape first, then in area."""
    (width, height), (other_width, other_height) = asked, other
    shape = abs(math.log(width / height) - math.log(other_width / other_height))
    area = abs(math.log(width * height) - math.log(other_width * other_height))
    return 10 * shape + area


class Models:
    """Every name that the endpoint knows: the registry's prefix, its base model, the aliases."""

    def __init__(self, prefix: str, aliases: Mapping[str, ModelAlias]) -> None:
        self._default, self._base = prefix, f"{prefix}-base"
        self._known = {prefix: ModelAlias(), self._base: ModelAlias(base=True), **aliases}
        self.names = tuple(self._known)

    def named(self, name: str | None, status: int) -> tuple[str, ModelAlias]:
        """Return the name of the model that is meant, and what the given name stands for. Raises
        RequestError with a status that lists the known.
        """
        name = name or self._default
        if name not in self._known:
            message = f"model: got {name!r}, allowed are {list(self.names)}"
            raise RequestError(status, message, param="model", code="model_not_found")
        alias = self._known[name]
        return self._base if alias.base else self._default, alias


def check_aliases(
    aliases: Mapping[str, ModelAlias], attributes: Sequence[Attribute], most_steps: int
) -> None:
    """Raise ValueError for a name whose requests would all be refused."""
    for name, alias in aliases.items():
        try:
            alias.check(attributes, most_steps)
        except ValueError as error:
            raise ValueError(f"models.{name}: {error}") from error


def read_aliases(path: Path) -> dict[str, ModelAlias]:
    """Return the aliases of a YAML file, a table under `models`. Raises ValueError for another."""
    found = read_yaml(path)
    table = found.get("models") if isinstance(found, dict) else None
    if not isinstance(table, dict):
        raise ValueError(f"{path}: got no table, allowed is `models:` with a table of names")
    aliases = {}
    for name, alias in table.items():
        if not str(name).strip():
            raise ValueError(f"{path}: models: got the name {name!r}, allowed is one with letters")
        try:
            aliases[str(name)] = ModelAlias.model_validate(alias or {})
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, ("models", name, *first["loc"])))
            raise ValueError(f"{path}: {field}: {first['msg']}") from error
    return aliases
