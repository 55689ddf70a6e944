from .bundled import expand_names
from .evaluation_config import AblationConfig, ComparisonSize, EvaluationSize
from .extends import read_content
from .folders import DEFAULT_RECIPE, PROJECT_ROOT
from .loras import digests_of
from .models import (
    load_base,
    load_judge,
    load_judge_confusion,
    load_learner,
    load_painter,
    load_pipe,
    load_second_judge,
)
from .preflight import check_models
from .recipe import Recipe, load_recipe
from .sections import (
    MEASURED_DIGITS,
    GenerationConfig,
    JobsConfig,
    RegistryConfig,
    TaylorSeerConfig,
)
from .yaml_file import read_yaml

__all__ = [
    "DEFAULT_RECIPE",
    "MEASURED_DIGITS",
    "PROJECT_ROOT",
    "AblationConfig",
    "ComparisonSize",
    "EvaluationSize",
    "GenerationConfig",
    "JobsConfig",
    "Recipe",
    "RegistryConfig",
    "TaylorSeerConfig",
    "check_models",
    "digests_of",
    "expand_names",
    "load_base",
    "load_judge",
    "load_judge_confusion",
    "load_learner",
    "load_painter",
    "load_pipe",
    "load_recipe",
    "load_second_judge",
    "read_content",
    "read_yaml",
]
