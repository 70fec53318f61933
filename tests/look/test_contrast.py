"""Contrast of the colours that carry text or meaning, by day and by night (WCAG 2.2 AA)."""

import re
from pathlib import Path

import pytest

TOKENS = Path(__file__).parents[2] / "backoffice/static/backoffice/tokens.css"
COLOURS = {
    name: (day, night)
    for name, day, night in re.findall(
        r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\);", TOKENS.read_text()
    )
} | {"on-accent": ("#ffffff", "#ffffff")}

SURFACES = ["ground", "paper", "sink"]
TONES = ["quiet", "run", "wait", "ok", "bad"]
TEXT = (
    [(ink, surface) for ink in ("ink-1", "ink-2", "ink-3", "accent-word") for surface in SURFACES]
    + [(f"{tone}-word", f"{tone}-wash") for tone in TONES]
    + [(f"{tone}-word", surface) for tone in TONES for surface in ("paper", "sink")]
    + [("accent-word", "accent-wash"), ("ink-1", "accent-wash"), ("ink-2", "accent-wash")]
    + [("ink-3", "accent-wash"), ("ink-1", "line-2")]
    + [
        ("on-accent", f"{fill}{state}")
        for fill in ("accent-fill", "danger-fill")
        for state in ("", "-hover")
    ]
)
SHAPES = (
    [(f"{tone}-mark", f"{tone}-wash") for tone in TONES]
    + [(f"{tone}-mark", surface) for tone in TONES for surface in ("paper", "ground")]
    + [("line-3", "paper"), ("focus", "paper"), ("focus", "ground"), ("focus", "sink")]
)


def luminance(colour: str) -> float:
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_the_measure_is_right() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", [0, 1], ids=["day", "night"])
@pytest.mark.parametrize(("front", "back"), TEXT)
def test_text_has_a_contrast_of_at_least_four_and_a_half(front: str, back: str, theme: int) -> None:
    assert contrast(COLOURS[front][theme], COLOURS[back][theme]) >= 4.5


@pytest.mark.parametrize("theme", [0, 1], ids=["day", "night"])
@pytest.mark.parametrize(("front", "back"), SHAPES)
def test_shapes_and_field_borders_have_at_least_three(front: str, back: str, theme: int) -> None:
    assert contrast(COLOURS[front][theme], COLOURS[back][theme]) >= 3
