"""`make bench`: the ratios that a claim of speed rests on, from one run, with machine and date."""

import json
import os
import platform
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from fairgen.adapters import load_adapter
from fairgen.attributes import adapter_name, render
from fairgen.backbones import load_backbone
from fairgen.engine import Engine, ImageJob
from fairgen.sampling import WHOLE, Sampling
from pipelines.benchmarks.client import Answer, arrivals, ask_all
from pipelines.benchmarks.full_size import random_pipeline
from pipelines.benchmarks.kernels import (
    engine_figures,
    full_size_figures,
    measured_seconds,
    pass_figures,
    position_figures,
)
from pipelines.benchmarks.memory_estimate import full_size_shapes
from pipelines.benchmarks.mixed_steps import SAMPLED_ALIKE, mixed_steps_figures
from pipelines.benchmarks.sharing import sharing_figures
from pipelines.files import write
from pipelines.ray_runtime import cluster_session, is_local
from pipelines.recipe import Recipe, load_painter, load_pipe
from pipelines.registry import Registry, free_port, tracking_server
from pipelines.serve import APP, PICTURES, Asked, Claim, ServeSettings, served

Figures = dict[str, float]
MEANING = {
    "bank_overhead": "engine, 8 pictures with 3 adapters each, over no bank",
    "bank_64_over_2": "engine, 64 adapters loaded over 2",
    "key_values_once": "engine, keys and values once a picture over once a step",
    "peft_over_bank": "one pass, PEFT's mixed batch (adapter_names) over the bank",
    "switching_over_bank": "one pass, row by row with set_adapters over the bank",
    "bank_overhead_kv_full_size": "one pass of SD 1.5's UNet, 2 rows, over no bank",
    "bank_overhead_qkvo_full_size": "the same with all four projections adapted",
    "bank_at_positions_full_width": "a layer of Z-Image's width, 352 positions, over no bank",
    "serve_throughput_over_best": "32 mixed requests, the endpoint over the better baseline",
    "serve_throughput_over_one_at_a_time": "over plain diffusers with set_adapters behind Serve",
    "serve_throughput_over_request_batches": "over @serve.batch, which is given the bank",
    "serve_images_per_s": "the endpoint's throughput",
    "serve_p50_s": "its median latency under that load",
    "serve_p95_s": "its 95th percentile",
    "one_at_a_time_p50_s": "plain diffusers",
    "one_at_a_time_p95_s": "plain diffusers",
    "request_batches_p50_s": "@serve.batch",
    "request_batches_p95_s": "@serve.batch",
    "mixed_steps_throughput": "8 to 30 steps, all at once, the endpoint over @serve.batch",
    "mixed_steps_p50": "the same, at random at 0.8 of @serve.batch's throughput, median latencies",
    "mixed_steps_p95": "the same, 95th percentiles",
    "small_beside_largest_p50": "lone requests beside a caller's largest, over alone, medians",
    "small_beside_largest_p95": "the same, 95th percentiles",
    "graph_overhead_ms": "one request at a time, HTTP over the engine alone, medians",
    "graph_overhead_share": "the same, of the whole request",
    "indicator_requests_per_s": "the indicator behind Serve, 64 at once from one process",
}


@dataclass(frozen=True)
class BenchmarkSize:
    """How often each thing is measured: rounds of the kernels and of the load, pictures of a load
    and of a lone caller, decisions of the indicator, over how many prompts and how many at once.
    """

    rounds: int = 15
    load_rounds: int = 5
    requests: int = 32
    lone_requests: int = 12
    decisions: int = 4000
    prompts: int = 500
    at_once: int = 64
    full_size: bool = True


STANDARD_SIZE = BenchmarkSize()


def bench(
    recipe: Recipe,
    settings: ServeSettings,
    home: Path,
    out: Path,
    size: BenchmarkSize = STANDARD_SIZE,
) -> Figures:
    """Measure on the recipe's base model and write the figures to `out`, a JSON file.

    Serving is measured under `settings`, with the champions of the registry below `home`. Raises
    ValueError when an attribute has none.
    """
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="fairgen-bench-") as scratch:
        champions = _champions(recipe, home, Path(scratch))
        figures = _denoiser(recipe, size)
        figures |= _serving(recipe, settings, home, champions, size)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    about = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": gpu or f"{platform.machine()}, {os.cpu_count()} cores, 1 thread",
        "torch": torch.__version__,
        "base": recipe.base,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    write(out, json.dumps(about | figures, indent=2) + "\n")
    return figures


