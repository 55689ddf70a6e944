from .export import FORMS, Form, export_adapter
from .lora_import import import_adapter

__all__ = ["FORMS", "Form", "export_adapter", "import_adapter"]
