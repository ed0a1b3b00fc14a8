"""Labels written as further programs write them, from their published layouts; see `writers`.

`EXACT` keep any segments to the millisecond.
"""

import csv
import json
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import openpyxl
import xlwt
from odf.opendocument import OpenDocumentSpreadsheet
from odf.table import Table, TableCell, TableRow
from odf.text import P

from tests.labels.writers import Segments, Writer, clock, flat, folder_of, write_json

SECONDS = 12


def write_xlsx(folder: Path, segments: Segments) -> Path:
    """Start as a time of day, end as seconds, on two sheets, beside a sheet of remarks."""
    book = openpyxl.Workbook()
    book.active.title = "read me"
    book.active.append(["scored by", "Ann"])
    rows = flat(segments)
    for name, part in (("first", rows[::2]), ("second", rows[1::2])):
        sheet = book.create_sheet(name)
        sheet.append(["Video", "Start", "End", "Behaviour"])
        for video, start, end, label in part:
            sheet.append([f"{video}.mp4", timedelta(seconds=start), end, label])
    path = folder / "labels.xlsx"
    book.save(path)
    return path


def write_xls(folder: Path, segments: Segments) -> Path:
    book = xlwt.Workbook()
    sheet = book.add_sheet("scores")
    style = xlwt.easyxf(num_format_str="h:mm:ss.000")
    for column, name in enumerate(("video", "start", "end", "label")):
        sheet.write(0, column, name)
    for row, (video, start, end, label) in enumerate(flat(segments), start=1):
        sheet.write(row, 0, video)
        sheet.write(row, 1, start / 86400, style)
        sheet.write(row, 2, end)
        sheet.write(row, 3, label)
    path = folder / "labels.xls"
    book.save(str(path))
    return path


def write_ods(folder: Path, segments: Segments) -> Path:
    """A sheet for each video, called like it."""
    document = OpenDocumentSpreadsheet()
    for video, listed in segments.items():
        table = Table(name=video)
        for cells in [("start", "end", "label"), *listed]:
            row = TableRow()
            for number, value in enumerate(cells):
                if isinstance(value, str):
                    cell = TableCell(valuetype="string")
                elif number:
                    cell = TableCell(valuetype="float", value=str(value))
                else:
                    cell = TableCell(valuetype="time", timevalue=f"PT00H{int(value) // 60:02d}M{value % 60:06.3f}S")
                cell.addElement(P(text=str(value)))
                row.addElement(cell)
            table.addElement(row)
        document.spreadsheet.addElement(table)
    path = folder / "labels.ods"
    document.save(str(path))
    return path


def write_detections(folder: Path, segments: Segments) -> Path:
    results = {
        video: [{"segment": [start, end], "label": label, "score": 0.9} for start, end, label in listed]
        for video, listed in segments.items()
    }
    return write_json(
        folder / "detections.json", {"version": "ActivityNet-1.3", "results": results, "external_data": {}}
    )


def label_studio_task(video: str, values: Sequence[dict[str, Any]], *, kind: str) -> dict[str, Any]:
    results = [
        {"value": value, "id": f"r{number}", "from_name": "what", "to_name": "video", "type": kind, "origin": "manual"}
        for number, value in enumerate(values)
    ]
    annotation = {
        "id": 7, "completed_by": 3, "result": results, "was_cancelled": False, "ground_truth": False,
        "created_at": "2024-05-01T10:00:00.000000Z", "updated_at": "2024-05-02T10:00:00.000000Z", "lead_time": 12.5,
    }  # fmt: skip
    return {
        "id": 1, "annotations": [annotation], "file_upload": f"0123abcd-{video}.mp4", "drafts": [], "predictions": [],
        "data": {"video": f"/data/upload/1/0123abcd-{video}.mp4"}, "meta": {}, "project": 1,
    }  # fmt: skip


def write_label_studio(folder: Path, segments: Segments) -> Path:
    """Regions of sound and video, in seconds."""
    tasks = [
        label_studio_task(
            video,
            [{"start": start, "end": end, "channel": 0, "labels": [label]} for start, end, label in listed],
            kind="labels",
        )
        for video, listed in segments.items()
    ]
    return write_json(folder / "project-1.json", tasks)


def write_srt(folder: Path, segments: Segments) -> Path:
    def cue(number: int, start: float, end: float, label: str) -> str:
        return f"{number}\n{clock(start)} --> {clock(end)}\n<i>{label}</i>\n".replace(".", ",")

    texts = {
        f"{video}.srt": "\n".join(cue(number, *segment) for number, segment in enumerate(listed, start=1))
        for video, listed in segments.items()
    }
    return folder_of(folder, texts, encoding="utf-8-sig")


def write_vtt(folder: Path, segments: Segments) -> Path:
    texts = {
        f"{video}.en.vtt": "WEBVTT - labels\n\nNOTE\nby Ann\n\nSTYLE\n::cue { color: red }\n\n"
        + "\n".join(
            f"cue {number}\n{clock(start)} --> {clock(end)} align:start\n<v Ann>{escape(label)}</v>\n"
            for number, (start, end, label) in enumerate(listed)
        )
        for video, listed in segments.items()
    }
    return folder_of(folder, texts)


def quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def textgrid(listed: Sequence[tuple[float, float, str]], *, short: bool) -> str:
    """A tier for each label; those that overlap get another."""
    tiers: list[list[tuple[float, float, str]]] = []
    for segment in sorted(listed):
        tier = next((tier for tier in tiers if tier[-1][1] <= segment[0] and tier[-1][2] == segment[2]), None)
        tiers += [[segment]] if tier is None else []
        if tier is not None:
            tier.append(segment)
    lines: list[tuple[int, str, Any]] = [(0, "xmin", 0), (0, "xmax", SECONDS)]
    lines += [(0, "tiers?", None), (0, "size", len(tiers)), (0, "item []:", None)]
    for number, tier in enumerate(tiers, start=1):
        intervals: list[tuple[float, float, str]] = []
        at = 0.0
        for start, end, label in tier:
            intervals += [(at, start, "")] if start > at else []
            intervals.append((start, end, label))
            at = end
        intervals += [(at, SECONDS, "")] if at < SECONDS else []
        lines += [
            (1, f"item [{number}]:", None),
            (2, "class", '"IntervalTier"'),
            (2, "name", quoted(f"{tier[0][2]} {number}")),
        ]
        lines += [(2, "xmin", 0), (2, "xmax", SECONDS), (2, "intervals: size", len(intervals))]
        for place, (start, end, label) in enumerate(intervals, start=1):
            lines += [
                (2, f"intervals [{place}]:", None),
                (3, "xmin", start),
                (3, "xmax", end),
                (3, "text", quoted(label)),
            ]
    head = 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n'
    if short:
        values = [
            "<exists>" if name == "tiers?" else str(value)
            for _, name, value in lines
            if value is not None or name == "tiers?"
        ]
        return head + "\n".join(values) + "\n"
    told = [
        "    " * depth + ("tiers? <exists>" if name == "tiers?" else name if value is None else f"{name} = {value} ")
        for depth, name, value in lines
    ]
    return head + "\n".join(told) + "\n"


def write_textgrid(folder: Path, segments: Segments) -> Path:
    texts = {f"{video}.TextGrid": textgrid(listed, short=False) for video, listed in segments.items()}
    return folder_of(folder, texts, encoding="utf-16")


def write_short_textgrid(folder: Path, segments: Segments) -> Path:
    return folder_of(folder, {f"{video}.TextGrid": textgrid(listed, short=True) for video, listed in segments.items()})


def write_audacity(folder: Path, segments: Segments) -> Path:
    texts = {
        f"{video}.txt": "".join(
            f"{start:.6f}\t{end:.6f}\t{label}\n" + ("\\\t100.000000\t2000.000000\n" if number == 0 else "")
            for number, (start, end, label) in enumerate(listed)
        )
        for video, listed in segments.items()
    }
    return folder_of(folder, texts)


def write_anvil(folder: Path, segments: Segments) -> Path:
    texts = {}
    for video, listed in segments.items():
        elements = "".join(
            f'<el index="{number}" start="{start}" end="{end}"><attribute name="type">{escape(label)}</attribute></el>'
            for number, (start, end, label) in enumerate(listed)
        )
        texts[f"{video}_ann.anvil"] = (
            '<?xml version="1.0" encoding="ISO-8859-1"?>\n<annotation><head><specification src="gesture.xml" />'
            f'<video src={quoteattr(f"C:/films/{video}.mp4")} master="true" />'
            '<info key="coder" type="String">Ann</info></head>'
            f'<body><track name="gesture" type="primary">{elements}</track></body></annotation>'
        )
    return folder_of(folder, texts)


def write_observer(folder: Path, segments: Segments) -> Path:
    header = (
        "Date_Time_Absolute_dmy_hmsf,Date_dmy,Time_Absolute_hms,Time_Absolute_f,Time_Relative_hmsf,Time_Relative_hms,"
        "Time_Relative_f,Time_Relative_sf,Duration_sf,Observation,Event_Log,Subject,Behavior,Modifier_1,Event_Type,Comment"
    )
    rows: list[list[Any]] = []
    for video, listed in segments.items():
        events = [
            (time, f"subject {number}", label, kind)
            for number, (start, end, label) in enumerate(listed)
            for time, kind in ((start, "State start"), (end, "State stop"))
        ]
        for seconds, subject, label, kind in sorted(events):
            rows.append(
                ["01.05.2024 10:00:00", "01.05.2024", "10:00:00", 0.0, clock(seconds), clock(seconds)[:-4], 0.0,
                 f"{seconds:.3f}", "", video, "Event log 1", subject, label, "", kind, ""]
            )  # fmt: skip
    path = folder / "observer.txt"
    with path.open("w", encoding="utf-16", newline="") as file:
        csv.writer(file, delimiter=";").writerows([header.split(","), *rows])
    return path


def write_soccernet(folder: Path, segments: Segments) -> Path:
    """Where segments start, in the first half of a match for each video."""
    for video, listed in segments.items():
        annotations = [
            {"gameTime": f"1 - {clock(start)[3:8]}", "label": label, "position": str(round(start * 1000)),
             "team": "home", "visibility": "visible"}
            for start, _, label in listed
        ]  # fmt: skip
        content = {"UrlLocal": f"league/2014-2015/{video}/", "UrlYoutube": "", "annotations": annotations}
        (folder / "labels" / video).mkdir(parents=True)
        (folder / "labels" / video / "Labels-v2.json").write_text(json.dumps(content))
    return folder / "labels"


EXACT: dict[str, tuple[str, Writer]] = {
    "xlsx": ("csv", write_xlsx),
    "xls": ("csv", write_xls),
    "ods": ("csv", write_ods),
    "detections": ("detections", write_detections),
    "label studio, seconds": ("label-studio", write_label_studio),
    "srt": ("srt", write_srt),
    "vtt": ("vtt", write_vtt),
    "textgrid": ("textgrid", write_textgrid),
    "textgrid, short": ("textgrid", write_short_textgrid),
    "audacity": ("audacity", write_audacity),
    "anvil": ("anvil", write_anvil),
    "observer": ("observer", write_observer),
}
"""Name of the format as it is recognised, and the writer."""
POINTS: dict[str, tuple[str, Writer]] = {"soccernet": ("soccernet", write_soccernet)}
"""Of events without length."""
