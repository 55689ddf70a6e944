"""What cluster/monitoring watches is on the gateway's page; its alerts fire when they should, and
lead to a runbook; Prometheus reads the page once, however many proxies lead to it.
"""

import json
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from scipy import stats
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from fairgen.judging import sampling_floor
from pipelines.recipe.recipe import load_recipe
from pipelines.registry.local_server import free_port
from pipelines.serve.access.closing import Closing
from pipelines.serve.access.middleware import AccessMiddleware
from pipelines.serve.image_plan import ImageUpdate, ReplicaState
from pipelines.serve.inspector import Inspected
from pipelines.serve.metrics import FORGOTTEN_AFTER_S, GatewayMetrics
from pipelines.serve.retries import Refusals
from pipelines.serve.schemas import Provenance
from pipelines.serve.settings import AccessConfig, ServeSettings
from tests.pipelines.in_process import listening

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "cluster" / "monitoring"
RUNBOOK = "docs/operations.md"
OPERATIONS = (ROOT / RUNBOOK).read_text()
GROUPS = yaml.safe_load((FOLDER / "alerts.yaml").read_text())["spec"]["groups"]
ALERTS = [rule for group in GROUPS for rule in group["rules"]]
DASHBOARD = json.loads((FOLDER / "dashboard.json").read_text())
(ENDPOINT,) = yaml.safe_load((FOLDER / "podmonitor.yaml").read_text())["spec"][
    "podMetricsEndpoints"
]
BY_PROMETHEUS = {"up": {"job", "instance"}}
_WORDS = {"and", "or", "unless", "by", "on", "ignoring", "group_left", "without", "offset"}
_PATIENCE_S = 120


def dashboard_expressions() -> Iterator[tuple[str, str]]:
    """Yield every expression of the dashboard, its variables filled in, with its panel's title."""
    for panel in DASHBOARD["panels"]:
        for target in panel["targets"]:
            filled = target["expr"].replace("$__rate_interval", "1m").replace("$endpoint", "e")
            yield panel["title"], filled
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            (inner,) = re.findall(r"label_values\((.*), \w+\)", variable["query"]["query"])
            yield variable["name"], inner


EXPRESSIONS = [(rule["alert"], rule["expr"]) for rule in ALERTS] + list(dashboard_expressions())


def metrics_in(expression: str) -> set[str]:
    """Return the names that are no function, no word of the language, no label."""
    bare = re.sub(r'"[^"]*"|\{[^}]*\}|\[[^]]*\]', " ", expression)
    bare = re.sub(r"\b(by|on|without|ignoring)\s*\([^)]*\)", " ", bare)
    names = re.findall(r"\b[a-z_:]+\b(?!\s*\()", re.sub(r"\b\d+[smhd]\b", " ", bare))
    return set(names) - _WORDS


def labels_in(expression: str) -> set[str]:
    """Return the labels that an expression groups, joins or selects by."""
    lists = re.findall(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)", expression)
    selected = re.findall(r"(\w+)\s*[=!]~?\s*\"", expression)
    return {name.strip() for names in lists for name in names.split(",")} | set(selected)


@pytest.fixture(scope="module")
def metrics() -> GatewayMetrics:
    """The page of a gateway that has answered, lost a picture, and had one inspected."""
    page = GatewayMetrics()
    made = Provenance(
        model="m", prompt="a doctor", seed=1, num_inference_steps=2, guidance_scale=1.0,
        categories={"gender": "woman"}, probability=0.5, adapters=(), gate=None,
    )  # fmt: skip
    replica = ReplicaState(
        "p", waiting=3, batch_rows=8, step_s=0.25, failed_batches=0, reloads=1, failed_reloads=2
    )
    page.count(ImageUpdate(0, b"png", provenance=made, replica=replica), took_s=0.3)
    page.count(ImageUpdate(0, b"", error="no memory"), took_s=0.3)
    page.count_answer(200)
    page.show_inspected({"gender": Inspected("woman", "man", gap=0.1, hit_rate=0.9)})
    return page


