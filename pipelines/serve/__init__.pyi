from .access.keys import check_open
from .access.middleware import PICTURES
from .generator import GeneratorService
from .image_plan import asked_of, plan_images
from .indicator import Asked, Assignment, IndicatorService
from .models import read_aliases
from .remote import deploy, serve_config
from .retries import Retry
from .run import APP, Tls, serve_until_interrupted, served
from .schemas import Fairness, ImageRequest, Provenance
from .settings import AccessConfig, ServeSettings, check_marked_sizes

__all__ = [
    "APP",
    "PICTURES",
    "AccessConfig",
    "Asked",
    "Assignment",
    "Fairness",
    "GeneratorService",
    "ImageRequest",
    "IndicatorService",
    "Provenance",
    "Retry",
    "ServeSettings",
    "Tls",
    "asked_of",
    "check_marked_sizes",
    "check_open",
    "deploy",
    "plan_images",
    "read_aliases",
    "serve_config",
    "serve_until_interrupted",
    "served",
]
