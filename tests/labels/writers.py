"""Annotations written as other programs and data sets write them, from their published layouts.

Each writer takes segments by video id, (start, end, label) in seconds, and writes a file or folder; `FORMATS` lists
all that keep them whole.
"""

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape, quoteattr

Segments = Mapping[str, Sequence[tuple[float, float, str]]]
Writer = Callable[[Path, Segments], Path]


def clock(seconds: float) -> str:
    whole = round(seconds * 1000)
    return f"{whole // 3600000:02d}:{whole // 60000 % 60:02d}:{whole // 1000 % 60:02d}.{whole % 1000:03d}"


def write_rows(path: Path, rows: Sequence[Sequence[Any]], *, delimiter: str = ",") -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


def write_json(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content))
    return path


def flat(segments: Segments) -> list[tuple[str, float, float, str]]:
    return [(video, *segment) for video, listed in segments.items() for segment in listed]


def labels_of(segments: Segments) -> list[str]:
    return sorted({label for _, _, _, label in flat(segments)})


def folder_of(folder: Path, texts: Mapping[str, str], *, encoding: str = "utf-8") -> Path:
    """A file for each name."""
    (folder / "labels").mkdir()
    for name, text in texts.items():
        (folder / "labels" / name).write_text(text, encoding=encoding)
    return folder / "labels"


def write_csv(folder: Path, segments: Segments) -> Path:
    rows = [(video, start, end, label) for video, start, end, label in flat(segments)]
    return write_rows(folder / "labels.csv", [("video", "start", "end", "label"), *rows])


def write_german_csv(folder: Path, segments: Segments) -> Path:
    """Semicolons and decimal commas, as spreadsheets of many countries save them."""
    rows = [
        (f"{video}.mp4", str(start).replace(".", ","), str(end).replace(".", ","), label)
        for video, start, end, label in flat(segments)
    ]
    return write_rows(folder / "labels.csv", [("Filename", "Start (s)", "Stop (s)", "Behaviour"), *rows], delimiter=";")


def write_clock_tsv(folder: Path, segments: Segments) -> Path:
    rows = [(video, clock(start), clock(end), label) for video, start, end, label in flat(segments)]
    return write_rows(folder / "labels.tsv", [("clip", "begin time", "end time", "event"), *rows], delimiter="\t")


def write_activitynet(folder: Path, segments: Segments) -> Path:
    database = {
        video: {
            "subset": "training",
            "annotations": [{"segment": [start, end], "label": label} for start, end, label in listed],
        }
        for video, listed in segments.items()
    }
    return write_json(folder / "activity_net.json", {"version": "VERSION 1.3", "taxonomy": [], "database": database})


def write_ego4d(folder: Path, segments: Segments) -> Path:
    """Each video is a clip that begins at second 100 of a longer one."""
    clips = []
    for video, listed in segments.items():
        rows = [
            {"label": label, "primary": True, "video_start_time": 100 + start, "video_end_time": 100 + end}
            for start, end, label in listed
        ]
        annotators = [{"annotator_uid": "a1", "labels": rows}]
        times = {"video_start_sec": 100.0, "video_end_sec": 112.0}
        clips.append({"clip_uid": video, **times, "annotations": annotators})
    return write_json(
        folder / "moments.json", {"version": "1.0", "videos": [{"video_uid": "x", "split": "train", "clips": clips}]}
    )


def write_thumos(folder: Path, segments: Segments) -> Path:
    texts: dict[str, str] = {}
    for video, start, end, label in flat(segments):
        texts[label] = texts.get(label, "") + f"{video}  {start} {end}\n"
    return folder_of(folder, {f"{label}_train.txt": text for label, text in texts.items()})


def write_epic_kitchens(folder: Path, segments: Segments) -> Path:
    header = (
        "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,"
        "stop_frame,narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes"
    )
    rows = [
        [f"{video}_{number}", video[:3], video, clock(start), clock(start), clock(end), round(start * 60),
         round(end * 60), f"{label} door", label, number, "door", 3, "['door', 'tap']", "[3, 0]"]
        for number, (video, start, end, label) in enumerate(flat(segments))
    ]  # fmt: skip
    return write_rows(folder / "EPIC_100_train.csv", [header.split(","), *rows])


def write_charades_csv(folder: Path, segments: Segments) -> Path:
    header = "id,subject,scene,quality,relevance,verified,script,objects,descriptions,actions,length"
    numbers = {label: number for number, label in enumerate(labels_of(segments))}
    rows = []
    for video, listed in segments.items():
        actions = ";".join(f"c{numbers[label]:03d} {start:.3f} {end:.3f}" for start, end, label in listed)
        rows.append((video, "PYKM", "Hall", 6, 7, "Yes", "He opens a door, and leaves.", "door", "", actions, 30.5))
    (folder / "classes.txt").write_text("".join(f"c{number:03d} {label}\n" for label, number in numbers.items()))
    return write_rows(folder / "Charades_v1_train.csv", [header.split(","), *rows])