def benchmark_table(figures: Figures) -> Table:
    """Return the terminal's table."""
    table = Table(
        title="Ratios of two ways that ran in turn, median of rounds; latencies under load"
    )
    for heading in ("figure", "value", "meaning"):
        table.add_column(heading)
    for name, value in figures.items():
        table.add_row(name, f"{value:.3g}", MEANING[name])
    return table


def _champions(recipe: Recipe, home: Path, scratch: Path) -> list[Path]:
    """Return folders of all champions' adapters, each named like the adapter."""
    with tracking_server(home) as uri:
        registry = Registry(uri, recipe)
        champions = registry.champions()
        if missing := sorted({a.name for a in recipe.attributes} - champions.keys()):
            raise ValueError(f"registry: got no champion of {missing}; `make train-all` makes them")
        folders = []
        for attribute, adapter_set in champions.items():
            for category, champion in adapter_set.members.items():
                link = scratch / adapter_name(attribute, category)
                link.symlink_to(registry.download(champion, scratch / "downloads"))
                folders.append(link)
    return folders


def _denoiser(recipe: Recipe, size: BenchmarkSize) -> Figures:
    backbone = load_backbone(load_pipe(recipe), recipe.generation.size_px)  # in float32
    rank, projections = recipe.discovery.rank, recipe.discovery.projections
    figures = engine_figures(backbone, rank, projections, recipe.generation.steps, size.rounds)
    figures |= pass_figures(backbone, rounds=size.rounds)
    if size.full_size:
        device, on_gpu = backbone.device, backbone.device.type == "cuda"
        rows, dtype = (8, torch.bfloat16) if on_gpu else (2, torch.float32)
        large = load_backbone(random_pipeline(full_size_shapes()["sd15"], device, dtype))
        for letters in ("kv", "qkvo"):
            figures |= full_size_figures(large, rows, rank, letters)
        one = {"n_layers": 1, "n_refiner_layers": 1}
        figures |= position_figures(full_size_shapes()["zimage"], one, 256, 96, rank)
    return figures


def _serving(
    recipe: Recipe,
    settings: ServeSettings,
    home: Path,
    folders: Sequence[Path],
    size: BenchmarkSize,
) -> Figures:
    """Return throughput and latency of mixed requests, and what HTTP and the graph add to one."""
    from ray import serve

    from pipelines.benchmarks.serving_baselines import OneAtATime, RequestBatches

    port = free_port()
    proxy_port = free_port() if is_local() else port  # the endpoint answers at a door of its own
    with ExitStack() as stack:
        stack.enter_context(cluster_session())
        serve.start(http_options={"host": "127.0.0.1", "port": proxy_port})
        address = stack.enter_context(served(settings, home, "127.0.0.1", port))
        baselines: dict[str, Any] = {"one_at_a_time": OneAtATime, "request_batches": RequestBatches}
        for name, baseline in baselines.items():
            serve.run(baseline.bind(recipe, list(folders)), name=name, route_prefix=f"/{name}")
        proxy = f"http://127.0.0.1:{proxy_port}"
        urls = {"serve": address + PICTURES} | {name: f"{proxy}/{name}" for name in baselines}
        sampling = recipe.generation.sampling
        alone = _engine(recipe, folders, sampling)
        figures = _lone_requests(recipe, urls["serve"], alone, size)
        alike = replace(sampling, guidance_interval=WHOLE, taylorseer=None)
        figures |= _mixed_load(recipe, urls, _engine(recipe, folders, alike), size)
        figures |= mixed_steps_figures(
            recipe, urls["serve"], urls["request_batches"], size.requests, size.load_rounds
        )
        small = {"prompt": render(recipe.templates[0], recipe.concepts.train[0])}
        largest = small | {"n": settings.limits.num_images}
        rounds, requests = size.load_rounds, size.lone_requests
        figures |= sharing_figures(urls["serve"], small, largest, rounds, requests)
        indicator = serve.get_deployment_handle("Indicator", APP)
        return figures | _indicator(recipe, indicator, size)


