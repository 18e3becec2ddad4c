"""A headless Chromium, and what a test asks of a page in it."""

import json
import os
import shutil
from contextlib import contextmanager

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

PATIENCE = 20  # seconds until what never happens fails
PHONE = (390, 844)
DESKTOP = (1280, 900)


@contextmanager
def chromium():
    """Start one, without a network and without anything of a user's; the test skips without it."""
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (program and driver):
        pytest.skip("no chromium and chromedriver (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    # Root has no sandbox to go into; /dev/shm of a container is small.
    for flag in ("--headless=new", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(flag)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=Service(driver))
    try:
        yield browser
    finally:
        browser.quit()


def show(browser, page, *, size=DESKTOP, dark=False):
    """Open a page at a size; as on a phone where it is that of one."""
    is_phone = size == PHONE
    device = {"width": size[0], "height": size[1], "deviceScaleFactor": 2 if is_phone else 1}
    send = browser.execute_cdp_cmd
    send("Emulation.setDeviceMetricsOverride", device | {"mobile": is_phone})
    send("Emulation.setTouchEmulationEnabled", {"enabled": is_phone, "maxTouchPoints": 5})
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    send("Emulation.setEmulatedMedia", {"features": [scheme]})
    for kind in ("browser", "performance"):  # of the page before
        browser.get_log(kind)
    browser.get(page.as_uri())
    wait(browser, "return document.body.dataset.shown !== undefined")


def wait(browser, script, expected=True):
    """Wait until a script returns what is expected; else fail with what it returns."""
    try:
        WebDriverWait(browser, PATIENCE, 0.02).until(
            lambda _: browser.execute_script(script) == expected
        )
    except Exception:
        assert browser.execute_script(script) == expected


def errors(browser):
    """What the page complained of."""
    return [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]


def requests(browser):
    """Addresses that were asked for since `show`."""
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]
