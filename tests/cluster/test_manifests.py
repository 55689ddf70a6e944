"""Every YAML of cluster/ fits the published schemas and the code: images, ports, names, times."""

import importlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import jsonschema
import pytest
import yaml
from typer.main import get_command

from pipelines.cli.app import app
from pipelines.ray_runtime.session import RAY_SETTINGS
from pipelines.serve.app import DRAIN_MARGIN_S
from pipelines.serve.remote import CONFIG, serve_config
from pipelines.serve.settings import AccessConfig, ServeSettings
from tests.cluster.manifests import (
    CLUSTER,
    KUSTOMIZED,
    PLAIN,
    ROOT,
    VERSION,
    check,
    objects,
    one,
    pod_templates,
    ray_cluster,
)


@pytest.mark.parametrize("path", PLAIN, ids=str)
def test_every_object_fits_its_schema(path: Path) -> None:
    for manifest in objects(path):
        if manifest["kind"] == "RayService":  # filled by the kustomization
            manifest["spec"].pop("rayClusterConfig")
        check(manifest)


@pytest.mark.parametrize("name", KUSTOMIZED)
def test_what_is_rendered_fits_its_schema(
    name: str, rendered: dict[str, list[dict[str, Any]]]
) -> None:
    assert rendered[name]
    for manifest in rendered[name]:
        check(manifest)


