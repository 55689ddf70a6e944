"""Take the front page's pictures: `make screenshots`, after `make train-all`, with Chromium."""

import io
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from pipelines.recipe import DEFAULT_RECIPE, load_recipe
from pipelines.registry import Registry, free_port, tracking_server
from tests.pipelines.browser import headless_browser
from tests.pipelines.page import Page

DOCS = Path(__file__).parents[1] / "docs"
HOME = Path(".fairgen")
_START_S = 300


@contextmanager
def running(*arguments: str, answers: str) -> Iterator[None]:
    """Run a verb until the block ends; wait until it answers at an address."""
    command = [sys.executable, "-m", "pipelines.cli", *arguments]
    process = subprocess.Popen(command, start_new_session=True)
    try:
        deadline = time.monotonic() + _START_S
        while True:
            try:
                urllib.request.urlopen(answers, timeout=5)
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(1)
        yield
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait()


def save(page: Page, name: str) -> None:
    """Write what the window shows into docs/."""
    image = Image.open(io.BytesIO(page.driver.get_screenshot_as_png())).convert("RGB")
    image.save(DOCS / name, quality=82, method=6)


def main() -> None:
    with tempfile.TemporaryDirectory() as profile, headless_browser(Path(profile)) as driver:
        page = Page(driver)
        page.resize(1280, 800)
        port = free_port()
        address = f"http://127.0.0.1:{port}"
        with running("serve", "--port", str(port), answers=f"{address}/health"):
            page.open(address)
            page.write("seed", "7")
            page.generate()
            save(page, "page.webp")
        with tracking_server(HOME) as uri:
            registry = Registry(uri, load_recipe(DEFAULT_RECIPE))
            champion = registry.champions()["gender"].members["woman"]
            driver.get(f"{uri}/#/models/{champion.name}/versions/{champion.version}")
            WebDriverWait(driver, 60).until(
                lambda _: "Perceived presentation" in driver.find_element(By.TAG_NAME, "body").text
            )
            time.sleep(2)  # the grid comes after the text
            save(page, "registry.webp")


if __name__ == "__main__":
    main()
