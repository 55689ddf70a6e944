"""The paths along which adapters are learnt are guided where pictures will be."""

import pytest
import torch
from diffusers import StableDiffusionPipeline
from pydantic import ValidationError

from fairgen.discovery import DiscoveryConfig
from tests.fairgen.discovery.test_discovery import CONFIG, discovery


@pytest.mark.parametrize("interval", [(0.0, 1.0), (0.0, 0.5), (0.25, 0.75), (0.5, 0.5)])
def test_paths_are_guided_in_the_interval_alone(
    pipe: StableDiffusionPipeline, interval: tuple[float, float]
) -> None:
    still = {"guidance_interval": interval, "guidance_scale": 6.0, "learning_rate": 1e-12}
    found = discovery(pipe, CONFIG.model_copy(update=still))
    backbone, rows = found.backbone, found.rows
    solver = backbone.training_solver(CONFIG.num_steps)
    before, rows_before = found.state_dict()["x"].clone(), found.denoiser_rows
    steps = [row.step_index for row in rows]
    guided = range(int(4 * interval[0]), int(4 * interval[1]))
    prompts = [row.adapted_prompt for row in rows]
    found.update()
    after = found.state_dict()["x"]
    assert len(set(steps)) == 4
    for i, step in enumerate(steps):
        if step == CONFIG.num_steps - 1:
            continue  # a picture that is finished makes way for another
        x, t = before[i : i + 1], solver.timesteps[[step]]
        with torch.no_grad():
            eps = backbone.denoise(x, t, backbone.encode([prompts[i]]))
            if step in guided:
                empty = backbone.denoise(x, t, backbone.encode([None]))
                eps = empty + 6.0 * (eps - empty)
        expected, _ = solver.step(eps, x, x, torch.tensor([step]))
        assert torch.allclose(after[i], expected[0], atol=1e-4)
    fewer = sum(step not in guided for step in steps)
    kept = CONFIG.num_keep_rows  # a prompt without words brings a row of its own where none is
    most = 4 * CONFIG.num_rows + 2 * kept - fewer
    assert most - kept <= found.denoiser_rows - rows_before <= most


def test_an_interval_that_is_none_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"guidance_interval: got 0.6 to 0.5, allowed are"):
        DiscoveryConfig(guidance_interval=(0.6, 0.5))
    assert "guidance_interval" not in DiscoveryConfig().model_dump()  # no hash of a recipe changes
