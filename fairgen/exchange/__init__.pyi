from .export import export_adapter, export_for
from .families import FORMS, TOOLS, ToolFamily, tool_families, tool_family
from .lora_import import import_adapter
from .target_prompts import (
    Sampling,
    comfyui_prompt,
    drawn_adapters,
    dynamic_prompt,
    tagged_prompt,
)

__all__ = [
    "FORMS",
    "TOOLS",
    "Sampling",
    "ToolFamily",
    "comfyui_prompt",
    "drawn_adapters",
    "dynamic_prompt",
    "export_adapter",
    "export_for",
    "import_adapter",
    "tagged_prompt",
    "tool_families",
    "tool_family",
]
