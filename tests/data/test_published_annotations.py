"""The annotation files that are in circulation for THUMOS-14 and ActivityNet-1.3: all load, with the known counts."""

import csv
import json
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from re2tal.common.annotation_files import AnnotationFileError, read_annotation_file
from re2tal.data import AnnotationError, Annotations, read_annotations
from re2tal.data.annotations import find_class_names, select_subset
from re2tal.evaluation import read_ground_truth

REMOVED = {"video_test_0000270", "video_test_0001292"}


@pytest.fixture(scope="module")
def thumos(data: Path) -> Path:
    return _existing(data / "annotations/thumos14")


@pytest.fixture(scope="module")
def activitynet(data: Path) -> Path:
    return _existing(data / "annotations/activitynet")


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        pytest.skip(f"no folder {folder}")
    return folder


def _subsets(annotations: Annotations) -> dict[str, int]:
    return dict(Counter(video.subset for video in annotations.videos))


def _defects(annotations: Annotations) -> dict[str, int]:
    return dict(Counter(problem.kind for problem in annotations.problems))


def _num_actions(annotations: Annotations) -> int:
    return sum(len(video.actions) for video in annotations.videos)


def _inside_their_videos(annotations: Annotations) -> bool:
    return all(
        0 <= action.start_seconds < action.end_seconds <= video.duration_seconds
        for video in annotations.videos
        for action in video.actions
    )


def test_thumos_of_activitynets_layout(thumos: Path) -> None:
    annotations = read_annotations(thumos / "thumos14.json")
    assert _subsets(annotations) == {"Validation": 200, "Test": 212}
    assert _defects(annotations) == {"outside": 30}
    assert _num_actions(annotations) == 3007 + 3358 - 30
    assert len(find_class_names(annotations)) == 20
    assert all(video.num_frames is None for video in annotations.videos)
    assert _inside_their_videos(annotations)


def test_thumos_without_the_removed_videos_has_the_published_211_test_videos(thumos: Path) -> None:
    truth = read_ground_truth(thumos / "thumos14.json", subset=("validation", "Test"), blocked=tuple(REMOVED))
    assert len(truth.video_ids) == 211
    assert len(truth.class_names) == 20


def test_most_of_thumos_impossible_times_are_in_a_removed_video(thumos: Path) -> None:
    problems = read_annotations(thumos / "thumos14.json").problems
    assert Counter(problem.video_id for problem in problems).most_common(1) == [("video_test_0000270", 22)]


@pytest.mark.parametrize(
    ("archive", "subsets", "actions"),
    [("validation", {"Validation": 200}, 3007), ("test", {"Test": 213}, 3358)],
)
def test_thumos_text_files(thumos: Path, archive: str, subsets: dict[str, int], actions: int) -> None:
    annotations = read_annotations(
        thumos / f"TH14_Temporal_annotations_{archive}.zip", duration_of=lambda video_id: 1e4
    )
    assert _subsets(annotations) == subsets
    assert _num_actions(annotations) == actions
    assert len(find_class_names(annotations)) == 20
    assert annotations.problems == ()
    assert {video.duration_seconds for video in annotations.videos} == {1e4}


def test_thumos_text_files_without_videos_tell_that_the_lengths_are_a_guess(thumos: Path) -> None:
    annotations = read_annotations(thumos / "TH14_Temporal_annotations_test.zip")
    assert _defects(annotations) == {"without duration": 213}
    assert _num_actions(annotations) == 3358


def test_a_folder_of_archives_and_one_of_text_files_say_the_same(thumos: Path, tmp_path: Path) -> None:
    for part in ("validation", "test"):
        with zipfile.ZipFile(thumos / f"TH14_Temporal_annotations_{part}.zip") as archive:
            archive.extractall(tmp_path / part)
    archives, texts = read_annotations(thumos), read_annotations(tmp_path)
    assert archives.videos == texts.videos
    assert _subsets(archives) == {"Validation": 200, "Test": 213}


def test_the_text_files_and_the_json_file_of_thumos_name_the_same_actions(thumos: Path) -> None:
    """Two independent sources, up to what lies outside the videos, which only the JSON file's durations tell."""
    durations = {video.video_id: video.duration_seconds for video in read_annotations(thumos / "thumos14.json").videos}
    texts = read_annotations(thumos, duration_of=durations.get)
    (only_ambiguous,) = set(video.video_id for video in texts.videos) - set(durations)
    assert only_ambiguous == "video_test_0001292"
    by_id = {video.video_id: video for video in texts.videos}
    for video in read_annotations(thumos / "thumos14.json").videos:
        assert sorted(video.actions, key=repr) == sorted(by_id[video.video_id].actions, key=repr)


def test_the_ground_truth_of_the_text_files_is_that_of_the_json_file(thumos: Path) -> None:
    texts = read_ground_truth(thumos, subset="Test", as_annotated=True)
    table = read_ground_truth(thumos / "thumos14.json", subset="Test", as_annotated=True)
    assert (len(texts.video_ids), len(table.video_ids)) == (213, 212)
    assert len(texts.segments) == len(table.segments) == 3358
    assert set(texts.class_names) == set(table.class_names)


