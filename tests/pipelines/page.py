"""The endpoint's page in a browser, and what a person does with it."""

import base64
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlparse

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

TIMEOUT_S = 120


@dataclass(frozen=True)
class Page:
    """The open page, and what a person does with it."""

    driver: webdriver.Chrome

    def open(self, address: str) -> "Page":
        for kind in ("browser", "performance"):
            self.driver.get_log(kind)
        self.driver.get(address)
        self.wait(lambda: self.one("#attributes").get_attribute("aria-busy") == "false")
        return self

    def wait(self, happened: Callable[[], object]) -> None:
        WebDriverWait(self.driver, TIMEOUT_S, poll_frequency=0.1).until(lambda _: happened())

    def one(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        return self.one(selector).text

    def texts(self, selector: str) -> list[str]:
        return [found.text for found in self.all(selector)]

    def write(self, field: str, text: str) -> None:
        self.one(f"#{field}").clear()
        self.one(f"#{field}").send_keys(text)

    def shares(self, attribute: str) -> list[int]:
        sliders = self.all(f"#attribute-{attribute} input[type=range]")
        return [int(str(slider.get_property("value"))) for slider in sliders]

    def write_steps(self, steps: str) -> None:
        if not self.one("#num_inference_steps").is_displayed():
            self.one("#more summary").click()
        self.write("num_inference_steps", steps)

    def generate(self) -> None:
        self.one("#generate").click()
        self.wait(lambda: self.one("#generate").is_enabled())

    def pictures(self, panel: str) -> list[bytes]:
        return [contained(image, "src") for image in self.all(f"#{panel} img")]

    def resize(self, width: int, height: int) -> None:
        """Make the window's inside so large, as a phone's screen where it is narrow."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def on_screen(self, selector: str) -> bool:
        """Return whether all of an element is inside the window."""
        script = (
            "const { top, bottom, left, right } = arguments[0].getBoundingClientRect();"
            "return top >= 0 && left >= 0 && bottom <= innerHeight && right <= innerWidth;"
        )
        return bool(self.driver.execute_script(script, self.one(selector)))

    def colour(self, selector: str, variable: str = "background-color") -> tuple[int, ...]:
        """Return red, green and blue of a style, 0 to 255."""
        found = self.one(selector).value_of_css_property(variable)
        return tuple(int(part) for part in re.findall(r"\d+", found)[:3])

    def focused(self) -> str:
        return self.driver.switch_to.active_element.get_attribute("id") or ""

    def complaints(self) -> list[str]:
        """Return what the browser's console holds of warnings and errors."""
        entries = self.driver.get_log("browser")
        return [entry["message"] for entry in entries if entry["level"] in ("WARNING", "SEVERE")]

    def foreign_requests(self, address: str) -> list[str]:
        """Return the addresses of other origins that the page has asked."""
        messages = [json.loads(e["message"])["message"] for e in self.driver.get_log("performance")]
        asked = [
            message["params"]["request"]["url"]
            for message in messages
            if message["method"] == "Network.requestWillBeSent"
        ]
        assert address + "/" in asked
        own = urlparse(address)
        return [
            url for url in asked if urlparse(url).scheme != "data" and urlparse(url)[:2] != own[:2]
        ]


def contained(element: WebElement, attribute: str) -> bytes:
    """Return the content of a data URL."""
    return base64.b64decode(str(element.get_attribute(attribute)).split(",", 1)[1])
