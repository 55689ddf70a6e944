"""Debian's Chromium, without a window."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver

_FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-features=BackForwardCache "
    "--window-size=1280,1000"
)


@contextmanager
def headless_browser(profile: Path) -> Iterator[webdriver.Chrome]:
    """Yield a browser with a profile of its own; skip where none is installed, but not in CI."""
    browser, driver_file = shutil.which("chromium"), shutil.which("chromedriver")
    if browser is None or driver_file is None:
        missing = "no chromium or chromedriver: apt-get install -y chromium chromium-driver"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in (*_FLAGS.split(), f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(driver_file))
    try:
        yield driver
    finally:
        driver.quit()


def open_registry(driver: webdriver.Chrome, address: str) -> None:
    """Open MLflow's page as somebody sees it who has closed the panel of the first visit."""
    driver.get(address)
    driver.execute_script(
        "localStorage['mlflow.assistant.panelOpen_v1'] = 'false';"
        "localStorage['mlflow.assistant.fab.autoOpenedOnFirstLoad_v1'] = 'true';"
    )
