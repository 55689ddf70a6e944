"""The manifests of cluster/, read and looked through."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import yaml

import fairgen

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
SCHEMA = yaml.safe_load((Path(__file__).parent / "kuberay.schema.yaml").read_text())
KUBERNETES = "1.34"
VERSION = fairgen.__version__
KUSTOMIZED = ("kuberay", "mlflow", "kind")
PLAIN = sorted(
    path.relative_to(CLUSTER)
    for path in CLUSTER.rglob("*.yaml")
    if path.name not in ("kustomization.yaml", "serve.yaml", "launcher.yaml")
    and path.parent.name != "monitoring"  # test_monitoring.py looks at those
)


def check(manifest: dict[str, Any]) -> None:
    """Raise unless an object is what its kind allows."""
    if not manifest["apiVersion"].startswith("ray.io/"):
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
        return
    jsonschema.validate(manifest, SCHEMA)
    for template in pod_templates(manifest):
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, **template}
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def ray_cluster(manifest: dict[str, Any]) -> dict[str, Any]:
    spec = manifest["spec"]
    return spec.get("rayClusterConfig", {}) if manifest["kind"] == "RayService" else spec


def pod_templates(manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the templates of an object's pods."""
    if manifest["apiVersion"].startswith("ray.io/"):
        cluster = ray_cluster(manifest)
        if "headGroupSpec" in cluster:
            groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
            yield from (group["template"] for group in groups)
    elif "template" in manifest.get("spec", {}):
        yield manifest["spec"]["template"]


def objects(path: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((CLUSTER / path).read_text()))


def one(manifests: list[dict[str, Any]], kind: str, name: str = "") -> dict[str, Any]:
    (found,) = [m for m in manifests if m["kind"] == kind and name in (m["metadata"]["name"], "")]
    return found
