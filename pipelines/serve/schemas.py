"""What goes over the wire: the OpenAI Images schema, with fairness added to it."""

import re
from typing import Any, ClassVar, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from fairgen.calibration import Confusion
from fairgen.gate import GateDecision
from fairgen.provenance import OutputFormat
from fairgen.sampling import WHOLE, TaylorSeer

_SIZE = re.compile(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})")
MAX_SEED = 2**63 - 1
Fairness = dict[str, Any] | Literal["off"]
Categories = dict[str, str]
SafetyWord = Literal["passed", "flagged", "off", "none"]
PartialEvent = Literal["image_generation.partial_image", "image_edit.partial_image"]
CompletedEvent = Literal["image_generation.completed", "image_edit.completed"]
STRENGTH, STRENGTH_WITH_MASK = 0.8, 1.0  # of an edit that names none


class ImageRequest(BaseModel):
    """`POST /v1/images/generations`. Fields of OpenAI's that change nothing here are accepted.

    A null is a field left out, as typed clients send it.
    """

    # where texts have a least length pydantic reads them as Unicode: JSON can spell halves of
    # characters, which no tokenizer takes
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        str_min_length=0,
        json_schema_extra=lambda schema: _with_nulls(schema),
    )

    partial_event: ClassVar[PartialEvent] = "image_generation.partial_image"
    completed_event: ClassVar[CompletedEvent] = "image_generation.completed"

    prompt: str = Field(min_length=1)
    model: str | None = None
    n: int = Field(default=1, ge=1)
    size: str | None = None
    response_format: Literal["b64_json", "url"] | None = Field(
        default=None, description='"url" is a data: URI in place of the bare base64.'
    )
    output_format: OutputFormat = "png"
    output_compression: int | None = Field(default=None, ge=0, le=100)
    stream: bool = False
    partial_images: int = Field(default=0, ge=0, le=3)

    seed: int | None = Field(default=None, ge=0, le=MAX_SEED)
    num_inference_steps: int | None = Field(default=None, ge=1)
    guidance_scale: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    guidance_interval: list[float] | None = Field(
        default=None,
        min_length=2,
        max_length=2,
        description="From which share of the steps to which guidance holds, such as [0, 0.5]: "
        "besides it a picture costs half.",
    )
    taylorseer: bool | None = Field(
        default=None,
        description="Whether predictions may be forecast, as the recipe says; false has every step "
        "computed.",
    )
    negative_prompt: str | None = None
    original_prompt: str | None = Field(
        default=None,
        min_length=1,
        description="What the user wrote, where the prompt is a rewriting of it: the gate reads "
        "this, and what only the rewriting names of the person is taken out.",
    )
    fairness: Fairness | None = Field(
        default=None,
        description='A pmf or "uniform" per attribute, or {"joint": table}, or "off".',
    )
    categories: Categories | list[Categories] | None = Field(
        default=None,
        description="In the place of fairness: what every picture shows, or each of them; with the "
        "seed and the categories of a record its picture comes again.",
    )

    background: Literal["opaque", "auto"] | None = None
    moderation: Literal["low", "auto"] | None = None
    quality: str | None = None
    style: str | None = None
    user: str | None = None
    safety_identifier: str | None = None
    complexity: Literal["low", "medium", "high"] | None = None
    frame_count: None = None
    frame_duration_ms: None = None
    svg: None = None

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        """JSON knows one kind of number: 1.0 is the integer 1."""
        if not isinstance(given, dict):
            return given
        whole = {name for name, field in cls.model_fields.items() if _is_integer(field.annotation)}
        return {
            name: int(value)
            if name in whole and isinstance(value, float) and value.is_integer()
            else value
            for name, value in given.items()
            if value is not None or name not in cls.model_fields
        }

    @field_validator("size")
    @classmethod
    def _is_a_size(cls, size: str | None) -> str | None:
        if size is not None and size != "auto" and not _SIZE.fullmatch(size):
            raise ValueError(f"got {size!r}, allowed are 'auto' and WIDTHxHEIGHT")
        return size

    @field_validator("guidance_interval")
    @classmethod
    def _is_a_part_of_the_steps(cls, interval: list[float] | None) -> list[float] | None:
        if interval is not None and not 0 <= interval[0] <= interval[1] <= 1:
            raise ValueError(f"got {interval}, allowed are two shares from 0 to 1, in order")
        return interval

    @field_validator("frame_count", "frame_duration_ms", "svg", mode="before")
    @classmethod
    def _is_one_frame_of_pixels(cls, given: object) -> None:
        raise ValueError(f"got {repr(given)[:80]}, allowed is null: pictures are no GIF and no SVG")

    @field_validator("fairness")
    @classmethod
    def _is_no_deeper_than_a_table(cls, fairness: Fairness | None) -> Fairness | None:
        """JSON nests nearly as deep as Python can write out or send on."""
        values = list(fairness.values()) if isinstance(fairness, dict) else []
        shares = [share for table in values if isinstance(table, dict) for share in table.values()]
        if any(isinstance(value, list) for value in values + shares) or any(
            isinstance(share, dict) for share in shares
        ):
            raise ValueError("got lists or tables in tables, allowed are tables of shares")
        return fairness

    @model_validator(mode="after")
    def _is_fairness_or_categories(self) -> "ImageRequest":
        if self.categories is not None and self.fairness is not None:
            raise ValueError("got fairness beside categories, allowed is one of both")
        return self

    @property
    def sides_px(self) -> tuple[int, int]:
        """Width and height; 0, 0 for the model's native size."""
        return sides_of(self.size or "")


