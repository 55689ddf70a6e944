"""Denoiser families: one file each, behind one small interface."""

from fairgen.backbones.backbone import Backbone
from fairgen.backbones.families import load_backbone, register_backbone
from fairgen.backbones.prompt_cache import PromptCache

__all__ = ["Backbone", "PromptCache", "load_backbone", "register_backbone"]
