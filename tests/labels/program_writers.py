"""Labels written as further programs write them, from their published layouts; see `writers`.

`EXACT` keep any segments to the millisecond; `BY_FRAME` hold a label or not for each frame of 0.1 s (or each
second), so that their segments must lie on that and not overlap with one of the same label.
"""

import csv
import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

import openpyxl
import xlwt
from odf.opendocument import OpenDocumentSpreadsheet
from odf.table import Table, TableCell, TableRow
from odf.text import P

from tests.labels.writers import Segments, clock, flat, write_rows

FPS = 10
SECONDS = 12


def labels_of(segments: Segments) -> list[str]:
    return sorted({label for _, _, _, label in flat(segments)})


def folder_of(folder: Path, texts: dict[str, str], *, encoding: str = "utf-8") -> Path:
    """A file for each name."""
    (folder / "labels").mkdir()
    for name, text in texts.items():
        (folder / "labels" / name).write_text(text, encoding=encoding)
    return folder / "labels"


def on(listed: Sequence[tuple[float, float, str]], label: str, seconds: float) -> int:
    return int(any(name == label and start - 1e-6 <= seconds < end - 1e-6 for start, end, name in listed))


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
    path = folder / "detections.json"
    path.write_text(json.dumps({"version": "ActivityNet-1.3", "results": results, "external_data": {}}))
    return path


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
    path = folder / "project-1.json"
    path.write_text(json.dumps(tasks))
    return path


def timeline(listed: Sequence[tuple[float, float, str]]) -> list[dict[str, Any]]:
    """Frames count from 1 and the last one is inside."""
    return [
        {"ranges": [{"start": round(start * FPS) + 1, "end": round(end * FPS)}], "timelinelabels": [label]}
        for start, end, label in listed
    ]


def write_label_studio_timeline(folder: Path, segments: Segments) -> Path:
    tasks = [label_studio_task(video, timeline(listed), kind="timelinelabels") for video, listed in segments.items()]
    path = folder / "project-1.json"
    path.write_text(json.dumps(tasks))
    return path


def write_label_studio_min(folder: Path, segments: Segments) -> Path:
    tasks = [
        {
            "video": f"/data/local-files/?d=films/{video}.mp4", "id": 1, "what": timeline(listed), "annotator": 1,
            "annotation_id": 2, "created_at": "2024-05-01T10:00:00Z", "updated_at": "2024-05-01T10:00:00Z",
            "lead_time": 3.2,
        }
        for video, listed in segments.items()
    ]  # fmt: skip
    path = folder / "project-1-min.json"
    path.write_text(json.dumps(tasks))
    return path


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


def frame_rows(
    listed: Sequence[tuple[float, float, str]], labels: Sequence[str], *, fps: float = FPS
) -> list[list[int]]:
    return [[on(listed, label, frame / fps) for label in labels] for frame in range(round(SECONDS * fps))]


def write_deepethogram(folder: Path, segments: Segments) -> Path:
    labels = labels_of(segments)
    (folder / "labels").mkdir()
    for video, listed in segments.items():
        rows = [[number, int(not any(row)), *row] for number, row in enumerate(frame_rows(listed, labels))]
        write_rows(folder / "labels" / f"{video}_labels.csv", [["", "background", *labels], *rows])
    return folder / "labels"


def write_simba(folder: Path, segments: Segments) -> Path:
    """Poses and features, of which some are whole numbers, and the classifiers last."""
    labels = labels_of(segments)
    (folder / "labels").mkdir()
    header = ["", "Ear_left_1_x", "Ear_left_1_y", "Ear_left_1_p", "Total_movement", "Low_prob_detections_0.1", *labels]
    for video, listed in segments.items():
        rows = [
            [number, 12.5 + number, 7, 0.99, 0 if number < 40 else number, number % 2, *row]
            for number, row in enumerate(frame_rows(listed, labels))
        ]
        write_rows(folder / "labels" / f"{video}.csv", [header, *rows])
    return folder / "labels"


def write_boris_binary(folder: Path, segments: Segments) -> Path:
    labels = labels_of(segments)
    (folder / "labels").mkdir()
    for video, listed in segments.items():
        rows = [[number / FPS, *row] for number, row in enumerate(frame_rows(listed, labels))]
        write_rows(folder / "labels" / f"{video}_No focal subject.tsv", [["time", *labels], *rows], delimiter="\t")
    return folder / "labels"


