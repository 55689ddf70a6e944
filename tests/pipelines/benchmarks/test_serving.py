"""The benchmark of serving asks its rivals for the same pictures, and every figure is measured."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from fairgen.pipeline import FairGenPipeline
from pipelines.benchmarks import serving as benchmark
from pipelines.benchmarks.client import ask_all
from pipelines.recipe.models import load_pipe
from pipelines.recipe.recipe import load_recipe
from pipelines.serve.settings import ServeSettings
from tests.pipelines.registered import random_adapters, register_champions

pytestmark = [pytest.mark.ray, pytest.mark.slow]


@pytest.mark.full
def test_rivals_paint_what_was_asked(
    cluster: None, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    from ray import serve

    from pipelines.benchmarks.serving_baselines import OneAtATime, RequestBatches

    recipe = load_recipe(write_recipe("rivals"))
    folders = [
        folder
        for attribute in recipe.attributes
        for folder in random_adapters(recipe, attribute.name, tmp_path, seed=1)
    ]
    fair = FairGenPipeline(load_pipe(recipe), folders)
    wanted = {"gender": {"woman": 1.0}, "age": {"old": 1.0}}
    output = fair("a doctor", 3, wanted, seed=5, **recipe.generation.pipe_options())
    bodies = [
        {"prompt": "a doctor", "seed": record.seed, "categories": record.categories}
        for record in output.records
    ]
    port = benchmark.free_port()
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    try:
        for name, rival in (("one", OneAtATime), ("batches", RequestBatches)):
            serve.run(rival.bind(recipe, folders), name=name, route_prefix=f"/{name}")
        batched, alone = (
            ask_all(f"http://127.0.0.1:{port}/{name}", bodies, clients=3)
            for name in ("batches", "one")
        )
        mixed = [
            body | {"num_inference_steps": steps}
            for body, steps in zip(bodies, (3, 5, 3), strict=True)
        ]
        of_mixed = ask_all(f"http://127.0.0.1:{port}/batches", mixed, clients=3)
    finally:
        serve.shutdown()
    for own, one in zip(output.images, batched, strict=True):
        assert np.abs(np.asarray(own, float) - np.asarray(one.image, float)).max() <= 1
    for steps, places in ((3, (0, 2)), (5, (1,))):
        options = recipe.generation.pipe_options() | {"num_inference_steps": steps}
        own = fair("a doctor", 3, wanted, seed=5, **options).images
        for place in places:
            got, expected = (np.asarray(i, float) for i in (of_mixed[place].image, own[place]))
            assert np.abs(got - expected).max() <= 1
    plain = load_pipe(recipe)  # adapters of plain diffusers act on both branches of the guidance
    for folder in folders:
        plain.load_lora_weights(folder, adapter_name=folder.name)
    plain.set_adapters(["gender-woman", "age-old"])
    for seed, answer in zip((5, 6, 7), alone, strict=True):
        options = recipe.generation.pipe_options()
        generator = torch.Generator().manual_seed(seed)
        image = plain("a doctor", generator=generator, **options).images[0]
        assert np.array_equal(np.asarray(image), np.asarray(answer.image))


@pytest.mark.full  # a benchmark: minutes of load on two cores
def test_every_figure_is_measured_and_written(
    cluster: None, tracking_uri: str, write_recipe: Callable[..., Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    path = write_recipe("benched", generation={"steps": 2})
    recipe = load_recipe(path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tracking_uri)
    with pytest.raises(ValueError, match=r"got no champion of \['age', 'gender'\]"):
        benchmark.bench(recipe, ServeSettings(recipe=path), tmp_path, tmp_path / "none.json")
    register_champions(tracking_uri, recipe, tmp_path / "adapters", seed=1)
    out = tmp_path / "bench.json"
    settings = ServeSettings(recipe=path)
    small = benchmark.BenchmarkSize(
        rounds=1, load_rounds=1, requests=6, lone_requests=2, decisions=128, full_size=False
    )
    figures = benchmark.bench(recipe, settings, tmp_path, out, small)
    unmeasured = {name for name in benchmark.MEANING if name not in figures}
    assert unmeasured == {"bank_overhead_kv_full_size", "bank_overhead_qkvo_full_size"}
    assert all(figures[name] > 0 for name in figures if not name.startswith("graph_overhead"))
    written = json.loads(out.read_text())
    assert written.items() >= figures.items()
    assert written["date"] and written["machine"] and written["base"] == recipe.base
    assert benchmark.benchmark_table(figures).row_count == len(figures)
