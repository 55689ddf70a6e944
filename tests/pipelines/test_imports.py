"""What starts in a second: parts that paint nothing import none of the libraries that paint."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "diffusers", "transformers", "mlflow", "scipy", "matplotlib")


@pytest.mark.parametrize(
    "module",
    [
        "pipelines.cli.app",
        "pipelines.recipe.recipe",
        "pipelines.serve.deployments",  # gateway and indicator: one small process each
        "pipelines.ray_runtime.resumable",
    ],
)
def test_what_paints_nothing_starts_without_the_libraries_that_paint(module: str) -> None:
    script = f"import sys, {module}; print([n for n in {HEAVY} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


@pytest.mark.slow
def test_a_run_s_driver_loads_no_diffusion_library() -> None:
    script = "import sys, pipelines.training.workflow; print('diffusers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr


def test_pictures_are_encoded_where_the_libraries_that_sign_are_not_installed() -> None:
    script = (
        "import sys\n"
        "sys.modules.update(dict.fromkeys(('c2pa', 'cryptography', 'defusedxml')))\n"
        "from PIL import Image\n"
        "from fairgen.provenance import encode, read_record\n"
        "print(read_record(encode(Image.new('RGB', (8, 8)), 'jpeg')))\n"
        "from pipelines.cli.app import app\n"
        "app(['inspect', 'a.png'])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "None", done.stderr
    needed = "provenance: c2pa is not installed, which needs `pip install 'fairgen[provenance]'`"
    assert done.stderr.strip() == needed and done.returncode == 1
