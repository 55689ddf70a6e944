"""An attribute's finished adapters: what training leaves and the registry takes."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict


class TrainedAttribute(BaseModel):
    """An attribute's finished adapters, and what they cost; the seconds are those of the process
    that finished.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    folders: tuple[Path, ...]
    training_seconds: float
    denoiser_rows: int
