"""Draw docs/pictures/concepts.svg: frames, steps, a window, the pyramid's points, and what predicts an action.

python benchmarks/draw_concepts.py docs/pictures/concepts.svg
"""

import sys
from pathlib import Path

import torch

from re2tal.networks.heads.points import make_points
from re2tal.networks.heads.targets import assign_targets

STEPS, LEVELS, FRAMES_IN_STEP, SEEN = 32, 4, 4, 2
"""A window of 32 steps, each of four frames of the file, of which the backbone sees two."""
FIRST_REACH, RADIUS = 4.0, 1.5
ACTIONS = torch.tensor([[3.2, 7.6], [12.5, 27.5]])
LEFT, WIDTH, STEP = 230, 900, 20
INK, GREY, PALE, COLOURS = "#1f2933", "#7b8794", "#e4e7eb", ("#1e6fb3", "#b3541e")


def x_of(steps: float) -> float:
    return LEFT + steps * STEP


def text(x: float, y: float, words: str, *, anchor: str = "end", colour: str = INK, size: int = 13) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}" fill="{colour}" font-size="{size}">{words}</text>'


def bar(start: float, end: float, y: float, height: float, colour: str) -> str:
    return f'<rect x="{x_of(start)}" y="{y}" width="{(end - start) * STEP}" height="{height}" rx="3" fill="{colour}"/>'


def dot(step: float, y: float, colour: str, *, big: bool) -> str:
    return f'<circle cx="{x_of(step)}" cy="{y}" r="{6 if big else 3}" fill="{colour}"/>'


def frames_and_steps() -> list[str]:
    parts = [text(LEFT - 14, 48, "frames of the file"), text(LEFT - 14, 82, "steps")]
    for frame in range(STEPS * FRAMES_IN_STEP):
        seen = frame % (FRAMES_IN_STEP // SEEN) == 0
        parts.append(bar(frame / FRAMES_IN_STEP + 0.03, (frame + 0.7) / FRAMES_IN_STEP, 34, 18, INK if seen else PALE))
    for step in range(STEPS):
        parts.append(bar(step + 0.06, step + 0.94, 68, 18, PALE))
    note = "every second frame is seen; two frames seen make a step; 32 steps are a window"
    return [*parts, text(LEFT, 22, note, anchor="start", colour=GREY)]


def pyramid() -> list[str]:
    strides = [2**level for level in range(LEVELS)]
    points = make_points([STEPS // stride for stride in strides], strides=strides, first_reach=FIRST_REACH)
    owner = [
        assign_targets(
            points, segments=action[None], labels=torch.tensor([0]), num_classes=1, center_radius=RADIUS
        ).classes[:, 0]
        for action in ACTIONS
    ]
    parts, number = [], 0
    for level, stride in enumerate(strides):
        y = 170 + 42 * level
        covered = f"{points.min_range[number]:g}-{points.max_range[number]:g}" if level < LEVELS - 1 else "the rest"
        parts.append(text(LEFT - 14, y + 5, f"level {level}: stride {stride}, range {covered}"))
        for index in range(STEPS // stride):
            taken = [action for action in range(len(ACTIONS)) if owner[action][number] > 0]
            parts.append(dot(index * stride, y, COLOURS[taken[0]] if taken else GREY, big=bool(taken)))
            number += 1
    return parts


def actions() -> list[str]:
    parts = [text(LEFT - 14, 126, "actions")]
    for (start, end), colour in zip(ACTIONS.tolist(), COLOURS, strict=True):
        parts.append(bar(start, end, 112, 18, colour))
        parts += [
            f'<path d="M{x_of(at)} 130 V{160 + 42 * (LEVELS - 1)}" stroke="{colour}" stroke-dasharray="2 4"/>'
            for at in (start, end)
        ]
        parts.append(text(x_of((start + end) / 2), 126, f"{end - start:.3g} steps", anchor="middle", colour="white"))
    return parts


def main() -> None:
    body = "\n".join([*frames_and_steps(), *actions(), *pyramid()])
    height = 190 + 42 * (LEVELS - 1)
    Path(sys.argv[1]).write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif">\n'
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>\n{body}\n</svg>\n',
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