def eaf(
    segments: Sequence[tuple[float, float, str]], *, media: Sequence[str], tier: str = "behaviour", origin: int = 0
) -> str:
    """A document of ELAN with one tier; times are whole milliseconds."""
    descriptors = "".join(
        f'<MEDIA_DESCRIPTOR MEDIA_URL={quoteattr("file:///C:/Users/me/" + name)} MIME_TYPE="video/mp4" '
        f'RELATIVE_MEDIA_URL={quoteattr("./" + name)} TIME_ORIGIN="{origin}"/>'
        for name in media
    )
    slots, annotations = [], []
    for number, (start, end, label) in enumerate(segments):
        one, two = f"ts{2 * number + 1}", f"ts{2 * number + 2}"
        slots += [(one, round(start * 1000)), (two, round(end * 1000))]
        annotations.append(
            f'<ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="a{number}" TIME_SLOT_REF1="{one}" '
            f'TIME_SLOT_REF2="{two}"><ANNOTATION_VALUE>{escape(label)}</ANNOTATION_VALUE>'
            "</ALIGNABLE_ANNOTATION></ANNOTATION>"
        )
    listed = "".join(f'<TIME_SLOT TIME_SLOT_ID="{name}" TIME_VALUE="{value}"/>' for name, value in slots)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<ANNOTATION_DOCUMENT AUTHOR="" DATE="2024-05-01T10:00:00+01:00" '
        'FORMAT="3.0" VERSION="3.0" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" '
        'xsi:noNamespaceSchemaLocation="http://www.mpi.nl/tools/elan/EAFv3.0.xsd">'
        f'<HEADER MEDIA_FILE="" TIME_UNITS="milliseconds">{descriptors}</HEADER><TIME_ORDER>{listed}</TIME_ORDER>'
        f'<TIER LINGUISTIC_TYPE_REF="default-lt" TIER_ID={quoteattr(tier)} PARTICIPANT="m1">{"".join(annotations)}'
        '</TIER><LINGUISTIC_TYPE GRAPHIC_REFERENCES="false" LINGUISTIC_TYPE_ID="default-lt" TIME_ALIGNABLE="true"/>'
        "</ANNOTATION_DOCUMENT>\n"
    )


def write_elan(folder: Path, segments: Segments) -> Path:
    texts = {f"{Path(video).name}.eaf": eaf(listed, media=[f"{video}.mp4"]) for video, listed in segments.items()}
    return folder_of(folder, texts)


def boris_project(observations: Mapping[str, Any], *, states: Sequence[str], points: Sequence[str] = ()) -> str:
    """A project of BORIS; observations are given whole."""
    behaviors = [(code, "State event") for code in states] + [(code, "Point event") for code in points]
    return json.dumps(
        {
            "time_format": "hh:mm:ss",
            "project_name": "test",
            "project_format_version": "7.0",
            "subjects_conf": {},
            "behaviors_conf": {
                str(number): {"type": kind, "key": "s", "code": code, "category": "", "modifiers": {}}
                for number, (code, kind) in enumerate(behaviors)
            },
            "observations": observations,
        }
    )


def boris_observation(events: Sequence[Sequence[Any]], *, media: Mapping[str, float | None], **more: Any) -> Any:
    """An observation of media files of one player and their lengths."""
    return {
        "type": "MEDIA",
        "file": {"1": list(media), "2": []},
        "time offset": 0.0,
        "media_info": {"length": {name: length for name, length in media.items() if length is not None}, "fps": {}},
        "events": [list(event) for event in events],
        **more,
    }


def write_boris_project(folder: Path, segments: Segments) -> Path:
    observations = {}
    for video, listed in segments.items():
        # Overlapping segments of one label would be told apart by nothing: each gets a subject of its own.
        events = [
            (time, f"subject {number}", label, "", "", 0)
            for number, (start, end, label) in enumerate(listed)
            for time in (start, end)
        ]
        observations[f"obs {video}"] = boris_observation(sorted(events), media={f"/data/{video}.mp4": 100.0})
    path = folder / "project.boris"
    path.write_text(boris_project(observations, states=labels_of(segments)))
    return path


def write_boris_tabular(folder: Path, segments: Segments) -> Path:
    header = (
        "Observation id,Observation date,Description,Observation duration,Observation type,Source,Time offset (s),"
        "Media duration (s),FPS,Subject,Behavior,Behavioral category,Behavior type,Time,Media file name,Image index,"
        "Image file path,Comment"
    )
    rows: list[list[Any]] = []
    for video, listed in segments.items():
        name = f"/data/{video}.mp4"
        events = [
            (time, status, f"subject {number}", label)
            for number, (start, end, label) in enumerate(listed)
            for time, status in ((start, "START"), (end, "STOP"))
        ]
        rows += [
            [f"obs {video}", "2024-05-01 10:00:00", "", 100.0, "Media file(s)", f"player #1:{name}", 0.0, "100.000",
             "25.000", subject, label, "", status, f"{time:.3f}", name, 1, "NA", ""]
            for time, status, subject, label in sorted(events)
        ]  # fmt: skip
    return write_rows(folder / "events.tsv", [header.split(","), *rows], delimiter="\t")


