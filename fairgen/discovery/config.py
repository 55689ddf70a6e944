"""How adapters are learnt, and what an update says of itself."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from fairgen.attributes import Attribute
from fairgen.sampling import WHOLE, guided_steps


class DiscoveryConfig(BaseModel):
    """How adapters are learnt.

    `category_eta` is the strength of single categories instead of `eta`: on a scale, such as skin
    tones, the middle needs another than the ends. `category_scale` multiplies a category's
    finished directions, where the category is drawn too seldom. Training uses the unscaled
    directions: otherwise the joint round would learn to cancel `category_scale`.
    `counterfactual_probability` is the share of rows whose neutral prompt names another category.
    `peer_probability` is the share of rows with peers in a joint round. `orth_weight` keeps the
    directions apart from those of the peers. Paths are guided in `guidance_interval` of their
    steps, as pictures will be. With `on_policy` the adapted model's predictions lead
    from state to state, otherwise the frozen model's. `match` is what is composed: the model's
    predictions, or what its cross-attention answers, on the paths of the words; then
    each state serves `steps_per_state` steps of the optimiser, and no gradient passes the model.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    eta: float = Field(default=2.0, gt=0)
    category_eta: dict[str, Annotated[float, Field(gt=0)]] = {}
    category_scale: dict[str, Annotated[float, Field(gt=0)]] = {}
    rank: int = Field(default=1, ge=1)
    num_updates: int = Field(default=150, ge=1)
    num_rows: int = Field(default=24, ge=2)
    num_steps: int = Field(default=12, ge=2)
    guidance_scale: float = Field(default=2.0, ge=1)
    guidance_interval: tuple[float, float] = Field(default=WHOLE, exclude_if=lambda v: v == WHOLE)
    learning_rate: float = Field(default=1e-2, gt=0)
    warmup: int = Field(default=10, ge=0)
    keep_weight: float = Field(default=1.0, ge=0)
    orth_weight: float = Field(default=0.0, ge=0)
    mix_attributes: float = Field(default=0.5, ge=0, le=1)
    counterfactual_probability: float = Field(default=0.5, ge=0, le=1)
    peer_probability: float = Field(default=0.7, ge=0, le=1)
    on_policy: bool = True
    match: Literal["predictions", "attention"] = Field(
        default="predictions", exclude_if=lambda v: v == "predictions"
    )
    steps_per_state: int = Field(default=4, ge=1, exclude_if=lambda v: v == 4)
    projections: str = Field(default="qkvo", pattern="^[qkvo]+$")
    seed: int = 0

    @field_validator("guidance_interval")
    @classmethod
    def _is_interval(cls, interval: tuple[float, float]) -> tuple[float, float]:
        guided_steps(1, interval)  # raises
        return interval

    def eta_of(self, category: str) -> float:
        """Return a category's strength."""
        return self.category_eta.get(category, self.eta)

    @property
    def num_keep_rows(self) -> int:
        """How many rows of a batch also see a preservation prompt."""
        return max(1, self.num_rows // 3)

    def check_categories(self, attribute: Attribute) -> None:
        """Raise ValueError where a setting names a category that the attribute does not have."""
        for field in ("category_eta", "category_scale"):
            if unknown := sorted(set(getattr(self, field)) - set(attribute.names)):
                raise ValueError(f"{field}: got {unknown}, allowed are {list(attribute.names)}")


@dataclass(frozen=True)
class DiscoveryStats:
    """One update's losses, and what training has cost so far in rows through the denoiser."""

    step: int
    loss: float
    keep: float
    orth: float
    relative_error: float
    gradient_rows: int
    denoiser_rows: int
