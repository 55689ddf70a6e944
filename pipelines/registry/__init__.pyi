from .champions import ChampionPoller
from .exchange import export_registered, import_set
from .local_server import (
    check_address,
    check_answers,
    free_port,
    serve_in_foreground,
    starting_server,
    tracking_server,
)
from .migration import push
from .promotion import promote
from .run_view import local_view_pages
from .runs import Curves, TrainingRuns
from .served_adapters import ServedAdapters, loaded_name
from .target_export import TargetRequest, export_target
from .trained import TrainedAttribute
from .versions import Champion, ChampionSet, RegisteredAdapter, RegisteredVersion, Registry

__all__ = [
    "Champion",
    "ChampionPoller",
    "ChampionSet",
    "Curves",
    "RegisteredAdapter",
    "RegisteredVersion",
    "Registry",
    "ServedAdapters",
    "TargetRequest",
    "TrainedAttribute",
    "TrainingRuns",
    "check_address",
    "check_answers",
    "export_registered",
    "export_target",
    "free_port",
    "import_set",
    "loaded_name",
    "local_view_pages",
    "promote",
    "push",
    "serve_in_foreground",
    "starting_server",
    "tracking_server",
]