def _mixed_load(
    recipe: Recipe, urls: dict[str, str], alone: Callable[[], object], size: BenchmarkSize
) -> Figures:
    """Offer the same requests at the same moments to each in turn, twice as fast as one picture
    after the other can be painted.
    """
    rng = random.Random(0)
    concepts = (*recipe.concepts.train, *recipe.concepts.held_out)
    bodies: list[dict[str, Any]] = [
        {"prompt": render(recipe.templates[0], rng.choice(concepts)), "seed": seed}
        for seed in range(size.requests)
    ]
    for_rivals = [
        body | {"categories": {a.name: rng.choice(a.names) for a in recipe.attributes}}
        for body in bodies
    ]
    gap_s = statistics.median(measured_seconds(alone) for _ in range(5)) / 2
    due = arrivals(len(bodies), gap_s, rng)

    ours = [body | SAMPLED_ALIKE for body in bodies]
    sent = {name: ours if name == "serve" else for_rivals for name in urls}

    def offer(name: str) -> tuple[float, list[Answer]]:
        started = time.monotonic()
        answers = ask_all(urls[name], sent[name], clients=len(bodies), due_s=due)
        return len(bodies) / (time.monotonic() - started), answers

    for name in urls:
        ask_all(urls[name], sent[name][:4], clients=4)
    rounds = [{name: offer(name) for name in urls} for _ in range(size.load_rounds)]
    baselines = [name for name in urls if name != "serve"]
    figures = {
        "serve_throughput_over_best": statistics.median(
            turn["serve"][0] / max(turn[name][0] for name in baselines) for turn in rounds
        )
    }
    for name in baselines:
        figures[f"serve_throughput_over_{name}"] = statistics.median(
            turn["serve"][0] / turn[name][0] for turn in rounds
        )
    figures["serve_images_per_s"] = statistics.median(turn["serve"][0] for turn in rounds)
    for name in urls:
        latencies = [answer.latency_s for turn in rounds for answer in turn[name][1]]
        cuts = statistics.quantiles(latencies, n=20)
        figures |= {f"{name}_p50_s": statistics.median(latencies), f"{name}_p95_s": cuts[-1]}
    return figures


def _lone_requests(
    recipe: Recipe, url: str, alone: Callable[[], object], size: BenchmarkSize
) -> Figures:
    """Ask for one picture at a time, in turn with an engine in this process."""
    prompt = render(recipe.templates[0], recipe.concepts.train[0])
    bodies = [{"prompt": prompt, "seed": seed} for seed in range(size.lone_requests)]
    over_http: list[float] = []
    engine: list[float] = []
    for turn in range(size.load_rounds + 1):
        answers = ask_all(url, bodies, clients=1)
        seconds = [measured_seconds(alone) for _ in bodies]
        if turn:  # the first warms both up
            over_http += [answer.latency_s for answer in answers]
            engine += seconds
    whole = statistics.median(over_http)
    added = whole - statistics.median(engine)
    return {"graph_overhead_ms": 1000 * added, "graph_overhead_share": added / whole}


def _indicator(recipe: Recipe, handle: Any, size: BenchmarkSize) -> Figures:
    """Return how many decisions a second the indicator takes as a replica."""
    served = dict.fromkeys(attribute.name for attribute in recipe.attributes)
    requests = [
        Asked(f"a photo of a doctor in room {index % size.prompts}")
        for index in range(size.decisions)
    ]

    def behind_serve() -> None:
        for start in range(0, size.decisions, size.at_once):
            group = requests[start : start + size.at_once]
            answers = [handle.assign.remote(asked, served) for asked in group]
            claims = [
                Claim(asked, served, None, answer.result())
                for asked, answer in zip(group, answers, strict=True)
            ]
            handle.note.remote(claims).result()

    behind_serve()
    return {"indicator_requests_per_s": size.decisions / measured_seconds(behind_serve)}


def _engine(recipe: Recipe, folders: Sequence[Path], sampling: Sampling) -> Callable[[], object]:
    """Return a function that paints one picture, with an adapter of each attribute, on an engine of
    this process.
    """
    engine = Engine(load_painter(recipe))
    gates = {}
    for folder in folders:
        adapter = load_adapter(folder)
        engine.load(adapter.name, adapter)
        gates[adapter.metadata.attribute] = adapter.name
    job = ImageJob(
        prompt=render(recipe.templates[0], recipe.concepts.train[0]),
        seed=0,
        gates=dict.fromkeys(gates.values(), 1.0),
        **vars(sampling),
    )
    return lambda: engine.paint([job])
