"""Labels written as programs write them that label frames; see `writers`.

`BY_FRAME` hold a label or not for each frame of 0.1 s (or each second), so that their segments must lie on that and not
overlap with one of the same label.
"""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

from tests.labels.program_writers import SECONDS, label_studio_task
from tests.labels.writers import Segments, Writer, folder_of, labels_of, write_json, write_rows

FPS = 10


def on(listed: Sequence[tuple[float, float, str]], label: str, seconds: float) -> int:
    return int(any(name == label and start - 1e-6 <= seconds < end - 1e-6 for start, end, name in listed))


def timeline(listed: Sequence[tuple[float, float, str]]) -> list[dict[str, Any]]:
    """Frames count from 1 and the last one is inside."""
    return [
        {"ranges": [{"start": round(start * FPS) + 1, "end": round(end * FPS)}], "timelinelabels": [label]}
        for start, end, label in listed
    ]


def write_label_studio_timeline(folder: Path, segments: Segments) -> Path:
    tasks = [label_studio_task(video, timeline(listed), kind="timelinelabels") for video, listed in segments.items()]
    return write_json(folder / "project-1.json", tasks)


def write_label_studio_min(folder: Path, segments: Segments) -> Path:
    tasks = [
        {
            "video": f"/data/local-files/?d=films/{video}.mp4", "id": 1, "what": timeline(listed), "annotator": 1,
            "annotation_id": 2, "created_at": "2024-05-01T10:00:00Z", "updated_at": "2024-05-01T10:00:00Z",
            "lead_time": 3.2,
        }
        for video, listed in segments.items()
    ]  # fmt: skip
    return write_json(folder / "project-1-min.json", tasks)


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
    return write_json(folder / "via_project.json", project)


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
    return write_json(folder / "calms21_task1_train.json", {"annotator-id_0": sequences})


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
"""Name of the format as it is recognised, and the writer."""
