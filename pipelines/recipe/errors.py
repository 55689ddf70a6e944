"""Pydantic's findings as one sentence a field: its path, the value got, and what is allowed."""

from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError


def describe(error: ValidationError, model: type[BaseModel]) -> str:
    """Return every finding, joined by "; "."""
    return "; ".join(_describe_one(dict(finding), model) for finding in error.errors())


def _describe_one(finding: dict[str, Any], model: type[BaseModel]) -> str:
    location = tuple(finding["loc"])
    path = ".".join(str(part) for part in location)
    match finding["type"]:
        case "extra_forbidden":
            allowed = ", ".join(_fields_at(model, location[:-1]))
            return f"{path}: got {finding['input']!r} for an unknown field; allowed are {allowed}"
        case "missing":
            return f"{path}: got nothing, allowed is a value; it has no default"
        case "value_error":
            message = str(finding["ctx"]["error"])
            if not path:
                return message
            return f"{path}: {message}" if message.startswith("got ") else f"{path}.{message}"
    allowed = finding["msg"].removeprefix("Input should be ").removeprefix("a valid ")
    return f"{path}: got {finding['input']!r}, allowed is {allowed}"


def _fields_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """Return the field names of the model found by following a location from `model`."""
    annotation: Any = model
    for part in location:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            annotation = annotation.model_fields[str(part)].annotation
        else:
            annotation = _element(annotation)
        annotation = _model_in(annotation)
    return list(annotation.model_fields)


def _model_in(annotation: Any) -> Any:
    """Return the model of X | None, any other annotation as it is."""
    options = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else ()
    return next((option for option in options if hasattr(option, "model_fields")), annotation)


def _element(annotation: Any) -> Any:
    """Return what a tuple[X, ...] or a dict[str, X] holds."""
    return [argument for argument in get_args(annotation) if argument is not Ellipsis][-1]