class EditRequest(ImageRequest):
    """The fields of `POST /v1/images/edits` beside its pictures: those of a generation, how far to
    go from the picture (`strength`), and OpenAI's `input_fidelity`, which changes nothing here.
    """

    partial_event: ClassVar[PartialEvent] = "image_edit.partial_image"
    completed_event: ClassVar[CompletedEvent] = "image_edit.completed"

    strength: float | None = Field(
        default=None,
        gt=0,
        le=1,
        allow_inf_nan=False,
        description="How far to go from the picture: at 1 nothing of it is left but what a mask "
        f"keeps. By default {STRENGTH}, with a mask {STRENGTH_WITH_MASK}.",
    )
    input_fidelity: Literal["low", "high"] | None = None

    def strength_for(self, masked: bool) -> float:
        """Return how far to go from a picture of which a mask keeps a part, or none does."""
        return self.strength or (STRENGTH_WITH_MASK if masked else STRENGTH)


def sides_of(size: str) -> tuple[int, int]:
    """Return width and height of "64x32"; 0, 0 for anything else."""
    match = _SIZE.fullmatch(size)
    return (int(match.group(1)), int(match.group(2))) if match else (0, 0)


def _with_nulls(schema: dict[str, Any]) -> None:
    """Say in a schema that every field but the required ones may be null."""
    for name, field in schema["properties"].items():
        if name in schema["required"] or {"type": "null"} in field.get("anyOf", ()):
            continue
        if field.get("type") == "null":
            continue
        notes = {key: field.pop(key) for key in ("title", "description", "default") if key in field}
        schema["properties"][name] = {"anyOf": [field, {"type": "null"}], **notes}


def _is_integer(annotation: Any) -> bool:
    return int in (annotation, *get_args(annotation))


class AdapterUsed(BaseModel):
    """Which version of which registered adapter was on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: str
    sha256: str


class StartRecord(BaseModel):
    """The picture that an edit began from: the SHA-256 of its file as it was sent, how far the edit
    went from it, and whether a mask kept a part.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sha256: str
    strength: float
    masked: bool


