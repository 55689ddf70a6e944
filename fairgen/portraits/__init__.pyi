from .clip import PortraitClip, build_tokenizer
from .drawing import draw_all
from .judge import PortraitClassifier
from .pretrain import rebuild_base
from .report import measure_base
from .sibling import write_sibling

__all__ = [
    "PortraitClassifier",
    "PortraitClip",
    "build_tokenizer",
    "draw_all",
    "measure_base",
    "rebuild_base",
    "write_sibling",
]
