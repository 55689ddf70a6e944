from .as_lora import AsLora
from .concept_sliders import ConceptSliders
from .fair_diffusion import FairDiffusion
from .gated import named_tensors
from .h_space import HSpace
from .official import Official
from .system import Ask, BaselineTask, System, Weights
from .uce import Uce
from .words import Words

__all__ = [
    "AsLora",
    "Ask",
    "BaselineTask",
    "ConceptSliders",
    "FairDiffusion",
    "HSpace",
    "Official",
    "System",
    "Uce",
    "Weights",
    "Words",
    "named_tensors",
]
