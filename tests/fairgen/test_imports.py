"""The method stands alone: every module of fairgen imports with ray and mlflow out of reach."""

import subprocess
import sys

BLOCKED = """
import importlib, pkgutil, sys

for name in ("ray", "mlflow", "pipelines"):
    sys.modules[name] = None  # importing it raises ModuleNotFoundError, as if it were not installed
import fairgen
names = [m.name for m in pkgutil.walk_packages(fairgen.__path__, "fairgen.")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""


def test_fairgen_imports_neither_ray_nor_mlflow_nor_pipelines() -> None:
    done = subprocess.run([sys.executable, "-c", BLOCKED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 15
