"""Which form of a LoRA each tool takes for each family of models: what `families.json` says."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict

from fairgen.adapters import Adapter

Form = Literal["diffusers", "peft", "kohya"]
FORMS: tuple[Form, ...] = get_args(Form)
Tool = Literal["comfyui", "a1111", "forge", "invokeai", "diffusers"]
TOOLS: tuple[Tool, ...] = get_args(Tool)
_OF_TEXT = ("attn2.to_k", "attn2.to_v")
_FILE = Path(__file__).parent / "families.json"


class ToolFamily(BaseModel):
    """A family of models as other tools know it.

    `pipelines` are the names of diffusers' pipelines; `text_width` is the width of its text where
    it shares them with the family `within`. `forms` has a form for each tool that knows a LoRA of
    the family, `header` what its file must say of itself there. `text_attention` is kohya's name of
    a block's attention on text, where queries, keys and values are one layer. `workflow` is the
    ComfyUI prompt that paints with it, "" where ComfyUI takes no form, `size_px` the pictures'
    side.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    pipelines: tuple[str, ...]
    forms: Mapping[Tool, Form]
    header: Mapping[str, str]
    size_px: int
    workflow: str = ""
    text_width: int = 0
    within: str = ""
    text_attention: str = ""

    def form(self, tool: str) -> Form:
        """Return the form that a tool takes. Raises ValueError where it takes none."""
        if tool not in TOOLS:
            raise ValueError(f"for: got {tool!r}, allowed are {list(TOOLS)}")
        if tool not in self.forms:
            raise ValueError(
                f"for: got {tool!r}, which knows no LoRA of {self.name} on the prompt's attention; "
                f"allowed are {list(self.forms)}"
            )
        return self.forms[tool]


@cache
def tool_families() -> tuple[ToolFamily, ...]:
    """Return all families that other tools know."""
    families = json.loads(_FILE.read_text())
    return tuple(ToolFamily(name=name, **fields) for name, fields in families.items())


def tool_family(pipeline: str, adapter: Adapter) -> ToolFamily:
    """Return the family of an adapter whose base is a diffusers pipeline of this name.

    Raises ValueError for one that no other tool is known to read.
    """
    families = {family.name: family for family in tool_families()}
    found = next((f for f in families.values() if pipeline in f.pipelines), None)
    if found is None:
        known = sorted(name for family in families.values() for name in family.pipelines)
        raise ValueError(
            f"base: got a {pipeline}, for whose LoRAs no other tool's form is known; allowed are "
            f"{known}, and --format diffusers or peft for others"
        )
    widths = {
        down.shape[1] for path, (down, _) in adapter.directions.items() if path.endswith(_OF_TEXT)
    }
    inner = (f for f in families.values() if f.within == found.name and f.text_width in widths)
    return next(inner, found)
