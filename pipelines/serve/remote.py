"""The endpoint on a running cluster: its Serve config, deployed through Ray's own REST API."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from pipelines.recipe import PROJECT_ROOT

if TYPE_CHECKING:
    from pipelines.serve.settings import ServeSettings

CONFIG = PROJECT_ROOT / "cluster" / "kuberay" / "base" / "serve.yaml"
_POLL_S = 1.0


def serve_config(settings: "ServeSettings", path: Path = CONFIG) -> dict[str, Any]:
    """Return the Serve config at `path` with the settings that differ from the defaults put in its
    arguments.

    Raises ValueError for a file that is no Serve config, or settings that are none of the
    endpoint's.
    """
    from pydantic import ValidationError
    from ray.serve.schema import ServeDeploySchema

    from pipelines.serve.settings import ServeSettings

    try:
        config = yaml.safe_load(path.read_text())
        application = config["applications"][0]
        changed = settings.model_dump(mode="json", exclude_defaults=True)
        application["args"] = _merged(application.get("args", {}), changed)
        ServeDeploySchema.model_validate(config)
        ServeSettings.model_validate(application["args"])
    except (OSError, yaml.YAMLError, LookupError, TypeError, ValidationError) as error:
        raise ValueError(f"config: got {str(path)!r}, which is no Serve config: {error}") from error
    return config


def deploy(cluster: str, config: dict[str, Any], show: Callable[[str], None]) -> None:
    """Deploy and wait until every application runs; `show(text)` is called when one's status has
    changed. Applications that the config does not name end, as Serve has it.

    Raises ValueError where nothing answers at the address, or an application cannot be deployed.
    """
    from ray.dashboard.modules.serve.sdk import ServeSubmissionClient
    from ray.exceptions import AuthenticationError

    names = [application["name"] for application in config["applications"]]
    try:
        client = ServeSubmissionClient(cluster)
        client.deploy_applications(config)
    except (ConnectionError, RuntimeError, AuthenticationError) as error:
        raise ValueError(f"cluster: {cluster} takes no application: {error}") from error
    shown: dict[str, str] = {}
    while not set(names) <= shown.keys() or set(shown.values()) != {"RUNNING"}:
        found = client.get_serve_details()["applications"]
        for name in names:
            status = _status_of(found.get(name))
            if shown.get(name) != status:
                shown[name] = status
                show(f"{name}: {status}")
            if status.startswith(("DEPLOY_FAILED", "UNHEALTHY")):
                raise ValueError(f"{name}: {status}")
        time.sleep(_POLL_S)


def _merged(held: dict[str, Any], changed: dict[str, Any]) -> dict[str, Any]:
    """Return settings with changes, section by section: what these do not name stays."""
    sections = {
        name: _merged(held[name], value)
        for name, value in changed.items()
        if isinstance(value, dict) and isinstance(held.get(name), dict)
    }
    return {**held, **changed, **sections}


def _status_of(application: dict[str, Any] | None) -> str:
    """Return an application's status, and what it waits for or has failed by."""
    if application is None:
        return "WAITING"
    if application["status"] == "RUNNING":
        return "RUNNING"
    deployments = application.get("deployments", {}).values()
    messages = [application.get("message", ""), *(d.get("message", "") for d in deployments)]
    return ": ".join([application["status"], *(text.strip() for text in messages if text.strip())])