@pytest.fixture(scope="module")
def shown(metrics: GatewayMetrics) -> dict[str, set[str]]:
    """Metric -> its labels, of the page and of what Prometheus adds."""
    samples = [
        sample
        for family in text_string_to_metric_families(metrics.render())
        for sample in family.samples
    ]
    page = {name: {"job", "instance"} for name in {sample.name for sample in samples}}
    for sample in samples:
        page[sample.name] |= sample.labels.keys()
    return page | BY_PROMETHEUS


@pytest.mark.parametrize(("name", "expression"), EXPRESSIONS)
def test_every_metric_and_label_is_on_the_page(
    name: str, expression: str, shown: dict[str, set[str]]
) -> None:
    named = metrics_in(expression)
    assert named and named <= shown.keys()
    assert labels_in(expression) <= set().union(*(shown[metric] for metric in named))


def test_names_are_told_from_the_language() -> None:
    expression = 'sum by (le) (rate(a_b[5m])) / on (x) c{y="up"} offset 1d > 0.5 and absent(up)'
    assert metrics_in(expression) == {"a_b", "c", "up"}
    assert labels_in(expression) == {"le", "x", "y"}


def test_every_alert_says_what_it_is_and_has_a_runbook() -> None:
    headings = re.findall(r"^#+ (.+)$", OPERATIONS, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    assert len(ALERTS) == len({rule["alert"] for rule in ALERTS}) == 9
    for rule in ALERTS:
        assert rule["labels"]["severity"] in ("warning", "critical")
        assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
        page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        assert page == RUNBOOK and anchor in anchors
        assert anchor == rule["alert"].lower()
    sections = [heading for heading in headings if heading.startswith("Fairgen")]
    assert sections == [rule["alert"] for rule in ALERTS]


def bound(alert: str) -> float:
    """Return the first bound of an alert."""
    (rule,) = [rule for rule in ALERTS if rule["alert"] == alert]
    return float(re.findall(r" [<>]=? ([\d.]+)", rule["expr"])[0])


def test_bounds_are_what_the_recipe_makes_champion() -> None:
    thresholds = load_recipe(ROOT / "pipelines/recipes/portraits.yaml").thresholds.values()
    assert bound("FairgenGapWide") == min(threshold.max_fd for threshold in thresholds)
    assert bound("FairgenHitRateLow") == min(threshold.min_hit_rate for threshold in thresholds)


def test_the_dashboard_draws_the_alerts_bounds() -> None:
    drawn = {
        panel["title"]: panel["fieldConfig"]["defaults"]["thresholds"]["steps"][-1]["value"]
        for panel in DASHBOARD["panels"]
    }
    assert drawn["Gap"] == bound("FairgenGapWide")
    assert drawn["Hit rate"] == bound("FairgenHitRateLow")
    assert drawn["Seconds of a picture"] == bound("FairgenPicturesSlow")


def test_chance_alone_does_not_reach_the_gap_s_bound() -> None:
    """What the runbook says of 200 pictures: misses of one in ten, both ways; a coin's floor."""
    num_images, miss = 200, 0.1
    moved = stats.binom(num_images // 2, miss)
    net = [
        moved.pmf(one) * moved.pmf(other)
        for one in range(num_images // 2 + 1)
        for other in range(num_images // 2 + 1)
        if 2**0.5 * abs(one - other) / num_images > bound("FairgenGapWide")
    ]
    assert sum(net) < 1e-3
    for num_categories, name in ((2, "two categories"), (4, "four")):
        floor = sampling_floor([1 / num_categories] * num_categories, num_images)
        assert f"{floor:.3f}" in OPERATIONS and name in OPERATIONS


def test_a_silent_engine_s_last_word_is_gone_before_it_alarms() -> None:
    (rule,) = [rule for rule in ALERTS if rule["alert"] == "FairgenPicturesWait"]
    assert float(rule["for"].removesuffix("m")) * 60 > FORGOTTEN_AFTER_S


def test_the_dashboard_leaves_the_choice_of_prometheus_open() -> None:
    datasource, endpoint = DASHBOARD["templating"]["list"]
    assert datasource["type"] == "datasource" and datasource["query"] == "prometheus"
    chosen = {"type": "prometheus", "uid": f"${{{datasource['name']}}}"}
    assert endpoint["datasource"] == chosen
    for panel in DASHBOARD["panels"]:
        assert panel["datasource"] == chosen
        assert all(target["datasource"] == chosen for target in panel["targets"])
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    for one, other in combinations((panel["gridPos"] for panel in DASHBOARD["panels"]), 2):
        apart = (abs(one["x"] - other["x"]) >= 8, abs(one["y"] - other["y"]) >= 8)
        assert any(apart), (one, other)


def test_the_kustomization_carries_all_three() -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl renders the kustomization")
    done = subprocess.run(
        ["kubectl", "kustomize", str(FOLDER)], capture_output=True, text=True, check=True
    )
    found = {manifest["kind"]: manifest for manifest in yaml.safe_load_all(done.stdout)}
    assert found.keys() == {"ConfigMap", "PodMonitor", "PrometheusRule"}
    assert found["ConfigMap"]["metadata"]["labels"] == {"grafana_dashboard": "1"}
    assert json.loads(found["ConfigMap"]["data"]["dashboard.json"]) == DASHBOARD
    assert found["PrometheusRule"]["spec"]["groups"] == GROUPS


def test_the_monitor_asks_the_endpoint_s_own_service() -> None:
    base = ROOT / "cluster" / "kuberay" / "base"
    serving = yaml.safe_load((base / "serve.yaml").read_text())["http_options"]["port"]
    cluster = yaml.safe_load((base / "raycluster.yaml").read_text())["spec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        ports = group["template"]["spec"]["containers"][0]["ports"]
        assert {"name": ENDPOINT["port"], "containerPort": serving} in ports
    service = yaml.safe_load((base / "rayservice.yaml").read_text())["metadata"]["name"]
    address = ENDPOINT["relabelings"][0]["replacement"]
    assert address == f"{service}-serve-svc.$1.svc:{serving}"


promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool, of Debian's package prometheus"
)


def run(*command: str | Path) -> None:
    """Run a command; its output is the failure's text."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def rule_file(path: Path, groups: list[dict[str, Any]]) -> Path:
    path.write_text(yaml.safe_dump({"groups": groups}))
    return path


@promtool
def test_every_expression_is_one(tmp_path: Path) -> None:
    records = [
        {"record": f"panel:{number}", "expr": expression}
        for number, (_, expression) in enumerate(dashboard_expressions())
    ]
    panels = rule_file(tmp_path / "panels.yaml", [{"name": "panels", "rules": records}])
    run("promtool", "check", "rules", rule_file(tmp_path / "alerts.yaml", GROUPS), panels)


@promtool
def test_alerts_fire_when_they_should_and_only_then(tmp_path: Path) -> None:
    cases = (FOLDER / "alerts.test.yaml").read_text()
    raised = set(re.findall(r"""exp_samples: \[\{labels: '\{alertname="(\w+)\"""", cases))
    assert raised == {rule["alert"] for rule in ALERTS}
    rule_file(tmp_path / "alerts.yaml", GROUPS)
    (tmp_path / "alerts.test.yaml").write_text(cases)
    run("promtool", "test", "rules", tmp_path / "alerts.test.yaml")


@promtool
def test_the_configuration_of_the_page_is_one(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(rule_files.*?)```", OPERATIONS, re.DOTALL)
    (tmp_path / "prometheus.yml").write_text(block)
    run("promtool", "check", "config", "--syntax-only", tmp_path / "prometheus.yml")


@pytest.fixture
def address(metrics: GatewayMetrics, tmp_path: Path) -> Iterator[str]:
    """Where the page is, behind the gateway's own door."""

    async def page(_: Request) -> PlainTextResponse:
        return PlainTextResponse(metrics.render())

    (tmp_path / "keys").write_text("the key of somebody\nthe key of the scraper\n")
    app = Starlette(routes=[Route("/metrics", page)])
    settings = ServeSettings(access=AccessConfig(keys_file=tmp_path / "keys"))
    app.add_middleware(AccessMiddleware, settings=settings, refusals=Refusals(), closing=Closing())
    with listening(app) as found:
        yield found.removeprefix("http://")


def relabelings(address: str) -> list[dict[str, Any]]:
    """Return the PodMonitor's, in Prometheus' words, with an address that is here."""
    words = {"sourceLabels": "source_labels", "targetLabel": "target_label"}
    found = [{words.get(k, k): v for k, v in rule.items()} for rule in ENDPOINT["relabelings"]]
    return [{**found[0], "replacement": address}, *found[1:]]


def test_prometheus_reads_the_page_once_behind_many_proxies(address: str, tmp_path: Path) -> None:
    """The operator's part is done by hand: targets with the labels of three pods, and its own
    relabelings before ours.
    """
    if shutil.which("prometheus") is None:
        pytest.skip("prometheus, of Debian's package of that name")
    pods = [
        {"targets": [f"10.0.0.{n}:8000"],
         "labels": {"__meta_kubernetes_namespace": "default", "pod": f"worker-{n}",
                    "container": "ray-worker", "endpoint": "serve", "namespace": "default"}}
        for n in (1, 2, 3)
    ]  # fmt: skip
    common = {
        "metrics_path": ENDPOINT["path"], "scrape_interval": "1s", "static_configs": pods,
        "relabel_configs": relabelings(address),
    }  # fmt: skip
    with_key = {
        "job_name": "a",
        "authorization": {"credentials": "the key of the scraper"},
    } | common
    without = {"job_name": "b"} | common
    without["relabel_configs"] = [
        *relabelings(address), {"target_label": "job", "replacement": "keyless"}
    ]  # fmt: skip
    (tmp_path / "prometheus.yml").write_text(
        yaml.safe_dump(
            {
                "global": {"evaluation_interval": "1s"},
                "rule_files": [str(rule_file(tmp_path / "alerts.yaml", GROUPS))],
                "scrape_configs": [with_key, without],
            }
        )
    )
    port = free_port()
    server = subprocess.Popen(
        ["prometheus", f"--config.file={tmp_path}/prometheus.yml",
         f"--storage.tsdb.path={tmp_path}/data", f"--web.listen-address=127.0.0.1:{port}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        up = asked(port, "query?query=up", lambda found: len(found["result"]) == 2)
        seen = {found["metric"]["job"]: found for found in up["result"]}
        labels = {"__name__": "up", "instance": address, "job": "fairgen", "namespace": "default"}
        assert seen["fairgen"]["metric"] == labels
        assert seen["fairgen"]["value"][1] == "1" and seen["keyless"]["value"][1] == "0"
        assert len(asked(port, "targets", bool)["activeTargets"]) == 2  # of six
        counted = asked(
            port, "query?query=fairgen_images_delivered_total", lambda found: found["result"]
        )["result"]
        assert [found["value"][1] for found in counted] == ["1"]
        (group,) = asked(
            port, "rules", lambda found: "unknown" not in str(found["groups"])
        )["groups"]  # fmt: skip
        assert [rule["health"] for rule in group["rules"]] == ["ok"] * len(ALERTS)
    finally:
        server.terminate()
        server.wait(timeout=30)


def asked(port: int, what: str, enough: Any) -> dict[str, Any]:
    """Return an answer of Prometheus' API, once there is enough in it."""
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            url = f"http://127.0.0.1:{port}/api/v1/{what}"
            with urllib.request.urlopen(url, timeout=10) as answer:
                data: dict[str, Any] = json.load(answer)["data"]
            if enough(data):
                return data
        except OSError:
            pass
        assert time.monotonic() < deadline, f"Prometheus does not say {what}"
        time.sleep(0.3)
