"""The style sheet's colours: contrast by WCAG, and classes that the colour-blind can tell apart."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest

import re2tal.report
from re2tal.report.picture import COLOURS
from re2tal.report.svg import NUM_COLOURS

STYLE = (Path(re2tal.report.__file__).parent / "templates/page.css").read_text()
PAIRS = dict(
    (name, (light, dark)) for name, light, dark in re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\);", STYLE)
)
CLASSES = [f"class-{number}" for number in range(NUM_COLOURS)]

# Linear RGB as people see it without one kind of cone: Machado, Oliveira and Fernandes, 2009, severity 1.
COLOUR_BLIND = {
    "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritan": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
    "none": np.eye(3),
}


def linear(colour: str) -> np.ndarray:
    """(3,) linear RGB of #rrggbb."""
    values = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(a: str, b: str) -> float:
    """WCAG's ratio of luminances, 1 to 21."""
    low, high = sorted(float(linear(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (a, b))
    return (high + 0.05) / (low + 0.05)


def oklab(rgb: np.ndarray) -> np.ndarray:
    """(3,) linear RGB -> lightness and two opponent axes (Ottosson, 2020)."""
    cones = [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566]]
    cones += [[0.0883024619, 0.2817188376, 0.6299787005]]
    axes = [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099]]
    axes += [[0.0259040371, 0.7827717662, -0.8086757660]]
    return np.array(axes) @ np.cbrt(np.array(cones) @ rgb.clip(0, 1))


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_can_be_read_on_every_ground(theme: int) -> None:
    for text, ground in itertools.product(("text", "muted"), ("page", "surface", "raised")):
        assert contrast(PAIRS[text][theme], PAIRS[ground][theme]) >= 4.5, (text, ground)
    assert contrast(PAIRS["accent"][theme], PAIRS["page"][theme]) >= 4.5
    assert contrast(PAIRS["on-accent"][theme], PAIRS["accent"][theme]) >= 4.5


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("name", [*CLASSES, "low", "high"])
def test_bars_and_lines_stand_out_from_every_ground(name: str, theme: int) -> None:
    assert min(contrast(PAIRS[name][theme], PAIRS[ground][theme]) for ground in ("page", "surface")) >= 3


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("kind", COLOUR_BLIND)
def test_classes_can_be_told_apart(kind: str, theme: int) -> None:
    seen = [oklab(np.array(COLOUR_BLIND[kind]) @ linear(PAIRS[name][theme])) for name in CLASSES]
    # 0.02 is a difference that is just noticed side by side.
    assert min(float(np.linalg.norm(a - b)) for a, b in itertools.combinations(seen, 2)) > 0.08


def test_pictures_have_the_colours_of_the_page() -> None:
    assert [PAIRS[name][0] for name in CLASSES] == list(COLOURS)
