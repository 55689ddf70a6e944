"""What an operator sets of the endpoint: one frozen object, from flags, YAML or a Serve config."""

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

from fairgen.provenance import CredentialFiles
from pipelines.recipe import DEFAULT_RECIPE, GenerationConfig
from pipelines.serve.models import ModelAlias
from pipelines.serve.schemas import sides_of

_ORIGIN = re.compile(r"https?://[^/?#@\s]+")
_HOST = re.compile(r"(\*\.)?[\w.-]+|\*|\[?[0-9a-f:]+\]?")


class Limits(BaseModel):
    """The largest request that is taken.

    A picture that is sent to be edited has `upload_pixels` at most, the body that holds it
    `upload_bytes`, and comes within `upload_s`; all such bodies that are in memory, with the
    pictures out of them that wait to be painted, have `uploads_bytes`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    num_images: int = Field(default=64, ge=1)
    side_px: int = Field(default=2048, ge=8)
    num_steps: int = Field(default=100, ge=1)
    guidance_scale: float = Field(default=30.0, ge=1)
    prompt_chars: int = Field(default=2000, ge=1)
    body_bytes: int = Field(default=65_536, ge=1024)
    body_s: float = Field(default=10.0, gt=0)
    header_bytes: int = Field(default=16_384, ge=1024)
    upload_pixels: int = Field(default=16_777_216, ge=64)
    upload_bytes: int = Field(default=26_214_400, ge=1024)
    upload_s: float = Field(default=60.0, gt=0)
    uploads_bytes: int = Field(default=536_870_912, ge=1024)
    queued_images: int = Field(default=512, ge=1)
    timeout_s: float = Field(default=300.0, gt=0)


class AccessConfig(BaseModel):
    """Who may come in, and how much each may ask.

    Keys of 16 characters or more stand in an environment variable, separated by commas, and in a
    file, one a line, which is read again when it changes. Where there are none everybody may come
    in, and the limits hold for an address instead of a key. `cors_origins` are the web pages of
    other hosts that may read answers: none. `hosts` are the names that the endpoint answers to;
    without any it answers to all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    keys_env: str = "FAIRGEN_API_KEYS"
    keys_file: Path | None = None
    requests_per_minute: int | None = Field(default=None, ge=1)
    concurrent_requests: int | None = Field(default=None, ge=1)
    cors_origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _can_be_met(self) -> "AccessConfig":
        for origin in self.cors_origins:
            if origin != "*" and not _ORIGIN.fullmatch(origin):
                raise ValueError(
                    f"cors_origins: got {origin!r}, allowed are http://HOST and https://HOST, with "
                    "a port where it is another than 80 and 443, and nothing behind it"
                )
        for name in self.hosts:
            if not _HOST.fullmatch(name):
                raise ValueError(
                    f"hosts: got {name!r}, allowed are names alone: no scheme, no port, no path"
                )
        return self


class ServeSettings(BaseModel):
    """The endpoint of one recipe: its base model, its attributes, its registry. `base` replaces the
    base model that the recipe names.

    `fairness` is what a request without its own gets. `calibrate` turns what is asked of the
    adapters so that what is seen, misses included, is the target. `tracking_uri` is the MLflow
    server that names the champions, None that of the cluster's MLFLOW_TRACKING_URI; without one the
    endpoint paints with the base model only; with `poll_s` None they are looked up at start only.
    `max_rows` is the size of a pass; None is 16 on a GPU, which may have memory for more, and
    measured on a CPU, where a row gets no cheaper beyond some number, only later.
    `gpus_per_replica` None takes what the
    cluster's FAIRGEN_GPUS_PER_REPLICA says, or a GPU where it has any. `decisions` is a file that
    gets a line a request: what was decided, and no picture. Below `home` (None: the cluster's
    FAIRGEN_HOME) the sets that were served last are kept, for a start while the registry is away.
    `ledger` is the address of the database that keeps what was given, such as
    "postgresql+psycopg://user:word@host/name"; None is the cluster's FAIRGEN_LEDGER, or a file of
    SQLite below `home`.
    `models` are names that clients ask for, such as "gpt-image-1", and what each stands for.
    `credentials` are the files of the chain and the key that sign every finished picture; each
    generator reads them. `mark` puts an invisible mark into each. `inspect_share` of the finished
    pictures is looked at by the recipe's judge, beside the traffic.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: Path = DEFAULT_RECIPE
    base: str | None = None
    tracking_uri: str | None = None
    home: Path | None = None
    fairness: dict[str, Any] | Literal["off"] | None = None
    calibrate: bool = False
    poll_s: float | None = Field(default=10.0, gt=0)
    max_rows: int | None = Field(default=None, ge=2)
    min_replicas: int = Field(default=1, ge=1)
    max_replicas: int = Field(default=1, ge=1)
    upscale_delay_s: float = Field(default=10.0, ge=0)
    cpus_per_replica: float = Field(default=1.0, gt=0)
    gpus_per_replica: float | None = Field(default=None, ge=0)
    access: AccessConfig = AccessConfig()
    models: dict[str, ModelAlias] = Field(default_factory=dict)
    decisions: Path | None = None
    ledger: SecretStr | None = None
    credentials: CredentialFiles | None = None
    mark: bool = False
    inspect_share: float = Field(default=0.0, ge=0, le=1)
    limits: Limits = Limits()


def check_marked_sizes(generation: GenerationConfig) -> None:
    """Raise ValueError where a recipe names a size that is too small for an invisible mark."""
    from fairgen.provenance import check_size

    named = [sides_of(size) for size in generation.sizes]
    for width_px, height_px in [(generation.size_px, generation.size_px), *named]:
        if width_px:
            check_size(width_px, height_px)
