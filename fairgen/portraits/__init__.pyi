from .clip import PortraitClip, build_tokenizer
from .drawing import draw_all
from .folders import ADAPTERS, MODEL
from .judge import PortraitClassifier
from .pairs import train_pair_base
from .pretrain import rebuild_base
from .report import ReportSize, measure_base
from .sibling import write_sibling
from .world import ATTRIBUTES, CONCEPTS

__all__ = [
    "ADAPTERS",
    "ATTRIBUTES",
    "CONCEPTS",
    "MODEL",
    "PortraitClassifier",
    "PortraitClip",
    "ReportSize",
    "build_tokenizer",
    "draw_all",
    "measure_base",
    "rebuild_base",
    "train_pair_base",
    "write_sibling",
]
