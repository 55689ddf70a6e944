"""The endpoint as a Ray Serve application: `pipelines.serve.app:build`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import SecretStr

from pipelines.serve.access.door import Door
from pipelines.serve.access.keys import ApiKeys
from pipelines.serve.settings import ServeSettings

if TYPE_CHECKING:
    from ray.serve import Application

DRAIN_MARGIN_S = 20.0
OPEN_REQUESTS = 8  # a replica, where the rows of its passes are measured
_LOOK_EVERY_S = 1.0  # at the default of 10 s a crowd waits before it is counted
_PICTURES_TO_INSPECT = 32  # what is more is let pass: traffic does not wait for the judge


def build(args: ServeSettings) -> "Application":
    """Return what Serve's config names: the application of `args`, behind Serve's own proxies."""
    return application(args, None)


def application(args: ServeSettings, door: Door | None) -> "Application":
    """Return gateway -> indicator -> generator, and an inspector where one is wanted, bound and
    ready to run. With a door the gateway answers there by itself.

    What the settings leave open the cluster decides: MLFLOW_TRACKING_URI names the registry,
    FAIRGEN_HOME the storage, FAIRGEN_LEDGER the database of the ledger, FAIRGEN_GPUS_PER_REPLICA
    says what a replica takes where GPUs come and go.
    """
    from ray import serve

    ApiKeys(args.access)  # raises now, not in every replica
    from pipelines.serve.deployments import Gateway, Generator, Indicator, Inspector

    scaling = (
        {"num_replicas": args.min_replicas}
        if args.min_replicas == args.max_replicas
        else {
            "autoscaling_config": {
                "min_replicas": args.min_replicas,
                "max_replicas": args.max_replicas,
                "target_ongoing_requests": args.max_rows // 2 if args.max_rows else OPEN_REQUESTS,
                "upscale_delay_s": args.upscale_delay_s,
                "metrics_interval_s": _LOOK_EVERY_S,
                "look_back_period_s": max(2 * _LOOK_EVERY_S, args.upscale_delay_s),
            }
        }
    )
    common = {
        "max_ongoing_requests": 1024,
        "graceful_shutdown_timeout_s": args.limits.timeout_s + DRAIN_MARGIN_S,
    }
    behind = {"logging_config": {"enable_access_log": False}}  # the gateway's says each request
    gpus = gpus_per_replica(args)
    if args.tracking_uri is None:
        args = args.model_copy(update={"tracking_uri": os.environ.get("MLFLOW_TRACKING_URI")})
    if args.home is None and (shared := os.environ.get("FAIRGEN_HOME")):
        args = args.model_copy(update={"home": Path(shared)})
    if args.ledger is None and (database := os.environ.get("FAIRGEN_LEDGER")):
        args = args.model_copy(update={"ledger": SecretStr(database)})
    heavy = {"num_cpus": args.cpus_per_replica, "num_gpus": gpus}
    small = {"num_cpus": 0.1}
    generator = serve.deployment(
        Generator,
        name="Generator",
        **scaling,
        **common,
        **behind,
        ray_actor_options=heavy,
        max_queued_requests=args.limits.queued_images,
        user_config={"look": 0},
    ).bind(args)
    indicator = serve.deployment(
        Indicator, num_replicas=1, **common, **behind, ray_actor_options=small
    ).bind(args)
    inspector = None
    if args.inspect_share:
        inspector = serve.deployment(
            Inspector,
            num_replicas=1,
            max_ongoing_requests=1,
            max_queued_requests=_PICTURES_TO_INSPECT,
            ray_actor_options={"num_cpus": 0.5},
        ).bind(args)
    return serve.deployment(
        serve.ingress()(Gateway), num_replicas=1, **common, ray_actor_options=small
    ).bind(args, indicator, generator, inspector, door)


def gpus_per_replica(args: ServeSettings) -> float:
    """Return the share of a GPU that a generator takes: what the settings say, else what the
    cluster says, else one where it has any.
    """
    import ray

    if args.gpus_per_replica is not None:
        return args.gpus_per_replica
    there = 1 if ray.cluster_resources().get("GPU") else 0
    return float(os.environ.get("FAIRGEN_GPUS_PER_REPLICA", there))