class Provenance(BaseModel):
    """Where a picture comes from; the same record is in its file's text chunks.

    `base` is the base model's fingerprint, `storage` how its weights are kept, such as "bfloat16"
    or "nf4, bfloat16"; both are empty in records of before. `guidance_start` and
    `guidance_stop` are the shares of the steps between which guidance held: two numbers and no
    list, which Content Credentials would give back as a text. `taylorseer` says by which rule
    predictions were forecast, if any were. `loras` holds the first 12 hex digits of the sha256 of
    each LoRA that the base is given where it paints, by its file's name.
    `safety_checker` is the word of the base model's own: a flagged picture is black. "off" is for a
    recipe that turned it off, "none" for a base model without one.
    `removed` is what only a rewriting of the user's words named, and the prompt no longer holds.
    `marked` says that the pixels bear an invisible mark.
    `prompt_cut_at` is the index of the first character of the prompt that no text encoder read.
    `foreign_signs` are those of other tools, such as "(doctor:1.3)", that the base model has read
    as plain text. `start` is the picture that an edit began from.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    prompt: str
    seed: int
    num_inference_steps: int
    guidance_scale: float
    guidance_start: float = WHOLE[0]
    guidance_stop: float = WHOLE[1]
    taylorseer: TaylorSeer | None = None
    loras: dict[str, str] = Field(default_factory=dict)
    categories: dict[str, str]
    probability: float
    adapters: tuple[AdapterUsed, ...]
    gate: GateDecision | None
    base: str = ""
    storage: str = ""
    safety_checker: SafetyWord = "none"
    negative_prompt: str | None = None
    removed: tuple[str, ...] = ()
    prompt_cut_at: int | None = None
    foreign_signs: tuple[str, ...] = ()
    marked: bool = False
    start: StartRecord | None = None


class ImageData(BaseModel):
    """One picture of a response: as base64, or as a data: URI where that was asked for."""

    model_config = ConfigDict(extra="forbid")

    b64_json: str | None = None
    url: str | None = None
    revised_prompt: str | None = None
    provenance: Provenance

    @model_serializer(mode="wrap")
    def _one_of_both(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        absent = "url" if self.url is None else "b64_json"
        return {name: value for name, value in write(self).items() if name != absent}


class InputTokens(BaseModel):
    """What of the input was text, and what pictures."""

    model_config = ConfigDict(extra="forbid")

    text_tokens: int
    image_tokens: Literal[0] = 0


class Usage(BaseModel):
    """OpenAI's count of tokens: those of the prompt; pictures are not made of tokens here."""

    model_config = ConfigDict(extra="forbid")

    input_tokens: int
    input_tokens_details: InputTokens
    output_tokens: Literal[0] = 0
    total_tokens: int

    @classmethod
    def of(cls, num_tokens: int) -> "Usage":
        """Return the usage of a prompt of so many tokens."""
        details = InputTokens(text_tokens=num_tokens)
        return cls(input_tokens=num_tokens, input_tokens_details=details, total_tokens=num_tokens)


class ImageResponse(BaseModel):
    """The answer to a request that does not stream."""

    model_config = ConfigDict(extra="forbid")

    created: int
    data: list[ImageData]
    background: Literal["opaque"] = "opaque"
    output_format: OutputFormat
    size: str
    usage: Usage


class ImageFrame(BaseModel):
    """What server-sent events of a picture have in common; `index` is its place in the request."""

    model_config = ConfigDict(extra="forbid")

    index: int
    b64_json: str
    created_at: int
    background: Literal["opaque"] = "opaque"
    output_format: OutputFormat
    quality: Literal["auto"] = "auto"
    size: str


class PartialImage(ImageFrame):
    """A picture on its way."""

    type: PartialEvent
    partial_image_index: int


class CompletedImage(ImageFrame):
    """A finished picture."""

    type: CompletedEvent
    provenance: Provenance


class CategoryInfo(BaseModel):
    """A category that can be asked for: its words, its adapter, and what is seen when it is asked
    for (category -> share), None where it was not measured.
    """

    model_config = ConfigDict(extra="forbid")

    name: str
    word: str
    adapter: AdapterUsed
    confusion: dict[str, float] | None


class AttributeInfo(BaseModel):
    """An attribute whose adapters are being served."""

    model_config = ConfigDict(extra="forbid")

    name: str
    adapter_set: str
    categories: list[CategoryInfo]

    @property
    def confusion(self) -> Confusion | None:
        """What is seen where each category is asked, None unless all were measured."""
        rows = {category.name: category.confusion for category in self.categories}
        known = {name: row for name, row in rows.items() if row is not None}
        return known if len(known) == len(rows) else None