def test_a_wrong_field_is_found() -> None:
    (manifest,) = objects(Path("kuberay/base/raycluster.yaml"))
    manifest["spec"]["workerGroupSpecs"][0]["replica"] = 1
    with pytest.raises(jsonschema.ValidationError, match="'replica' was unexpected"):
        check(manifest)
    (manifest,) = objects(Path("kuberay/base/raycluster.yaml"))
    manifest["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]["imag"] = "x"
    with pytest.raises(Exception, match="imag"):
        check(manifest)


def test_the_service_runs_in_the_cluster_s_pods_what_serve_yaml_says(
    rendered: dict[str, list[dict[str, Any]]],
) -> None:
    for name in ("kuberay", "kind"):
        service = one(rendered[name], "RayService")["spec"]
        assert service["rayClusterConfig"] == one(rendered[name], "RayCluster")["spec"]
        assert yaml.safe_load(service["serveConfigV2"]) == yaml.safe_load(CONFIG.read_text())


def test_the_overlay_wants_no_gpu(rendered: dict[str, list[dict[str, Any]]]) -> None:
    kinds = {m["kind"] for m in rendered["kind"]}
    assert kinds >= {"RayCluster", "RayService", "Deployment", "StatefulSet", "Secret"}
    assert "nvidia" not in yaml.safe_dump_all(rendered["kind"])
    environment = one(rendered["kind"], "ConfigMap", "fairgen-environment")["data"]
    assert environment["FAIRGEN_GPUS_PER_REPLICA"] == "0"
    assert len(environment) == len(
        one(rendered["kuberay"], "ConfigMap", "fairgen-environment")["data"]
    )


def test_the_overlay_fits_into_the_machine_that_it_names(
    rendered: dict[str, list[dict[str, Any]]],
) -> None:
    first_line = (CLUSTER / "kind/kustomization.yaml").read_text().splitlines()[0]
    (cpus, gib) = re.findall(r"with (\d+) CPUs and (\d+) GiB", first_line)[0]
    asked = [requests for manifest in rendered["kind"] for requests in requests_of(manifest)]
    assert len(asked) == 10  # two heads, workers, autoscalers; what keeps state; a job
    assert sum(parse_quantity(found["cpu"]) for found in asked) <= float(cpus)
    assert sum(parse_quantity(found["memory"]) for found in asked) <= float(gib) * 2**30


def requests_of(manifest: dict[str, Any]) -> Iterator[dict[str, str]]:
    """Yield what an object's containers ask for when it starts: one pod a group."""
    for template in pod_templates(manifest):
        yield from (c["resources"]["requests"] for c in template["spec"]["containers"])
    if manifest["kind"] in ("RayCluster", "RayService"):
        yield ray_cluster(manifest)["autoscalerOptions"]["resources"]["requests"]


def parse_quantity(text: str) -> float:
    """Return a Kubernetes quantity as a number."""
    units = {"m": 1e-3, "Mi": 2.0**20, "Gi": 2.0**30}
    number, unit = re.fullmatch(r"([\d.]+)(m|Mi|Gi)?", str(text)).groups()
    return float(number) * units.get(unit, 1)


def test_the_serve_config_builds_this_endpoint() -> None:
    config = serve_config(ServeSettings())
    (application,) = config["applications"]
    module, _, function = application["import_path"].partition(":")
    assert callable(getattr(importlib.import_module(module), function))
    settings = ServeSettings.model_validate(application["args"])
    assert (ROOT / settings.recipe).is_file()
    changed = serve_config(ServeSettings(recipe=Path("mine.yaml"), max_rows=4))
    assert changed["applications"][0]["args"] == application["args"] | {
        "recipe": "mine.yaml", "max_rows": 4,
    }  # fmt: skip


def test_flags_leave_the_config_s_other_settings_alone(tmp_path: Path) -> None:
    config = yaml.safe_load(CONFIG.read_text())
    config["applications"][0]["args"]["access"] = {
        "keys_file": "/mnt/keys",
        "concurrent_requests": 9,
    }
    (tmp_path / "serve.yaml").write_text(yaml.safe_dump(config))
    settings = ServeSettings(access=AccessConfig(requests_per_minute=5))
    door = serve_config(settings, tmp_path / "serve.yaml")["applications"][0]["args"]["access"]
    assert door == {
        "keys_file": "/mnt/keys", "concurrent_requests": 9, "requests_per_minute": 5,
    }  # fmt: skip


def test_a_file_that_is_no_serve_config_is_refused(tmp_path: Path) -> None:
    for text in (
        "applications: [{args: {max_row: 4}, import_path: a.b:c}]",
        "x: 1",
        "applications: []",
        "[",
        "1",
    ):
        (tmp_path / "serve.yaml").write_text(text)
        with pytest.raises(ValueError, match=r"config: got .*, which is no Serve config"):
            serve_config(ServeSettings(), tmp_path / "serve.yaml")


def test_nothing_is_cut_off_before_the_endpoint_s_own_limit() -> None:
    config = serve_config(ServeSettings())
    limit_s = ServeSettings.model_validate(config["applications"][0]["args"]).limits.timeout_s
    assert config["http_options"]["request_timeout_s"] > limit_s
    (cluster,) = objects(Path("kuberay/base/raycluster.yaml"))
    for group in cluster["spec"]["workerGroupSpecs"]:
        grace_s = group["template"]["spec"]["terminationGracePeriodSeconds"]
        assert grace_s > limit_s + DRAIN_MARGIN_S


def test_a_replica_fits_into_a_worker(rendered: dict[str, list[dict[str, Any]]]) -> None:
    settings = serve_config(ServeSettings())["applications"][0]["args"]
    small = 2 * 0.1  # gateway and indicator
    for name, group, beside in (
        ("kuberay", "gpu", 0),
        ("kuberay", "cpu", small),
        ("kind", "cpu", small),
    ):
        groups = one(rendered[name], "RayCluster")["spec"]["workerGroupSpecs"]
        (found,) = [g for g in groups if g["groupName"] == group]
        resources = found["template"]["spec"]["containers"][0]["resources"]
        assert settings["cpus_per_replica"] + beside <= float(resources["limits"]["cpu"])


def test_in_the_image_too_who_is_given_no_gpu_sees_none() -> None:
    name = "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"
    assert f" {name}={RAY_SETTINGS[name]}\n" in (CLUSTER / "Dockerfile").read_text()


def test_images_are_targets_of_the_dockerfile_in_this_version() -> None:
    targets = re.findall(r"^FROM \S+ AS (\S+)$", (CLUSTER / "Dockerfile").read_text(), re.MULTILINE)
    images = set()
    for path in PLAIN:
        for manifest in objects(path):
            for template in pod_templates(manifest):
                images |= {c["image"] for c in template["spec"]["containers"]}
    images.add(yaml.safe_load((CLUSTER / "launcher.yaml").read_text())["docker"]["image"])
    ours = {image for image in images if image.startswith("fairgen")}
    assert ours == {f"fairgen:{VERSION}-{target}" for target in ("cpu", "gpu")}
    assert {"cpu", "gpu"} <= set(targets)
    assert all(":" in image for image in images)


def test_the_image_holds_the_files_that_it_copies() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().split() if line[0] == "!"}
    copied = set()
    for line in (CLUSTER / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            copied |= set(line.split()[1:-1])
    assert copied == kept and all((ROOT / name).exists() for name in copied)


def test_ray_is_of_the_version_that_is_installed() -> None:
    lock = (ROOT / "requirements/serve.lock").read_text()
    (pinned,) = re.findall(r"^ray==(\S+) ", lock, re.MULTILINE)
    (cluster,) = objects(Path("kuberay/base/raycluster.yaml"))
    assert cluster["spec"]["rayVersion"] == pinned


def test_ports_and_addresses_meet() -> None:
    config = yaml.safe_load(CONFIG.read_text())
    (cluster,) = objects(Path("kuberay/base/raycluster.yaml"))
    for template in pod_templates(cluster):
        ports = {p["name"]: p["containerPort"] for p in template["spec"]["containers"][0]["ports"]}
        assert ports["serve"] == config["http_options"]["port"]
    services = {
        manifest["metadata"]["name"]: manifest["spec"]["ports"][0]["port"]
        for path in PLAIN
        for manifest in objects(path)
        if manifest["kind"] == "Service"
    }
    base = yaml.safe_load((CLUSTER / "kuberay/base/kustomization.yaml").read_text())
    literals = dict(entry.split("=", 1) for entry in base["configMapGenerator"][0]["literals"])
    registry = urlsplit(literals["MLFLOW_TRACKING_URI"])
    assert services[registry.hostname or ""] == registry.port
    host, _, port = cluster["spec"]["gcsFaultToleranceOptions"]["redisAddress"].partition(":")
    assert services[host] == int(port)
    server = one(objects(Path("mlflow/mlflow.yaml")), "Deployment")
    arguments = server["spec"]["template"]["spec"]["containers"][0]["args"]
    allowed = (
        next(a for a in arguments if a.startswith("--allowed-hosts=")).split("=")[1].split(",")
    )
    assert registry.hostname in allowed and f"{registry.hostname}:*" in allowed
    store = next(a for a in arguments if a.startswith("--backend-store-uri=")).split("=")[1]
    assert services[urlsplit(store).hostname or ""] == urlsplit(store).port
    assert f"--port={registry.port}" in arguments


def test_storage_is_where_the_environment_says() -> None:
    (cluster,) = objects(Path("kuberay/base/raycluster.yaml"))
    base = yaml.safe_load((CLUSTER / "kuberay/base/kustomization.yaml").read_text())
    literals = dict(entry.split("=", 1) for entry in base["configMapGenerator"][0]["literals"])
    for template in pod_templates(cluster):
        mounts = [m["mountPath"] for m in template["spec"]["containers"][0]["volumeMounts"]]
        assert literals["FAIRGEN_HOME"] in mounts


def test_names_of_our_environment_are_names_that_the_code_reads() -> None:
    code = "\n".join(path.read_text() for path in (ROOT / "pipelines").rglob("*.py"))
    text = "\n".join(p.read_text() for p in CLUSTER.rglob("*") if p.is_file())
    named = set(re.findall(r"\bFAIRGEN_[A-Z_]+\b", text))
    assert named and all(f'"{name}"' in code for name in named)


def test_every_secret_s_key_is_in_its_example() -> None:
    kustomization = yaml.safe_load((CLUSTER / "mlflow/kustomization.yaml").read_text())
    known = {
        entry["name"]: set(
            re.findall(
                r"^(\w+)=", (CLUSTER / "mlflow" / f"{entry['envs'][0]}.example").read_text(), re.M
            )
        )
        for entry in kustomization["secretGenerator"]
    }
    text = "\n".join((CLUSTER / path).read_text() for path in PLAIN)
    asked = re.findall(r"secretKeyRef: \{name: ([\w-]+), key: (\w+)\}", text)
    assert asked and all(key in known[name] for name, key in asked)
    assert set(re.findall(r"secretRef: \{name: ([\w-]+)\}", text)) <= set(known)
    ignored = (ROOT / ".gitignore").read_text()
    assert "cluster/mlflow/*.env" in ignored


def test_the_job_s_command_is_one_of_ours() -> None:
    (job,) = objects(Path("kuberay/rayjob.yaml"))
    program, verb, recipe = shlex.split(job["spec"]["entrypoint"])
    assert program == "fairgen" and verb in get_command(app).commands
    assert (ROOT / recipe).is_file()
    (cluster,) = objects(Path("kuberay/base/raycluster.yaml"))
    assert job["spec"]["clusterSelector"] == {"ray.io/cluster": cluster["metadata"]["name"]}


def test_the_launcher_fits_ray_s_schema() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = yaml.safe_load((CLUSTER / "launcher.yaml").read_text())
    validate_config(prepare_config(config))
    commands = " ".join(config["head_start_ray_commands"] + config["worker_start_ray_commands"])
    assert "--head" in commands and "$RAY_HEAD_IP" in commands


def test_what_the_launcher_s_containers_need_is_there_on_every_machine() -> None:
    """Ray runs `docker run` and rsync on each machine by ssh: the shell of whoever says `ray up` is
    not theirs, and the head starts the workers out of its container.
    """
    config = yaml.safe_load((CLUSTER / "launcher.yaml").read_text())
    options = [option.split(maxsplit=1) for option in config["docker"]["run_options"]]
    given = dict(value[0].partition("=")[::2] for name, *value in options if name == "--env")
    odd = [name for name, *value in options if name == "--env" and "=" not in value[0]]
    assert odd == [], "it would be read from the machine's own environment"
    mounted = [value[0].split(":")[1] for name, *value in options if name == "--volume"]
    assert Path(given["RAY_AUTH_TOKEN_PATH"]).parent in map(Path, mounted)
    assert config["auth"]["ssh_private_key"]
    (installed,) = re.findall(
        r"apt-get install -y --no-install-recommends (.*?) &&", (CLUSTER / "Dockerfile").read_text()
    )
    assert {"openssh-client", "rsync"} <= set(installed.split())