def write_boris_aggregated(folder: Path, segments: Segments) -> Path:
    header = (
        "Observation id,Observation date,Description,Observation type,Source,Time offset (s),Coding duration,"
        "Media duration (s),FPS (frame/s),Subject,Observation duration by subject by observation,Behavior,"
        "Behavioral category,Behavior type,Start (s),Stop (s),Duration (s),Media file name,Image index start,"
        "Image index stop,Image file path start,Image file path stop,Comment start,Comment stop"
    )
    rows = [
        [f"obs {video}", "2024-05-01 10:00:00", "", "Media file", f"player #1:{video}.mp4", 0.0, 100.0, "100.000",
         "25.000", "No focal subject", 10.0, label, "Not defined", "STATE", f"{start:.3f}", f"{end:.3f}",
         f"{end - start:.3f}", f"{video}.mp4", 1, 2, "NA", "NA", "", ""]
        for video, start, end, label in flat(segments)
    ]  # fmt: skip
    return write_rows(folder / "aggregated.csv", [header.split(","), *rows])


def via_project(segments: Segments) -> dict[str, Any]:
    labels = labels_of(segments)
    options = {str(number): label for number, label in enumerate(labels)}
    ids = {video: str(number) for number, video in enumerate(segments, start=1)}
    return {
        "project": {"pid": "__VIA_PROJECT_ID__", "pname": "test", "vid_list": list(ids.values())},
        "config": {"file": {"loc_prefix": {}}, "ui": {}},
        "attribute": {
            "1": {
                "aname": "Action", "anchor_id": "FILE1_Z2_XY0", "type": 4, "desc": "", "options": options,
                "default_option_id": "",
            }
        },
        "file": {
            key: {"fid": key, "fname": f"{video}.mp4", "type": 4, "loc": 1, "src": ""} for video, key in ids.items()
        },
        "view": {key: {"fid_list": [int(key)]} for key in ids.values()},
        "metadata": {
            f"{ids[video]}_{number}": {
                "vid": ids[video], "flg": 0, "z": [start, end], "xy": [], "av": {"1": str(labels.index(label))}
            }
            for number, (video, start, end, label) in enumerate(flat(segments))
        },
    }  # fmt: skip


def write_via_project(folder: Path, segments: Segments) -> Path:
    return write_json(folder / "via.json", via_project(segments))


def write_via_csv(folder: Path, segments: Segments) -> Path:
    """The general export, with coordinates."""
    project = via_project(segments)
    path = folder / "via_export.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write("# Exported using VGG Image Annotator (http://www.robots.ox.ac.uk/~vgg/software/via)\n# Notes:\n")
        file.write('# - metadata of {""1"":""3""} indicates attribute with id "1" set to an option with id "3"\n')
        file.write(f"# ATTRIBUTE = {json.dumps(project['attribute'])}\n")
        file.write("# CSV_HEADER = metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata\n")
        rows = csv.writer(file)
        for key, item in project["metadata"].items():
            name = project["file"][item["vid"]]["fname"]
            rows.writerow([key, json.dumps([name]), 0, json.dumps(item["z"]), "[]", json.dumps(item["av"])])
    return path


def write_via_segments_csv(folder: Path, segments: Segments) -> Path:
    """The export of temporal segments, with names of attributes."""
    path = folder / "via_segments.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write("# Exported using VGG Image Annotator (http://www.robots.ox.ac.uk/~vgg/software/via)\n")
        file.write("# CSV_HEADER = metadata_id,file_list,temporal_segment_start,temporal_segment_end,metadata\n")
        rows = csv.writer(file)
        for number, (video, start, end, label) in enumerate(flat(segments)):
            rows.writerow([f"1_{number}", json.dumps([f"{video}.mp4"]), start, end, json.dumps({"Action": label})])
    return path


FORMATS: dict[str, tuple[str, Writer]] = {
    "csv": ("csv", write_csv),
    "csv, semicolons": ("csv", write_german_csv),
    "tsv, clock": ("csv", write_clock_tsv),
    "activitynet": ("activitynet", write_activitynet),
    "ego4d": ("ego4d", write_ego4d),
    "thumos": ("thumos", write_thumos),
    "charades": ("charades", write_charades_csv),
    "epic-kitchens": ("epic-kitchens", write_epic_kitchens),
    "elan": ("elan", write_elan),
    "boris, project": ("boris", write_boris_project),
    "boris, tabular": ("boris", write_boris_tabular),
    "boris, aggregated": ("boris", write_boris_aggregated),
    "via, project": ("via", write_via_project),
    "via, csv": ("via", write_via_csv),
    "via, csv of segments": ("via", write_via_segments_csv),
}
"""Name of the format as it is recognised, and the writer."""
