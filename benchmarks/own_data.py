"""Walk docs/own_data.md on real footage: ucf_mini's labels as CSV or as ELAN's files, then every command of the page.

    python benchmarks/own_data.py --format csv --out exps/own_data_csv
    python benchmarks/own_data.py --format elan --out exps/own_data_elan --epochs 2

The footage is found through RE2TAL_DATA (a folder that holds ucf_mini/).
"""

import argparse
import csv
import json
import os
import shlex
import subprocess
import sys
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

REPOSITORY = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("RE2TAL_DATA", REPOSITORY / "../shared/data")) / "ucf_mini"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--format", choices=("csv", "elan"), default="csv")
    parser.add_argument("--out", type=Path, default=Path("exps/own_data"))
    parser.add_argument("--epochs", type=int, help="fewer than the config says, to see that it runs")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    database = json.loads((DATA / "ucf_mini.json").read_text(encoding="utf-8"))["database"]
    annotations, config = arguments.out / "annotations.json", arguments.out / "config.py"
    if arguments.format == "csv":
        labels, split = export_csv(database, arguments.out / "labels.csv"), []
    else:
        # ELAN's files do not tell subsets; clips of one source group (g04, g05, ...) stay together.
        labels, split = export_elan(database, arguments.out / "elan"), ["--group", r"_(g\d+)"]
    options = [] if arguments.epochs is None else ["--cfg-options", f"training.epochs={arguments.epochs}"]
    run("import", labels, "--videos", DATA / "videos", "--out", annotations, "--overwrite", *split)
    run("init", arguments.out, "--annotations", annotations, "--size", "small", "--overwrite")
    run("check-data", config)
    run("train", config, *options)
    run("test", config, *options)


def export_csv(database: dict, path: Path) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["video", "start", "end", "label", "subset"])
        for video_id, entry in database.items():
            for row in entry["annotations"]:
                rows.writerow([f"{video_id}.mp4", *row["segment"], row["label"], entry["subset"]])
    return path


def export_elan(database: dict, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for video_id, entry in database.items():
        slots, annotations = "", ""
        for number, row in enumerate(entry["annotations"]):
            times = [round(1000 * seconds) for seconds in row["segment"]]
            slots += "".join(
                f'<TIME_SLOT TIME_SLOT_ID="ts{2 * number + end}" TIME_VALUE="{time}"/>'
                for end, time in enumerate(times)
            )
            annotations += (
                f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a{number}" TIME_SLOT_REF1="ts{2 * number}" '
                f'TIME_SLOT_REF2="ts{2 * number + 1}"><ANNOTATION_VALUE>{escape(row["label"])}</ANNOTATION_VALUE>'
                "</ALIGNABLE_ANNOTATION></ANNOTATION>"
            )
        media = quoteattr(f"./{video_id}.mp4")
        text = (
            '<?xml version="1.0" encoding="UTF-8"?>\n<ANNOTATION_DOCUMENT AUTHOR="" DATE="2024-01-01T00:00:00Z" '
            'FORMAT="3.0" VERSION="3.0"><HEADER MEDIA_FILE="" TIME_UNITS="milliseconds"><MEDIA_DESCRIPTOR MEDIA_URL='
            f'{media} MIME_TYPE="video/mp4" RELATIVE_MEDIA_URL={media}/></HEADER><TIME_ORDER>{slots}</TIME_ORDER>'
            f'<TIER TIER_ID="action" LINGUISTIC_TYPE_REF="default-lt">{annotations}</TIER>'
            '<LINGUISTIC_TYPE LINGUISTIC_TYPE_ID="default-lt" TIME_ALIGNABLE="true"/></ANNOTATION_DOCUMENT>\n'
        )
        (folder / f"{video_id}.eaf").write_text(text, encoding="utf-8")
    return folder


def run(*arguments: object) -> None:
    command = [str(argument) for argument in arguments]
    print("$ re2tal", shlex.join(command), flush=True)
    subprocess.run([sys.executable, "-m", "re2tal", *command], check=True)


if __name__ == "__main__":
    main()
