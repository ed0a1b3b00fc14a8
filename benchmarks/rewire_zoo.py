"""Rewire networks of torchvision, timm and transformers, at reduced size with random weights, and compare.

For each: blocks in reversible chains, of all; the worst relative error of a gradient against the same rewired network
under plain autograd, in float64; bytes kept for the backward pass, and time of a training step, over those of the
original network. At this size, time says what the machinery costs; arithmetic takes next to none.

    python benchmarks/rewire_zoo.py
    python benchmarks/rewire_zoo.py --only timm: transformers:VideoMAEModel
"""

import argparse
import json
import sys

import torch

from re2tal.zoo import REDUCED, Row, build_reduced, measure, table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="networks, or beginnings of their names")
    parser.add_argument("--repeats", type=int, default=3, help="training steps whose median time counts")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one line of JSON, a list, and nothing else")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    names = [name for name in REDUCED if not args.only or name.startswith(tuple(args.only))]
    if not names:
        parser.error(f"no network begins with {' or '.join(args.only)}; known are {', '.join(REDUCED)}")
    rows: list[Row] = []
    for count, name in enumerate(names, 1):
        rows.append(measure(build_reduced(name), repeats=args.repeats))
        print(f"{count} of {len(names)}: {name}", file=sys.stderr)
    done = [row for row in rows if row.reason is None]
    if args.json:
        print(json.dumps([row.as_json() for row in done]))
        return
    print(table(rows))
    worst = max(row.gradient_error or 0.0 for row in done)
    blocks, rewired = sum(row.blocks for row in done), sum(row.rewired for row in done)
    print(f"\n{len(done)} networks, {rewired} of {blocks} blocks; worst gradient error {worst:.1e}")


if __name__ == "__main__":
    main()
