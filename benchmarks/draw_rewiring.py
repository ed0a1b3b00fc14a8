"""Draw docs/pictures/rewiring.svg: the same modules before and after rewiring.

python benchmarks/draw_rewiring.py docs/pictures/rewiring.svg
"""

import sys
from pathlib import Path

MODULES = 4
STEP, WIDTH, BOX = 110, 600, 46
INK, BLUE, ORANGE, PALE = "#1f2933", "#1e6fb3", "#b3541e", "#f3f5f7"


def box(x: float, y: float, text: str) -> str:
    return (
        f'<rect x="{x - BOX / 2}" y="{y - 15}" width="{BOX}" height="30" rx="6" fill="{PALE}" stroke="{INK}"/>'
        f'<text x="{x}" y="{y + 5}">{text}</text>'
    )


def plus(x: float, y: float) -> str:
    return f'<circle cx="{x}" cy="{y}" r="9" fill="white" stroke="{INK}"/><text x="{x}" y="{y + 5}">+</text>'


def line(points: str, colour: str = INK) -> str:
    return f'<path d="{points}" fill="none" stroke="{colour}" stroke-width="2" marker-end="url(#{colour[1:]})"/>'


def chain(y: float, *, rewired: bool) -> str:
    """x -> f1 (+) f2 (+) ...; skips over one module, or over two."""
    parts = [f'<text x="24" y="{y + 5}">x</text>']
    for index in range(MODULES):
        left, centre, right = 60 + index * STEP, 100 + index * STEP, 150 + index * STEP
        parts += [
            line(f"M{left - (10 if index else 20)} {y} H{centre - BOX / 2 - 3}"),
            box(centre, y, f"f<tspan dy='3'>{index + 1}</tspan>"),
        ]
        parts += [line(f"M{centre + BOX / 2} {y} H{right - 12}"), plus(right, y)]
        start = left - 10 if not rewired else (left - 10 - STEP if index > 0 else left - 10)
        height = 44 if not rewired else (44 if index % 2 else -44)
        colour = BLUE if not rewired or index % 2 else ORANGE
        bend = y - height
        parts.append(
            line(f"M{start} {y} C{start} {bend} {right} {bend} {right} {y - (11 if height > 0 else -11)}", colour)
        )
    last = 150 + (MODULES - 1) * STEP
    parts.append(line(f"M{last + 9} {y} H{last + 40}"))
    if rewired:  # the output is the mean of both streams
        before = last - STEP + 10
        parts.append(line(f"M{before} {y} C{before} {y + 44} {last + 58} {y + 44} {last + 58} {y + 17}", ORANGE))
    parts.append(f'<text x="{last + 62}" y="{y + 5}">{"mean" if rewired else "y"}</text>')
    return "".join(parts)


def main() -> None:
    markers = "".join(
        f'<marker id="{colour[1:]}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto">'
        f'<path d="M0 0L8 4L0 8z" fill="{colour}"/></marker>'
        for colour in (INK, BLUE, ORANGE)
    )
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} 310" font-family="sans-serif" font-size="15" '
        f'text-anchor="middle" fill="{INK}"><defs>{markers}</defs><rect width="{WIDTH}" height="310" fill="white"/>'
        f'<text x="20" y="24" text-anchor="start" font-weight="bold">Residual network: a skip passes one module. '
        f"Training stores every sum.</text>{chain(90, rewired=False)}"
        f'<text x="20" y="160" text-anchor="start" font-weight="bold">Rewired: a skip passes two. '
        f"Each sum follows from the next two.</text>{chain(235, rewired=True)}</svg>"
    )
    Path(sys.argv[1]).write_text(svg + "\n")


if __name__ == "__main__":
    main()