def test_thumos_of_the_reference_has_frame_counts_and_a_class_list(thumos: Path, tmp_path: Path) -> None:
    """Of the layout that the published experiments were run on, made here of the file at hand."""
    content = json.loads((thumos / "thumos14.json").read_text())
    names = {"Validation": "training", "Test": "validation"}
    database = {
        video_id: {**entry, "subset": names[entry["subset"]], "frame": round(entry["duration"] * entry["fps"])}
        for video_id, entry in content["database"].items()
        if video_id not in REMOVED
    }
    path = tmp_path / "thumos_14_anno.json"
    path.write_text(json.dumps({"version": "Thumos14", "database": database}))
    classes = sorted({row["label"] for entry in database.values() for row in entry["annotations"]}, reverse=True)
    (tmp_path / "category_idx.txt").write_text("\n".join(classes) + "\n")
    annotations = read_annotations(path)
    assert _subsets(annotations) == {"training": 200, "validation": 211}
    assert all(video.num_frames for video in annotations.videos)
    assert find_class_names(annotations) == tuple(classes)


def test_activitynet_of_feature_packages_with_its_table_of_subsets(activitynet: Path) -> None:
    annotations = read_annotations(
        activitynet / "anet_anno_action.json", subset_file=activitynet / "video_info_new.csv"
    )
    assert _subsets(annotations) == {"training": 9649, "validation": 4728, "testing": 4851}
    assert _defects(annotations) == {"clamped": 13, "without length": 12, "annotated twice": 50}
    assert len(find_class_names(annotations)) == 200
    assert not any(video.video_id.startswith("v_") and len(video.video_id) == 13 for video in annotations.videos)
    assert not any(video.actions for video in select_subset(annotations, "testing"))
    assert _inside_their_videos(annotations)


def test_activitynet_needs_its_table_of_subsets(activitynet: Path, tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="without a database, give the subsets in a CSV file"):
        read_annotations(activitynet / "anet_anno_action.json")
    table = tmp_path / "subsets.csv"
    table.write_text("video,subset\nv_QOlSCBRmfWY,training\n")
    annotations = read_annotations(activitynet / "anet_anno_action.json", subset_file=table)
    assert [video.video_id for video in select_subset(annotations, "training")] == ["QOlSCBRmfWY"]


@pytest.mark.parametrize("prefix", ["", "v_"])
def test_activitynet_of_the_official_layout(activitynet: Path, tmp_path: Path, prefix: str) -> None:
    """Made of the file at hand: with fields that nobody needs, test videos without annotations, prefix or not."""
    path = _official(activitynet, tmp_path / "activity_net.v1-3.min.json", prefix=prefix)
    annotations = read_annotations(path)
    assert _subsets(annotations) == {"training": 9649, "validation": 4728, "testing": 4851}
    assert _defects(annotations) == {"clamped": 13, "without length": 12, "annotated twice": 50}
    truth = read_ground_truth(path, subset="validation")
    assert (len(truth.video_ids), len(truth.class_names)) == (4728, 200)
    assert set(truth.video_ids) == {video.video_id for video in select_subset(annotations, "validation")}


def _official(folder: Path, path: Path, *, prefix: str) -> Path:
    flat = json.loads((folder / "anet_anno_action.json").read_text())
    with (folder / "video_info_new.csv").open(newline="") as file:
        subset_of = {row["video"]: row["subset"] for row in csv.DictReader(file)}
    database: dict[str, Any] = {}
    for name, entry in flat.items():
        database[prefix + name.removeprefix("v_")] = {
            "subset": subset_of[name],
            "duration": entry["duration_second"],
            "resolution": "320x240",
            "url": f"https://www.youtube.com/watch?v={name.removeprefix('v_')}",
            "annotations": entry["annotations"],
        }
    path.write_text(json.dumps({"version": "VERSION 1.3", "taxonomy": [], "database": database}))
    return path


def test_names_of_other_sets_that_begin_with_v_stay(tmp_path: Path) -> None:
    path = tmp_path / "annotations.json"
    names = ["v_BasketballDunk_g01_c01", "v_abcdefghijk"]
    path.write_text(json.dumps({"database": {name: {"subset": "t", "duration": 1} for name in names}}))
    assert [video.video_id for video in read_annotations(path).videos] == names


def test_a_line_of_a_text_file_that_is_no_annotation_is_named(tmp_path: Path) -> None:
    (tmp_path / "Diving_test.txt").write_text("video_test_0000001  1.0 2.0\n\nvideo_test_0000002  1.0\n")
    with pytest.raises(AnnotationError, match=r"Diving_test\.txt, line 3: expected a video and two times"):
        read_annotations(tmp_path)


def test_a_folder_or_archive_without_annotations_is_refused(tmp_path: Path) -> None:
    (tmp_path / "readme.txt").write_text("nothing")
    with pytest.raises(AnnotationFileError, match="holds no annotations; expected THUMOS-14's text files"):
        read_annotation_file(tmp_path, fix="-")
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"no archive")
    for path in (broken, tmp_path):
        with pytest.raises(AnnotationFileError, match="cannot be read .*download them again"):
            read_annotation_file(path, fix="-")
    with pytest.raises(AnnotationFileError, match="no annotation file at .*absent.zip; look elsewhere"):
        read_annotation_file(tmp_path / "absent.zip", fix="look elsewhere")
