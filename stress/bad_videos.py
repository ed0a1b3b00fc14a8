"""Bad videos: reading ends in frames that are right or in a typed error, in bounded time and flat memory.

    python stress/bad_videos.py [--files 2000] [--clips 5000] [--seed 0] [--jobs 2] [--only NAME] [--json]

Files are encoded here, and taken from the real footage of `RE2TAL_DATA` where that is there; copies of them are
damaged in many ways. Each is indexed, read clip by clip as in training and as a stream as in predict, by processes
whose crashes are counted and which are killed after `--limit` seconds. Status 1 if a promise of docs/reliability.md
is broken.
"""

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from video_corpus.damage import Case, Original, damaged, lossy_copies, sound_case
from video_corpus.memory import Growth, measure_growth
from video_corpus.reading import Outcome, read_all
from video_corpus.sound import ODD, TO_DAMAGE, encode, found_videos, plain_decode
from video_corpus.strange import strange_cases

KINDS = (
    "right",
    "typed error",
    "wrong in damaged part",
    "wrong in sound part",
    "untyped error",
    "crash",
    "hang",
)
FAULTS = KINDS[3:]
MAX_GROWTH_MIB = 20.0
MAX_PEAK_MIB = 64.0
"""While a file that claims to be huge is read."""
SOUND = ("odd but sound", "wrong extension", "sound")
SMALL = 200
"""Below so many files the corpus holds no real footage, and half of what is odd and strange."""


def make_corpus(folder: Path, *, num_files: int, seed: int) -> Iterator[Case]:
    """About `num_files` cases: first the odd and the strange, the rest damaged copies."""
    for name in ("sound", "odd", "strange", "damaged"):
        (folder / name).mkdir()
    is_small = num_files < SMALL
    cases = list(_undamaged(folder, seed=seed, is_small=is_small))
    yield from cases
    paths = [encode(folder / "sound", recipe) for recipe in TO_DAMAGE]
    if not is_small:
        data = Path(os.environ.get("RE2TAL_DATA", Path(__file__).parents[1] / "../shared/data"))
        paths += found_videos(data)
    left = num_files - len(cases)
    for place, path in enumerate(paths):
        original = Original(path)
        yield sound_case(path, family="sound", truth=original.truth)
        copies = [] if is_small else list(lossy_copies(original, folder=folder / "damaged"))
        yield from copies
        share = (place + 1) * left // len(paths) - place * left // len(paths) - len(copies) - 1
        yield from damaged(original, folder=folder / "damaged", seed=seed, first=place, count=max(share, 0))


def _undamaged(folder: Path, *, seed: int, is_small: bool) -> Iterator[Case]:
    for recipe in ODD[::2] if is_small else ODD:
        path = encode(folder / "odd", recipe)
        yield sound_case(path, family="odd but sound", truth=plain_decode(path))
    sound = encode(folder / "odd", TO_DAMAGE[0])
    for suffix in (".avi", ".txt", ".mkv", ""):
        renamed = folder / "odd" / f"renamed_mp4{suffix}"
        renamed.write_bytes(sound.read_bytes())
        yield sound_case(renamed, family="wrong extension", truth=plain_decode(sound))
    strange = list(strange_cases(folder / "strange", sound=sound, seed=seed))
    yield from strange[::3] if is_small else strange


def table(outcomes: Sequence[Outcome]) -> str:
    """Markdown: files by what was done to them and what reading came to."""
    lines = [f"| {'files':24} | number | {' | '.join(KINDS)} |", "|---" * (len(KINDS) + 2) + "|"]
    families = [*dict.fromkeys(outcome.family for outcome in outcomes), "all"]
    for family in families:
        counts = Counter(outcome.kind for outcome in outcomes if family in (outcome.family, "all"))
        lines.append(f"| {family:24} | {counts.total()} | {' | '.join(str(counts[kind]) for kind in KINDS)} |")
    return "\n".join(lines)


def summary(outcomes: Sequence[Outcome], growth: Growth | None) -> dict[str, Any]:
    """The figures, for machines."""
    ways = [way for outcome in outcomes for way in outcome.ways.values()]
    return {
        "files": len(outcomes),
        "kinds": {kind: sum(outcome.kind == kind for outcome in outcomes) for kind in KINDS},
        "errors": dict(Counter(way.error for way in ways if way.error)),
        "frames": {
            "right": sum(way.num_right for way in ways),
            "wrong_sound": sum(way.num_wrong_sound for way in ways),
            "wrong_damaged": sum(way.num_wrong_damaged for way in ways),
        },
        "peak_mib": round(max((outcome.peak_mib for outcome in outcomes if _is_huge(outcome)), default=0.0)),
        "memory": None if growth is None else growth.as_dict(),
        "faults": faults(outcomes, growth),
    }


def _is_huge(outcome: Outcome) -> bool:
    return outcome.family == "absurd header"


def faults(outcomes: Sequence[Outcome], growth: Growth | None) -> list[str]:
    """Every promise that is broken, in words."""
    found = [f"{outcome.name}: {outcome.kind} {outcome.ways}" for outcome in outcomes if outcome.kind in FAULTS]
    found += [
        f"{outcome.name}: is sound, but {way.error}: {way.message}"
        for outcome in outcomes
        if outcome.family in SOUND
        for way in outcome.ways.values()
        if way.error
    ]
    found += [
        f"{outcome.name}: took {outcome.peak_mib:.0f} MiB, more than {MAX_PEAK_MIB:.0f}"
        for outcome in outcomes
        if _is_huge(outcome) and outcome.peak_mib > MAX_PEAK_MIB
    ]
    if growth is not None and max(growth.mib.values()) > MAX_GROWTH_MIB:
        found.append(f"memory grew by more than {MAX_GROWTH_MIB:.0f} MiB: {growth.mib}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=2000, help="about how many to read")
    parser.add_argument("--clips", type=int, default=5000, help="to decode for the measurement of memory; 0: none")
    parser.add_argument(
        "--limit", type=float, default=120.0, help="seconds after which reading a file counts as a hang"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", default="", help="read files with this in their name, and tell of every way")
    parser.add_argument("--json", action="store_true", help="one line of JSON and nothing else")
    args = parser.parse_args()
    os.environ["SVT_LOG"] = "0"

    def tell(outcome: Outcome) -> None:
        if args.only or outcome.kind in FAULTS:
            print(outcome, file=sys.stderr, flush=True)

    with tempfile.TemporaryDirectory() as name:
        cases = [
            case for case in make_corpus(Path(name), num_files=args.files, seed=args.seed) if args.only in case.name
        ]
        outcomes = read_all(cases, jobs=args.jobs, limit_seconds=args.limit, seed=args.seed, tell=tell)
        growth = measure_growth(Path(name), clips=args.clips) if args.clips else None
    result = summary(outcomes, growth)
    if args.json:
        print(json.dumps(result))
    else:
        print(table(outcomes))
        print("\nerrors by class, over all ways of reading:", result["errors"])
        print("frames compared:", result["frames"])
        print("most memory taken by a file with an absurd header:", result["peak_mib"], "MiB")
        if growth is not None:
            print(growth)
        print("\n".join(result["faults"]) or "every promise holds")
    sys.exit(1 if result["faults"] else 0)


if __name__ == "__main__":
    main()
