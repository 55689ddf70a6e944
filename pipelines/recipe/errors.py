"""Pydantic's findings as one sentence a field: its path, the value got, and what is allowed."""

from collections.abc import Sequence
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails


def describe(error: ValidationError, model: type[BaseModel]) -> str:
    """Return every finding, joined by "; "."""
    findings = error.errors()
    return "; ".join(
        _describe_one(dict(finding), model)
        for finding in findings
        if finding["type"] != "too_short" or not _follows(finding["loc"], findings)
    )


def _follows(location: tuple[int | str, ...], findings: Sequence[ErrorDetails]) -> bool:
    """Return whether there is a finding inside of what is at a location: pydantic leaves such an
    element out, and says then that there are too few.
    """
    inside = (finding["loc"] for finding in findings if len(finding["loc"]) > len(location))
    return any(other[: len(location)] == location for other in inside)


def _describe_one(finding: dict[str, Any], model: type[BaseModel]) -> str:
    parts, fields = _locate(model, tuple(finding["loc"]))
    path = ".".join(parts)
    match finding["type"]:
        case "extra_forbidden":
            allowed = ", ".join(fields)
            got = finding["input"]
            return f"{path}: got {got!r} for an unknown field; allowed are {allowed}"
        case "missing":
            return f"{path}: got nothing, allowed is a value; it has no default"
        case "union_tag_not_found":
            field = finding["ctx"]["discriminator"][1:-1]
            return f"{path}.{field}: got nothing, allowed is a value"
        case "union_tag_invalid":
            tag, tags = finding["ctx"]["tag"], finding["ctx"]["expected_tags"]
            field = finding["ctx"]["discriminator"][1:-1]
            return f"{path}.{field}: got {tag!r}, allowed are {tags}"
        case "value_error":
            message = str(finding["ctx"]["error"])
            if not path:
                return message
            return f"{path}: {message}" if message.startswith("got ") else f"{path}.{message}"
    allowed = finding["msg"].removeprefix("Input should be ").removeprefix("a valid ")
    return f"{path}: got {finding['input']!r}, allowed is {allowed}"


def _locate(model: type[BaseModel], location: tuple[int | str, ...]) -> tuple[list[str], list[str]]:
    """Return a location's parts without the tags of unions, and the fields of the last model that
    it leads through.
    """
    here: Any = model
    parts, fields = [], list(model.model_fields)
    for part in location:
        if tagged := _tagged(here):
            here = tagged[str(part)]
            fields = list(here.model_fields)
            continue
        parts.append(str(part))
        if isinstance(here, type) and issubclass(here, BaseModel):
            fields = list(here.model_fields)
            field = here.model_fields.get(str(part))  # None for an unknown one
            here = None if field is None else field.annotation
        else:
            here = _element(here)
        here = _model_in(here)
    return parts, fields


def _tagged(annotation: Any) -> dict[str, Any]:
    """Return the models of a union that their field `kind` tells apart, by kind; nothing for any
    other annotation.
    """
    if get_origin(annotation) not in (Union, UnionType):
        return {}
    return {
        tag: option
        for option in get_args(annotation)
        if hasattr(option, "model_fields") and "kind" in option.model_fields
        for tag in get_args(option.model_fields["kind"].annotation)
    }


def _model_in(annotation: Any) -> Any:
    """Return the X of X | None and of Annotated[X, ...], any other annotation as it is."""
    if get_origin(annotation) is Annotated:
        return _model_in(get_args(annotation)[0])
    if get_origin(annotation) not in (Union, UnionType):
        return annotation
    options = [option for option in get_args(annotation) if option is not type(None)]
    return _model_in(options[0]) if len(options) == 1 else annotation


def _element(annotation: Any) -> Any:
    """Return the X of tuple[X, ...] and dict[str, X], None for an annotation without elements."""
    arguments = [argument for argument in get_args(annotation) if argument is not Ellipsis]
    return arguments[-1] if arguments else None
