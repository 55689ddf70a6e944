"""Denoiser families: one file each, behind one small interface."""

from fairgen.backbones.backbone import Backbone
from fairgen.backbones.families import load_backbone

__all__ = ["Backbone", "load_backbone"]
