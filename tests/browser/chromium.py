"""The browser that is installed on this machine, and the sizes at which pages are looked at.

`python -m tests.browser.chromium` says what is missing, if anything is.
"""

import shutil
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import ViewportSize

NAMES = ("chromium", "chromium-browser", "google-chrome")
SWITCHES = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
WIDE: "ViewportSize" = {"width": 1280, "height": 900}
NARROW: "ViewportSize" = {"width": 390, "height": 844}


def executable() -> str | None:
    """Its path; None if there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


def what_is_missing() -> str:
    """Why no page can be looked at; "" if it can."""
    if executable() is None:
        return "no Chromium on this machine"
    return "" if find_spec("playwright") else "playwright is not installed"


if __name__ == "__main__":
    sys.exit(f"Pages cannot be looked at here: {what}." if (what := what_is_missing()) else 0)
