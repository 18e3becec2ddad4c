"""Makes the picture of docs/view.md: the page of the demo's network, as Chromium shows it.

After `make demo`: python tests/view_picture.py
"""

from pathlib import Path

from browser import chromium, show

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "results/views/demo/fold-official/seed-0/u-net.html"
PICTURE = ROOT / "docs/view.png"
SIZE = (940, 690)


def main() -> None:
    with chromium() as browser:
        show(browser, PAGE, size=SIZE)
        browser.execute_script("select(objects.kept.find((o) => o.number === 16))")
        browser.execute_script("return new Promise(requestAnimationFrame)")
        browser.save_screenshot(str(PICTURE))


if __name__ == "__main__":
    main()
