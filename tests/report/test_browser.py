"""The page in a browser: sorting, pictures, the console, and its width."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.synthetic import put, report, sweep

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
if BROWSER is None or DRIVER is None:
    pytest.skip("chromium or chromedriver is not installed", allow_module_level=True)

FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
)
WIDTHS = (400, 1400)
# What real runs take: LeNet on digits, barely trained.
REAL = (
    "-m seed=0,1 filter.entropy=0.3,0.6,null filter.entropy_definition=quantile model=lenet "
    "training.epochs=2 method=gkt method.iterations=4 method.batch_size=16 method.student_steps=2 "
    "evaluation.every=1 hardware=cpu hardware.threads=1 tracking.mode=disabled"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Headless Chromium with a profile of its own."""
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    profile = tmp_path_factory.mktemp("profile")
    for flag in (*FLAGS.split(), f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(
        options=options, service=webdriver.ChromeService(executable_path=DRIVER)
    )
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of a sweep, with a failed run whose words are long."""
    folder = tmp_path_factory.mktemp("page")
    sweep(folder / "outputs")
    error = f"RunError: {'averyveryverylongword' * 12}"
    put(folder / "outputs", seed=9, status="failed", error=error)
    target = folder / "report.html"
    keys = ["--rows", "method,filter.entropy", "--columns", "forget"]
    done = report("page", folder / "outputs", *keys, "--output", str(target))
    assert done.returncode == 0, done.stderr
    return target


def opened(browser: Any, page: Path, width: int) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get_log("browser")
    browser.get(page.as_uri())


def check(browser: Any, page: Path, width: int, pictures: int) -> None:
    """No word in the console, no side-scrolling, every picture there, every detail unfolded."""
    opened(browser, page, width)
    browser.execute_script("document.querySelectorAll('details').forEach(d => { d.open = true })")
    widths = "return [document.documentElement.scrollWidth, window.innerWidth]"
    found, there = browser.execute_script(widths)
    assert there == width
    assert found <= width
    sizes = browser.execute_script("return [...document.images].map(i => i.naturalWidth)")
    assert len(sizes) == pictures
    assert min(sizes) > 0
    inside = (
        "return [...document.querySelectorAll('.charts svg, img, pre')]"
        ".every(e => e.getBoundingClientRect().width > 0"
        " && e.getBoundingClientRect().right <= window.innerWidth)"
    )
    assert browser.execute_script(inside)
    assert browser.get_log("browser") == []


def column(browser: Any, number: int) -> list[str]:
    cells = (
        f"return [...document.querySelectorAll('tbody tr')].map(r => r.cells[{number}].innerText)"
    )
    found: list[str] = browser.execute_script(cells)
    return found


def numbers(cells: list[str]) -> list[float]:
    return [float(match[0]) for cell in cells if (match := re.match(r"[\d.]+", cell))]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_is_whole_at_any_width(browser: Any, page: Path, width: int) -> None:
    check(browser, page, width, pictures=12)


def test_headings_sort_by_number_both_ways(browser: Any, page: Path) -> None:
    opened(browser, page, 1400)
    headings = browser.find_elements("css selector", "thead tr:last-child th")
    names = [heading.text.split("\n")[0] for heading in headings]
    number = next(i for i, name in enumerate(names) if name.startswith("D_r"))
    before = column(browser, number)
    assert numbers(before) != sorted(numbers(before))
    headings[number].find_element("css selector", "button").click()
    assert headings[number].get_attribute("aria-sort") == "ascending"
    assert numbers(column(browser, number)) == sorted(numbers(before))
    headings[number].find_element("css selector", "button").send_keys("\ue007")  # Enter
    assert headings[number].get_attribute("aria-sort") == "descending"
    assert numbers(column(browser, number)) == sorted(numbers(before), reverse=True)
    headings[0].find_element("css selector", "button").send_keys(" ")
    assert headings[number].get_attribute("aria-sort") is None
    assert column(browser, 0) == ["gkt"] * 3 + ["noise"] * 3


def test_what_has_no_number_stays_below(browser: Any, page: Path) -> None:
    opened(browser, page, 1400)
    button = browser.find_elements("css selector", "thead tr:last-child th button")[1]
    button.click()
    assert column(browser, 1) == ["0.5", "0.5", "1", "1", "null", "null"]
    button.click()
    assert column(browser, 1) == ["1", "1", "0.5", "0.5", "null", "null"]


def test_numbers_are_not_sorted_as_words(browser: Any, tmp_path: Path) -> None:
    for seed, value in enumerate((9.5, 100.0, 23.0)):
        put(tmp_path / "outputs", D_r=value, forget=[seed])
    target = tmp_path / "report.html"
    keys = ["--rows", "forget", "--figures", "D_r", "--output", str(target)]
    assert report("page", tmp_path / "outputs", *keys).returncode == 0
    opened(browser, target, 1400)
    browser.find_elements("css selector", "thead th button")[2].click()
    assert column(browser, 2) == ["9.50", "23.00", "100.00"]


@pytest.mark.slow
def test_real_runs_make_a_whole_page(browser: Any, tmp_path: Path) -> None:
    outputs, target = tmp_path / "outputs", tmp_path / "report.html"
    done = subprocess.run(
        [sys.executable, "-m", "unlearn", *REAL.split(), f"outputs={outputs}"],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    keys = ["--rows", "method,filter.entropy", "--output", str(target)]
    made = report("page", outputs, *keys)
    assert made.returncode == 0, made.stderr
    check(browser, target, 400, pictures=6)
    headings = [h.text for h in browser.find_elements("css selector", "h2")]
    assert headings == [
        "Table",
        "Accuracy against iterations",
        "Retain against forget accuracy",
        "Against filter.entropy",
        "Pictures",
    ]
