from .export import export_adapter, export_for
from .families import FORMS, TOOLS, Form, Tool, ToolFamily, tool_families, tool_family
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
    "Form",
    "Sampling",
    "Tool",
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
