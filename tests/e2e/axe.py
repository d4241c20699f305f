"""What keeps people from using a page, as axe-core sees it, in light and in dark."""

from collections.abc import Sequence
from importlib.resources import files

from playwright.sync_api import Page

# Read as a file: the package's own functions would load it anew for every look.
_AXE = (files("axe_playwright_python") / "axe.min.js").read_text()
# WCAG 2.2 AA, and what axe calls good practice beyond it.
WCAG = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
GOOD_PRACTICE = (*WCAG, "best-practice")
# The elements of a page are the same in light and in dark; this is what can still differ.
_COLOURS = ("color-contrast", "link-in-text-block")

# Colours that still fade from one scheme to the other are neither's.
_FADED = """document.getAnimations()
  .filter(one => one.effect.getComputedTiming().endTime < Infinity)
  .forEach(one => one.finish())"""


def barriers(page: Page, rules: Sequence[str] = GOOD_PRACTICE) -> list[str]:
    """What axe finds on the page by these rules, one line for each element."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(_AXE)
    return [*_barriers(page, "light", rules), *_barriers(page, "dark", _COLOURS)]


def _barriers(page: Page, scheme: str, rules: Sequence[str]) -> list[str]:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    page.evaluate(_FADED)
    options = {"runOnly": list(rules), "resultTypes": ["violations"]}
    found = page.evaluate("options => axe.run(document, options)", options)
    return [
        f"{fault['id']} in {scheme}: {' '.join(map(str, node['target']))} {node['html'][:200]}"
        for fault in found["violations"]
        for node in fault["nodes"]
    ]
