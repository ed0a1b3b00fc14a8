"""Rewire networks of torchvision, timm and transformers, at reduced size with random weights, and compare.

For each: blocks in reversible chains, of all; the worst relative error of a gradient against the same rewired network
under plain autograd, in float64; bytes kept for the backward pass, and time of a training step, over those of the
original network. At this size, time says what the machinery costs; arithmetic takes next to none.

    python benchmarks/rewire_zoo.py
    python benchmarks/rewire_zoo.py --only timm: transformers:VideoMAEModel
    python benchmarks/rewire_zoo.py --families --repeats 1 --threads 2

With `--families`, one network of every file of timm's models as it is published: of those that are called small, the
one with the shortest name.
"""

import argparse
import json
import sys

import torch
from reduced_networks import REDUCED, build_reduced

from re2tal.networks.zoo import ZooRow, load, measure, print_rows

SMALL = ("tiny", "small", "atto", "nano", "pico", "xxs", "mini", "18", "_t", "_s")


def families() -> list[str]:
    """Of every file of timm's models a network, as `load` takes it."""
    from timm.models import list_models, list_modules

    names = [list_models(module=module) for module in list_modules()]
    return [f"timm:{min(of_file, key=_size_of_name)}" for of_file in names if of_file]


def _size_of_name(name: str) -> tuple[bool, int]:
    return not any(part in name for part in SMALL), len(name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="networks, or beginnings of their names")
    parser.add_argument("--families", action="store_true", help="take one of each of timm's files, at published size")
    parser.add_argument("--repeats", type=int, default=3, help="training steps whose median time counts")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one line of JSON, a list, and nothing else")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    known = families() if args.families else list(REDUCED)
    names = [name for name in known if not args.only or name.startswith(tuple(args.only))]
    if not names:
        parser.error(f"no network begins with {' or '.join(args.only)}; known are {', '.join(known)}")
    build = load if args.families else build_reduced
    rows: list[ZooRow] = []
    for number, name in enumerate(names, 1):
        print(f"{number} of {len(names)}: {name}", file=sys.stderr, flush=True)
        rows.append(measure(build(name), repeats=args.repeats))
    done = [row for row in rows if row.reason is None]
    if args.json:
        print(json.dumps([row.as_json() for row in done]))
        return
    print_rows(rows)
    worst = max(row.gradient_error or 0.0 for row in done)
    blocks, rewired = sum(row.blocks for row in done), sum(row.rewired for row in done)
    print(f"\n{len(done)} networks, {rewired} of {blocks} blocks; worst gradient error {worst:.1e}")


if __name__ == "__main__":
    main()
