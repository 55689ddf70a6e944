"""How many rows a pass takes, where nobody says it."""

from fairgen.backbones import load_backbone
from fairgen.engine import measured_max_rows
from fairgen.engine.pass_size import CANDIDATES, DEFAULT_ROWS
from tests.families import tiny


def test_a_cpu_measures_and_changes_nothing() -> None:
    pipe = tiny("SD 1.x")
    assert measured_max_rows(load_backbone(pipe)) in CANDIDATES
    assert not pipe.unet._forward_hooks and pipe.unet.training is False


def test_a_model_whose_rows_are_slow_is_not_waited_for() -> None:
    pipe = tiny("SD 1.x")
    large = load_backbone(pipe, 10 * 8 * pipe.vae_scale_factor)
    assert measured_max_rows(large) == DEFAULT_ROWS
