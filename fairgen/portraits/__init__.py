"""The embedded base model: a drawn world of planted bias, and small networks trained on it."""

from fairgen.portraits.clip import build_tokenizer
from fairgen.portraits.drawing import draw_all
from fairgen.portraits.judge import PortraitClassifier

__all__ = ["PortraitClassifier", "build_tokenizer", "draw_all"]
