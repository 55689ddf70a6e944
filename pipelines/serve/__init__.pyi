from .access.middleware import PICTURES
from .generator import GeneratorService
from .image_plan import plan_images
from .indicator import Assignment, IndicatorService
from .remote import deploy, serve_config
from .run import APP, Tls, serve_until_interrupted, served
from .schemas import Fairness, ImageRequest, Provenance
from .settings import AccessConfig, ServeSettings

__all__ = [
    "APP",
    "PICTURES",
    "AccessConfig",
    "Assignment",
    "Fairness",
    "GeneratorService",
    "ImageRequest",
    "IndicatorService",
    "Provenance",
    "ServeSettings",
    "Tls",
    "deploy",
    "plan_images",
    "serve_config",
    "serve_until_interrupted",
    "served",
]
