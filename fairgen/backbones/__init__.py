"""Denoiser families: one file each, behind one small interface."""

from fairgen.backbones.backbone import Backbone, load_backbone

__all__ = ["Backbone", "load_backbone"]
