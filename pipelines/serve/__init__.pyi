from .access.door import Tls
from .access.errors import RequestError
from .access.keys import check_open
from .access.paths import PICTURES
from .generator import GeneratorService
from .image_plan import PlannedImage, asked_of, plan_images
from .indicator import Asked, Assignment, Claim, Ended, IndicatorService
from .models import check_aliases, read_aliases
from .remote import deploy, serve_config
from .retries import Retry
from .run import APP, serve_until_interrupted, served
from .schemas import MAX_SEED, Fairness, ImageRequest, Provenance
from .settings import AccessConfig, Limits, ServeSettings, check_marked_sizes

__all__ = [
    "APP",
    "MAX_SEED",
    "PICTURES",
    "AccessConfig",
    "Asked",
    "Assignment",
    "Claim",
    "Ended",
    "Fairness",
    "GeneratorService",
    "ImageRequest",
    "IndicatorService",
    "Limits",
    "PlannedImage",
    "Provenance",
    "RequestError",
    "Retry",
    "ServeSettings",
    "Tls",
    "asked_of",
    "check_aliases",
    "check_marked_sizes",
    "check_open",
    "deploy",
    "plan_images",
    "read_aliases",
    "serve_config",
    "serve_until_interrupted",
    "served",
]
