"""Train small networks with the tools around torch, rewired and not, and compare.

Each line of the table is a tool and a network of random weights. The network runs four times under the tool: never
rewired; rewired with `alpha=1, beta=0`, which is the same function and must give the same losses, gradients and
parameters after two steps; rewired as it comes; and so in mode "store", under plain autograd, which must give what the
run before gave.

    python benchmarks/works_with.py
    python benchmarks/works_with.py --only "peft LORA" DDP --jobs 2
    python benchmarks/works_with.py --one "DDP, ViT"
    python benchmarks/works_with.py --self-check

The outcome is "right"; "stored", if it is right and a warning says that a block fell back to plain autograd;
"refused", if an error of ours names the module, the rule and what to do; "left out", if the tool fails on the network
without rewiring; or "WRONG". With a line that is wrong the program ends with status 1. `--self-check` rewires nothing,
so that every line must be right.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import logging
import os
import socket
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from pathlib import Path

import torch
from working_with.cases import all_cases, find_case
from working_with.judging import Case, Outcome, Row, Run, judge, run
from working_with.processes import as_worker, grouped
from working_with.steps import Kind

KINDS: tuple[Kind, ...] = ("plain", "original", "reversible", "store")
_MARK = "works_with row: "


def measure(case: Case, *, self_check: bool) -> Row:
    """Run a case and judge it, here or in two processes."""
    if importlib.util.find_spec(case.library) is None:
        return Row(case.tool, "", case.network, "not installed")
    version = importlib.metadata.version(case.library).split("+")[0]
    if case.left_out:
        return Row(case.tool, version, case.network, "left out", note=case.left_out)
    if case.processes == 1:
        return judge(case, _runs(case, self_check), version=version)
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        os.environ["WORKS_WITH_FOLDER"] = folder
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        torch.multiprocessing.spawn(_worker, (case.name, self_check, port, version, folder), nprocs=2)
        return Row(**json.loads((Path(folder) / "row.json").read_text()))


def _runs(case: Case, self_check: bool) -> dict[Kind, Run]:
    """All four, or as many as are needed: what fails without rewiring tells nothing."""
    done: dict[Kind, Run] = {}
    for kind in KINDS:
        done[kind] = run(case, kind, self_check=self_check)
        if done["plain"].recording is None:
            break
    return done


def _worker(rank: int, name: str, self_check: bool, port: int, version: str, folder: str) -> None:
    """One of two processes; the first writes the line down."""
    torch.set_num_threads(1)
    as_worker(rank, port)
    case = find_case(name)
    assert case is not None
    case = case if case.library == "lightning" else grouped(case)
    row = judge(case, _runs(case, self_check), version=version)
    if rank == 0:
        (Path(folder) / "row.json").write_text(json.dumps(row.as_json()))


def apart(case: Case, *, self_check: bool, seconds: int) -> Row:
    """Measure a case in a process of its own, which may crash or hang."""
    command = [sys.executable, __file__, "--one", case.name, *(["--self-check"] if self_check else [])]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        output, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)  # with the processes that it has started
        process.communicate()
        return Row(case.tool, "", case.network, "WRONG", note=f"takes more than {seconds} seconds")
    for line in output.splitlines():
        if line.startswith(_MARK):
            return Row(**json.loads(line.removeprefix(_MARK)))
    last = (errors.strip() or f"ended with status {process.returncode}").splitlines()[-1]
    return Row(case.tool, "", case.network, "WRONG", note=f"crashes: {last[:160]}")


def table(rows: list[Row], *, markdown: bool) -> str:
    """One line for each row."""
    head = ("tool", "version", "network", "outcome", "gradient error", "saved bytes", "note")
    lines = [head]
    for row in rows:
        error = "" if row.gradient_error is None else f"{row.gradient_error:.1e}"
        ratio = "" if row.saved_ratio is None else f"{row.saved_ratio:.2f}"
        lines.append((row.tool, row.version, row.network, row.outcome, error, ratio, row.note))
    if markdown:
        text = [f"| {' | '.join(cells)} |" for cells in lines]
        return "\n".join([text[0], "|" + "---|" * len(head), *text[1:]])
    widths = [max(len(cells[column]) for cells in lines) for column in range(len(head))]
    return "\n".join("  ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)).rstrip() for cells in lines)


def summary(rows: list[Row]) -> str:
    """How many of each outcome."""
    order: tuple[Outcome, ...] = ("right", "stored", "refused", "WRONG", "left out", "not installed")
    counted = Counter(row.outcome for row in rows)
    return f"{len(rows)} combinations: " + ", ".join(f"{counted[outcome]} {outcome}" for outcome in order)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="PATTERN", help="combinations whose name has one of these in it")
    parser.add_argument("--one", metavar="NAME", help="run this combination here and print a line of JSON")
    parser.add_argument("--list", action="store_true", help="print the names of the combinations")
    parser.add_argument("--self-check", action="store_true", help="compare the network with itself, rewiring nothing")
    parser.add_argument("--jobs", type=int, default=1, help="combinations at a time")
    parser.add_argument("--seconds", type=int, default=400, help="after which a combination is given up")
    parser.add_argument("--json", action="store_true", help="print one line of JSON, a list, and nothing else")
    parser.add_argument("--markdown", action="store_true", help="print the table for docs/measured/works_with.md")
    return parser


def _one(case: Case, *, self_check: bool) -> None:
    """Print the row of a case, on standard output nothing else but what native code writes."""
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    with redirect_stdout(sys.stderr):
        try:
            row = measure(case, self_check=self_check)
        except Exception as error:  # a worker that was killed, for one
            traceback.print_exc()
            row = Row(
                case.tool, "", case.network, "WRONG", note=f"crashes: {str(error).strip().splitlines()[-1][:160]}"
            )
    print(_MARK + json.dumps(row.as_json()))
    if row.outcome == "WRONG":
        sys.exit(1)


def main() -> None:
    parser = _arguments()
    args = parser.parse_args()
    if args.one is not None:
        if (case := find_case(args.one)) is None:
            parser.error(f"there is no combination {args.one!r}; --list prints all")
        return _one(case, self_check=args.self_check)
    cases = [c for c in all_cases().values() if not args.only or any(p.lower() in c.name.lower() for p in args.only)]
    if not cases:
        parser.error(f"no combination has {' or '.join(args.only)} in its name; --list prints all")
    if args.list:
        return print("\n".join(case.name for case in cases))
    rows: list[Row] = []
    with ThreadPoolExecutor(args.jobs) as pool:
        found = pool.map(lambda case: apart(case, self_check=args.self_check, seconds=args.seconds), cases)
        for number, row in enumerate(found, 1):
            print(f"{number} of {len(cases)}: {row.tool}, {row.network}: {row.outcome}", file=sys.stderr, flush=True)
            rows.append(row)
    if args.json:
        print(json.dumps([row.as_json() for row in rows]))
    else:
        print(table(rows, markdown=args.markdown))
        print(f"\n{summary(rows)}")
    if any(row.outcome == "WRONG" for row in rows):
        sys.exit(1)


if __name__ == "__main__":
    main()