def write_named_frames(folder: Path, segments: Segments) -> Path:
    """The name of the class beside the frame, in one table for all videos; one class at a time."""
    rows = []
    for video, listed in segments.items():
        for frame in range(SECONDS * FPS):
            names = [label for label in labels_of(segments) if on(listed, label, frame / FPS)]
            assert len(names) < 2
            rows.append([video, frame, names[0] if names else "none"])
    return write_rows(folder / "frames.csv", [["video", "frame", "behavior"], *rows])


def write_ethovision(folder: Path, segments: Segments) -> Path:
    labels = labels_of(segments)
    (folder / "labels").mkdir()
    for number, (video, listed) in enumerate(segments.items(), start=1):
        names = ["Trial time", "Recording time", "X center", "Y center", *labels, "Result 1"]
        about = [
            ["Number of header lines:", "9"], ["Experiment", "test"], ["Trial name", f"Trial {number}"],
            ["Arena name", "Arena 1"], ["Video file", f"D:\\films\\{video}.mp4"], ["Start time", "01.05.2024"], [],
        ]  # fmt: skip
        units = ["s", "s", "cm", "cm", *("" for _ in labels), ""]
        rows = [
            [
                f"{frame / FPS:.3f}",
                f"{frame / FPS:.3f}",
                "-" if frame < 5 else 1.25,
                "-" if frame < 5 else -3.5,
                *row,
                1,
            ]
            for frame, row in enumerate(frame_rows(listed, labels))
        ]
        path = folder / "labels" / f"Raw data-Trial {number}.txt"
        with path.open("w", encoding="utf-16", newline="") as file:
            csv.writer(file, delimiter=";").writerows([*about, names, units, *rows])
    return folder / "labels"


def write_cvat(folder: Path, segments: Segments) -> Path:
    """A track for each segment, with a box in every frame and the one outside after it."""
    texts = {}
    for video, listed in segments.items():
        tracks = ""
        for number, (start, end, label) in enumerate(listed):
            first, last = round(start * FPS), round(end * FPS)
            boxes = "".join(
                f'<box frame="{frame}" outside="{int(frame == last)}" occluded="0" keyframe="1" xtl="1" ytl="2" '
                f'xbr="3" ybr="4" z_order="0"><attribute name="side">left</attribute></box>'
                for frame in range(first, min(last, SECONDS * FPS - 1) + 1)
            )
            tracks += f'<track id="{number}" label={quoteattr(label)} source="manual">{boxes}</track>'
        texts[f"{video}_cvat.xml"] = (
            '<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version><meta><task><id>1</id>'
            f"<name>t</name><size>120</size><mode>interpolation</mode><start_frame>0</start_frame><source>{video}.mp4</source>"
            f"</task><dumped>2024-05-01</dumped></meta>{tracks}</annotations>"
        )
    return folder_of(folder, texts)


def write_cvat_images(folder: Path, segments: Segments) -> Path:
    """Tags of every fifth frame."""
    texts = {}
    for video, listed in segments.items():
        images = "".join(
            f'<image id="{frame // 5}" name="frame_{frame:06d}" width="24" height="16">'
            + "".join(
                f'<tag label={quoteattr(label)} source="manual"></tag>'
                for label in labels_of(segments)
                if on(listed, label, frame / FPS)
            )
            + "</image>"
            for frame in range(0, SECONDS * FPS, 5)
        )
        texts[f"{video}_cvat.xml"] = (
            "<?xml version='1.0' encoding='utf-8'?>\n<annotations><version>1.1</version><meta><job><id>1</id>"
            f"<frame_filter>step=5</frame_filter></job><source>{video}.mp4</source></meta>{images}</annotations>"
        )
    return folder_of(folder, texts)


def via2_entries(segments: Segments) -> dict[str, Any]:
    entries: dict[str, Any] = {}
    for video, listed in segments.items():
        for frame in range(SECONDS * FPS):
            labels = [label for label in labels_of(segments) if on(listed, label, frame / FPS)]
            name = f"{video}_frame_{frame:04d}.jpg"
            entries[f"{name}1234"] = {
                "filename": name, "size": 1234,
                "regions": [
                    {"shape_attributes": {"name": "point", "cx": 1, "cy": 2}, "region_attributes": {"what": label}}
                    for label in labels
                ],
                "file_attributes": {},
            }  # fmt: skip
    return entries


def write_via2_project(folder: Path, segments: Segments) -> Path:
    entries = via2_entries(segments)
    project = {
        "_via_settings": {}, "_via_img_metadata": entries, "_via_attributes": {"region": {}, "file": {}},
        "_via_data_format_version": "2.0.10", "_via_image_id_list": list(entries),
    }  # fmt: skip
    path = folder / "via_project.json"
    path.write_text(json.dumps(project))
    return path


def write_via2_csv(folder: Path, segments: Segments) -> Path:
    header = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"
    rows = [
        [entry["filename"], 1234, "{}", len(entry["regions"]), number, json.dumps(region["shape_attributes"]),
         json.dumps(region["region_attributes"])]
        for entry in via2_entries(segments).values()
        for number, region in enumerate(entry["regions"])
    ]  # fmt: skip
    return write_rows(folder / "via_export.csv", [header.split(","), *rows])


def write_calms21(folder: Path, segments: Segments) -> Path:
    """One class at a time, 30 frames a second."""
    labels = labels_of(segments)
    vocabulary = {label: number for number, label in enumerate([*labels, "other"])}
    sequences = {}
    for video, listed in segments.items():
        rows = frame_rows(listed, labels, fps=30)
        sequences[f"task1/train/{video}"] = {
            "keypoints": [], "scores": [], "metadata": {"task": "task1", "vocab": vocabulary},
            "annotations": [row.index(1) if 1 in row else len(labels) for row in rows],
        }  # fmt: skip
    path = folder / "calms21_task1_train.json"
    path.write_text(json.dumps({"annotator-id_0": sequences}))
    return path


def bento(video: str, listed: Sequence[tuple[float, float, str]], *, in_frames: bool) -> str:
    """Frames count from 1; in seconds they are divided by the rate."""
    times = (
        "start frame: 1\nAnnotation stop frame: 120"
        if in_frames
        else "start time: 1.0e-01\nAnnotation stop time: 1.2e+01"
    )
    blocks = ""
    for label in sorted({label for _, _, label in listed}):
        blocks += f">{label}\nStart\t Stop\t Duration \n"
        for start, end, name in listed:
            frames = round(start * FPS) + 1, round(end * FPS)
            first, last = frames if in_frames else (frames[0] / FPS, frames[1] / FPS)
            blocks += f"{first:.12g}\t{last:.12g}\t{last - first:.12g}\n" if name == label else ""
        blocks += "\n"
    return (
        f"Bento annotation file\nMovie file(s):  /data/{video}.mp4 \n\nStimulus name: \nAnnotation {times}\n"
        f"Annotation framerate: {FPS:.6f}\n\nList of channels:\nCh1\n\nList of annotations:\nRun\n\n"
        f"Ch1----------\n{blocks}"
    )


def write_bento(folder: Path, segments: Segments) -> Path:
    return folder_of(
        folder, {f"{video}.annot": bento(video, listed, in_frames=True) for video, listed in segments.items()}
    )


def write_bento_seconds(folder: Path, segments: Segments) -> Path:
    return folder_of(
        folder, {f"{video}.annot": bento(video, listed, in_frames=False) for video, listed in segments.items()}
    )


def write_ava(folder: Path, segments: Segments) -> Path:
    """Key frames a second apart."""
    labels = labels_of(segments)
    (folder / "classes.txt").write_text("".join(f"{number} {label}\n" for number, label in enumerate(labels, start=1)))
    rows = [
        [video, f"{second:04d}", "0.077", "0.151", "0.283", "0.811", number, person]
        for video, listed in segments.items()
        for second in range(SECONDS)
        for number, label in enumerate(labels, start=1)
        for person in (1, 2)
        if on(listed, label, second)
    ]
    return write_rows(folder / "ava_train_v2.2.csv", rows)


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


Writer = Callable[[Path, Segments], Path]

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
BY_FRAME: dict[str, tuple[str, Writer]] = {
    "deepethogram": ("per-frame", write_deepethogram),
    "simba": ("per-frame", write_simba),
    "boris, binary": ("per-frame", write_boris_binary),
    "names of classes": ("per-frame", write_named_frames),
    "ethovision": ("ethovision", write_ethovision),
    "label studio, timeline": ("label-studio", write_label_studio_timeline),
    "label studio, min": ("label-studio", write_label_studio_min),
    "cvat, video": ("cvat", write_cvat),
    "cvat, images": ("cvat", write_cvat_images),
    "via 2, project": ("via2", write_via2_project),
    "via 2, csv": ("via2", write_via2_csv),
    "calms21": ("calms21", write_calms21),
    "bento, frames": ("bento", write_bento),
    "bento, seconds": ("bento", write_bento_seconds),
    "ava": ("ava", write_ava),
}
"""As `EXACT`."""
POINTS: dict[str, tuple[str, Writer]] = {"soccernet": ("soccernet", write_soccernet)}
"""Of events without length."""
