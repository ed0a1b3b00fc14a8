"""What is peculiar to the files of single programs, where a round trip does not show it."""

import json
from pathlib import Path
from typing import Any

import pytest

from re2tal.labels import SourceError
from tests.labels.conftest import make_videos
from tests.labels.frame_writers import bento, timeline
from tests.labels.program_writers import label_studio_task, textgrid
from tests.labels.support import bring_in, read, reasons, segments_of
from tests.labels.writers import write_rows


def write(path: Path, text: str, *, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding=encoding)
    return path


class TestLabelStudio:
    def test_who_and_when(self, clips: Path, tmp_path: Path) -> None:
        task = label_studio_task("a", timeline([(1.0, 2.0, "run")]), kind="timelinelabels")
        other = json.loads(json.dumps(task["annotations"][0]))
        other["completed_by"] = {"id": 4, "email": "bo@x.org"}
        other["result"][0]["value"]["ranges"] = [{"start": 31, "end": 40}, {"start": 51, "end": 51}]
        skipped = {**other, "was_cancelled": True}
        task["annotations"] += [other, skipped]
        imported = bring_in(write(tmp_path / "x.json", json.dumps([task])), videos=clips)
        assert [(row["segment"], row["annotator"]) for row in imported.database["a"]["annotations"]] == [
            ([1.0, 2.0], "3"), ([3.0, 4.0], "bo@x.org"), ([5.0, 5.1], "bo@x.org")
        ]  # fmt: skip
        assert imported.database["a"]["annotations"][0]["edited"] == "2024-05-02T10:00:00.000000Z"
        assert any("rate of Label Studio's interface" in note for note in imported.report.notes)
        assert any("2 annotators, 'bo@x.org' (2), '3' (1), all of which count" in n for n in imported.report.notes)
        one = bring_in(tmp_path / "x.json", videos=clips, only={"annotator": frozenset({"3"})})
        assert len(segments_of(one)["a"]) == 1 and not any("annotators" in note for note in one.report.notes)

    def test_frames_count_at_the_rate_that_is_told(self, clips: Path, tmp_path: Path) -> None:
        values = [{"ranges": [{"start": 25, "end": 48}], "timelinelabels": ["run", "sit"]}]
        path = write(tmp_path / "x.json", json.dumps([label_studio_task("a", values, kind="timelinelabels")]))
        imported = bring_in(path, videos=clips, fps=24.0)
        assert segments_of(imported) == {"a": [(1.0, 2.0, "run"), (1.0, 2.0, "sit")]}

    def test_a_task_may_tell_its_rate(self, clips: Path, tmp_path: Path) -> None:
        task = label_studio_task("a", [{"ranges": [{"start": 26, "end": 50}], "timelinelabels": ["run"]}], kind="x")
        task["data"]["fps"] = 25.0
        later = {"data": {"video": "b.mp4"}, "predictions": [{"result": task["annotations"][0]["result"]}]}
        imported = bring_in(write(tmp_path / "x.json", json.dumps([task, later])), videos=clips)
        assert segments_of(imported) == {"a": [(1.0, 2.0, "run")]}  # predictions are no labels, and b is not labelled
        assert any("1 tasks of predictions alone, which are no labels" in note for note in imported.report.notes)
        assert not any("frameRate" in note for note in imported.report.notes)

    def test_regions_of_pictures_and_tasks_without_annotations(self, clips: Path, tmp_path: Path) -> None:
        boxes = {"framesCount": 120, "duration": 12, "sequence": [{"frame": 1, "x": 2}], "labels": ["mouse"]}
        tasks = [
            label_studio_task("a", [boxes], kind="videorectangle"),
            {**label_studio_task("b", [], kind="labels"), "annotations": []},
            label_studio_task("c", [{"start": 1, "end": 2, "labels": ["run"]}], kind="labels"),
        ]
        imported = bring_in(write(tmp_path / "x.json", json.dumps(tasks)), videos=clips)
        # Nobody has looked at b; in a, which somebody has, nothing was found.
        assert segments_of(imported) == {"a": [], "c": [(1.0, 2.0, "run")]}
        assert reasons(imported) == {"incomplete entry": 1}


class TestSoccerNet:
    def labels(self, path: Path, match: str, *rows: tuple[str, str, str | None]) -> Path:
        annotations = [
            {"gameTime": time, "label": label, "team": "home", **({} if position is None else {"position": position})}
            for time, label, position in rows
        ]
        return write(path, json.dumps({"UrlLocal": f"epl/2014-2015/{match}/", "annotations": annotations}))

    def test_halves_are_videos(self, tmp_path: Path) -> None:
        names = [f"epl/2014-2015/{match}/{half}_720p.mkv" for match in ("A 1 - 1 B", "C 0 - 2 D") for half in (1, 2)]
        videos = make_videos(tmp_path / "v", dict.fromkeys(names, 12.0))
        self.labels(
            tmp_path / "l/x/Labels-v2.json", "A 1 - 1 B", ("1 - 00:03", "Goal", "3250"), ("2 - 00:05", "Foul", "5000")
        )
        self.labels(tmp_path / "l/y/Labels.json", "E 0 - 0 F", ("1 - 00:03", "soccer-ball", None))
        imported = bring_in(tmp_path / "l", videos=videos, point_seconds=1.0)
        assert segments_of(imported) == {
            "epl/2014-2015/A 1 - 1 B/1_720p": [(2.75, 3.75, "Goal")],
            "epl/2014-2015/A 1 - 1 B/2_720p": [(4.5, 5.5, "Foul")],
        }
        assert reasons(imported) == {"widened point event": 2, "unknown video": 1}

    def test_one_match_without_folders(self, tmp_path: Path) -> None:
        videos = make_videos(tmp_path / "v", {"1_224p.mkv": 12.0, "2_224p.mkv": 12.0})
        one = self.labels(tmp_path / "l/x/Labels-v2.json", "A", ("1 - 00:03", "Goal", "3000"))
        assert segments_of(bring_in(one, videos=videos, point_seconds=0.0)) == {
            "1_224p": [(3.0, 3.0, "Goal")],
            "2_224p": [],
        }
        self.labels(tmp_path / "l/y/Labels-v2.json", "B", ("1 - 00:04", "Goal", "4000"))
        with pytest.raises(
            SourceError, match="both 'A' and 'B' would have the video 1_224p.mkv; put the videos of each"
        ):
            bring_in(tmp_path / "l", videos=videos)

    def test_predictions_and_a_match_that_is_one_video(self, clips: Path, tmp_path: Path) -> None:
        rows = [
            {"gameTime": f"1 - 00:0{n}", "label": "Goal", "position": f"{n}000", "half": "1", "confidence": str(n / 10)}
            for n in (1, 4, 9)
        ]
        path = write(tmp_path / "results_spotting.json", json.dumps({"UrlLocal": "epl/a", "predictions": rows}))
        imported = bring_in(path, videos=clips, point_seconds=0.0)
        assert [(row["segment"], row["score"]) for row in imported.database["a"]["annotations"]] == [
            ([4.0, 4.0], 0.4), ([9.0, 9.0], 0.9)
        ]  # fmt: skip
        assert reasons(imported) == {"not selected": 1}


class TestSubtitles:
    def test_scores_above_the_times(self, clips: Path, tmp_path: Path) -> None:
        text = "WEBVTT\n\nscore 0.8125\n00:01.000 --> 00:02.000\nrun\n\nscore 0.1000\n00:03.000 --> 00:04.000\nrun\n"
        imported = bring_in(write(tmp_path / "a.vtt", text), videos=clips, min_score=0.5)
        assert segments_of(imported) == {"a": [(1.0, 2.0, "run")]}

    def test_our_own_webvtt_keeps_the_scores_apart(self, clips: Path, tmp_path: Path) -> None:
        from re2tal.inference.outputs import vtt_text

        rows = [
            {"segment": [1, 2], "label": "run & <jump> 2", "score": 0.93},
            {"segment": [3, 4], "label": "sit", "score": 0.2},
        ]
        path = write(tmp_path / "a.vtt", vtt_text(rows))
        assert segments_of(bring_in(path, videos=clips)) == {"a": [(1.0, 2.0, "run & <jump> 2"), (3.0, 4.0, "sit")]}
        assert segments_of(bring_in(path, videos=clips, min_score=0.5)) == {"a": [(1.0, 2.0, "run & <jump> 2")]}

    def test_times_without_hours_tags_and_several_lines(self, clips: Path, tmp_path: Path) -> None:
        text = "1\n00:01,5 --> 00:02,250 X1:0\n{\\an8}<font color=red>picks\nup</font>\n\n"
        text += "2\n00:00:03,000 --> 00:00:04,000\n\n\n"
        imported = bring_in(write(tmp_path / "a.srt", text, encoding="cp1252"), videos=clips)
        assert segments_of(imported) == {"a": [(1.5, 2.25, "picks up")]}
        assert reasons(imported) == {"empty label": 1}

    def test_a_label_may_look_like_a_tag(self, clips: Path, tmp_path: Path) -> None:
        imported = bring_in(write(tmp_path / "a.srt", "1\n00:00:01,000 --> 00:00:02,000\na < b > c\n"), videos=clips)
        assert segments_of(imported) == {"a": [(1.0, 2.0, "a < b > c")]}

    def test_cues_without_a_blank_line_between_them_and_text_with_an_arrow(self, clips: Path, tmp_path: Path) -> None:
        text = "1\n00:00:01,000 --> 00:00:02,000\nrun --> jump\n2\n00:00:03,000 --> 00:00:04,000\nsit\n2\n"
        imported = bring_in(write(tmp_path / "a.srt", text), videos=clips)
        assert segments_of(imported) == {"a": [(1.0, 2.0, "run --> jump"), (3.0, 4.0, "sit 2")]}


class TestTextGrid:
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
    @pytest.mark.parametrize("short", [True, False])
    def test_quotes_encodings_and_points(self, short: bool, encoding: str, clips: Path, tmp_path: Path) -> None:
        label = 'says "Ü" [1] = 2.5'
        text = textgrid([(1.0, 2.0, label)], short=short)
        begin, size, rest = text.partition("1\n" if short else "size = 1 ")
        points = '"TextTier"\n"points"\n0\n12\n2\n1.5\n"beep"\n3\n""\n'
        path = write(tmp_path / "a.TextGrid", begin + size.replace("1", "2") + rest + points, encoding=encoding)
        reading = read(path)
        assert [record.fields for record in reading.records] == [
            {"text": label, "tier": f"{label} 1"}, {"text": "beep", "tier": "points"}
        ]  # fmt: skip
        assert segments_of(bring_in(path, videos=clips)) == {"a": [(1.0, 2.0, label)]}

    def test_a_file_that_is_cut_off_keeps_what_is_whole(self, clips: Path, tmp_path: Path) -> None:
        text = textgrid([(1.0, 2.0, "run"), (3.0, 4.0, "run")], short=False)
        path = write(tmp_path / "a.TextGrid", text[: text.index("intervals [4]")])
        imported = bring_in(path, videos=clips)
        assert segments_of(imported) == {"a": [(1.0, 2.0, "run")]} and reasons(imported) == {"incomplete entry": 1}


class TestXml:
    def test_the_end_of_a_track_of_cvat(self, clips: Path, tmp_path: Path) -> None:
        """Key frames alone; twice in the picture; one that stays to the end of every second frame."""

        def box(frame: object, outside: int, speed: str = "slow") -> str:
            told = f'<attribute name="who">m1</attribute><attribute name="speed">{speed}</attribute>'
            return f'<box frame="{frame}" outside="{outside}">{told}</box>'

        tracks = (
            f'<track id="0" label="run">{box(10, 0)}{box(20, 1)}{box(30, 0, "fast")}{box(50, 1)}</track>'
            f'<track id="1" label="sit">{box(100, 0)}{box(104, 0)}{box("x", 0)}</track>'
        )
        meta = "<meta><task><id>5</id><source>a.mp4</source><frame_filter>step=2</frame_filter></task></meta>"
        imported = bring_in(
            write(tmp_path / "x.xml", f"<annotations><version>1.1</version>{meta}{tracks}</annotations>"), videos=clips
        )
        assert segments_of(imported) == {"a": [(1.0, 2.0, "run"), (3.0, 5.0, "run"), (10.0, 10.6, "sit")]}
        assert reasons(imported) == {"unparsable time": 1}
        reading = read(tmp_path / "x.xml")
        assert reading.records[0].fields == {"label": "run", "who": "m1"}

    def test_a_project_of_cvat_has_several_videos(self, clips: Path, tmp_path: Path) -> None:
        tasks = "".join(
            f"<task><id>{number}</id><source>{name}.mp4</source></task>" for number, name in ((7, "a"), (8, "b"))
        )
        track = (
            '<track id="0" label="run" task_id="8"><box frame="10" outside="0"/><box frame="20" outside="1"/></track>'
        )
        text = f"<annotations><meta><project><tasks>{tasks}</tasks></project></meta>{track}</annotations>"
        imported = bring_in(write(tmp_path / "x.xml", text), videos=clips)
        assert segments_of(imported) == {"a": [], "b": [(1.0, 2.0, "run")]}

    def test_tracks_of_anvil_that_refer_to_others(self, clips: Path, tmp_path: Path) -> None:
        def el(index: int, inside: str, **attributes: object) -> str:
            told = "".join(f' {name}="{value}"' for name, value in attributes.items())
            return f'<el index="{index}"{told}>{inside}</el>'

        def value(text: str) -> str:
            return f'<attribute name="type">{text}</attribute><attribute name="hand">left</attribute>'

        phases = [el(n, value(f"p{n}"), start=n, end=n + 0.5) for n in range(1, 4)]
        phrases = el(0, value("wave"), start=1, end=3) + el(1, value("x"), start=1, end=9)
        body = (
            f'<track name="phrase" type="span" ref="phase">{phrases}</track>'
            f'<track name="phase" type="primary">{"".join(phases)}</track>'
            f'<track name="copy" type="singleton" ref="phrase">{el(0, "", ref=0)}</track>'
            f'<track name="beats" type="primary point">{el(0, value("beat"), time=5)}</track>'
            f'<track name="bad" type="primary">{el(0, value("bad"), start="soon", end=2)}</track>'
        )
        text = f'<annotation><head><video src="videos\\a.mp4"/></head><body>{body}</body></annotation>'
        imported = bring_in(write(tmp_path / "x.anvil", text, encoding="utf-16"), videos=clips)
        assert segments_of(imported) == {
            "a": [(1.0, 1.5, "p1"), (1.0, 3.5, "wave"), (2.0, 2.5, "p2"), (3.0, 3.5, "p3")]
        }
        assert reasons(imported) == {"no video time": 1, "empty label": 1, "point event": 1, "unparsable time": 1}
        tiers = bring_in(tmp_path / "x.anvil", videos=clips, label=("tier",), only={"hand": frozenset(["left"])})
        assert {label for _, _, label in segments_of(tiers)["a"]} == {"phase", "phrase"}

    @pytest.mark.parametrize("root", ["annotations", "annotation"])
    def test_document_types_are_refused(self, root: str, tmp_path: Path) -> None:
        text = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "lol">]><{root}><meta/>&a;</{root}>'
        with pytest.raises(SourceError, match="declares a document type"):
            read(write(tmp_path / "x.xml", text))


class TestDataSets:
    def test_ava_looks_at_a_part_of_a_film(self, tmp_path: Path) -> None:
        videos = make_videos(tmp_path / "v", {"film.mkv": 30.0})
        rows = [["film", f"{n:04d}", 0.1, 0.1, 0.5, 0.9, 12, 0] for n in (10, 11, 12, 15)]
        path = write_rows(tmp_path / "ava_val_v2.2.csv", rows)
        imported = bring_in(path, videos=videos)
        assert segments_of(imported) == {"film": [(9.5, 12.5, "class 12"), (14.5, 15.5, "class 12")]}
        assert imported.database["film"]["labelled"] == [[9.5, 15.5]]
        assert imported.database["film"]["subset"] == "validation"
        named = bring_in(path, videos=videos, reading={"class_names": {12: "stand"}})
        assert {label for _, _, label in segments_of(named)["film"]} == {"stand"}

    def test_key_frames_of_ava_far_apart_stand_for_a_second_each(self, tmp_path: Path) -> None:
        videos = make_videos(tmp_path / "v", {"film.mkv": 30.0})
        rows = [["film", n, 0.1, 0.1, 0.5, 0.9, 12, 0] for n in (10, 18)]
        imported = bring_in(write_rows(tmp_path / "x.csv", rows), videos=videos)
        assert segments_of(imported) == {"film": [(9.5, 10.5, "class 12"), (17.5, 18.5, "class 12")]}

    def test_multisports_counts_frames(self, tmp_path: Path) -> None:
        videos = make_videos(tmp_path / "v", {"football/v_x_c001.mp4": 12.0})
        rows = [["football/v_x_c001", n, 10, 20.5, 30, 40, 3, 1] for n in range(20, 40)]
        imported = bring_in(write_rows(tmp_path / "x.csv", rows), videos=videos)
        assert segments_of(imported) == {"football/v_x_c001": [(2.0, 4.0, "class 3")]}

    def test_calms21_tells_annotators_and_subsets(self, clips: Path, tmp_path: Path) -> None:
        sequence = {"keypoints": [], "scores": [], "metadata": {"vocab": {"attack": 0, "other": 3}}}
        content = {
            f"annotator-id_{n}": {
                f"task2/test/{name}": {**sequence, "annotations": [3] * 30 + [0] * (30 + n) + [3] * 300}
            }
            for n, name in ((0, "a"), (1, "b"))
        }
        content["annotator-id_2"] = {"task2/test/c": sequence}
        imported = bring_in(write(tmp_path / "x.json", json.dumps(content)), videos=clips)
        assert imported.database["a"]["annotations"] == [
            {"segment": [1.0, 2.0], "label": "attack", "annotator": "annotator-id_0"}
        ]
        assert imported.database["a"]["subset"] == "testing" and reasons(imported) == {"incomplete entry": 1}
        assert "labelled" not in imported.database["a"]  # all of it but the last frame


class TestMice:
    def test_bento_in_seconds_begins_with_the_first_frame(self, clips: Path, tmp_path: Path) -> None:
        text = bento("gone", [(0.0, 1.0, "run"), (11.0, 12.0, "run")], in_frames=False)
        imported = bring_in(write(tmp_path / "a.annot", text.replace("1.2e+01", "8.0")), videos=clips)
        assert segments_of(imported) == {"a": [(0.0, 1.0, "run"), (11.0, 12.0, "run")]}
        assert imported.database["a"]["labelled"] == [[0.0, 8.0], [11.0, 12.0]]  # what is annotated was looked at

    @pytest.mark.parametrize("rate", ["", "0", "x", "nan", "1e300"])
    def test_bento_needs_its_rate(self, rate: str, tmp_path: Path) -> None:
        text = bento("a", [(0.0, 1.0, "run")], in_frames=True).replace("10.000000", rate)
        with pytest.raises(SourceError, match="tells no frame rate; it needs a line such as"):
            read(write(tmp_path / "a.annot", text))

    def test_events_of_the_observer(self, clips: Path, tmp_path: Path) -> None:
        header = ("Observation", "Time_Relative_hmsf", "Subject", "Behavior", "Modifier_1", "Event_Type", "Comment")
        rows: list[tuple[Any, ...]] = [
            ("A", "00:00:00.00", "", "", "", "", "begins"),
            ("A", "00:00:01.50", "m1", "groom", "face", "State start", ""),
            ("A", "00:00:02.00", "m2", "groom", "", "State start", ""),
            ("A", "00:00:03.50", "m1", "groom", "face", "State stop", ""),
            ("A", "00:00:04.00", "m1", "call", "", "Point", ""),
            ("A", "soon", "m1", "call", "", "Point", ""),
            ("A", "00:00:05.00", "m1", "call", "", "Lapse", ""),
        ]
        imported = bring_in(write_rows(tmp_path / "x.txt", [header, *rows], delimiter="\t"), videos=clips)
        assert segments_of(imported) == {"a": [(1.5, 3.5, "groom")]}
        assert reasons(imported) == {
            "state event without its pair": 1, "point event": 1, "unparsable time": 1, "incomplete entry": 1
        }  # fmt: skip
        with pytest.raises(SourceError, match="needs the columns Behavior, Event_Type and one of Time_Relative_sf"):
            read(
                write_rows(
                    tmp_path / "y.txt", [("Behavior", "Event_Type", "Time_Absolute_hms"), ("x", "Point", "10:00:00")]
                )
            )

    def test_raw_data_of_ethovision_without_states(self, tmp_path: Path) -> None:
        rows = [
            ("Number of header lines:", 3),
            ("Trial time", "X center"),
            ("s", "cm"),
            *((n / 10, n * 1.5) for n in range(50)),
        ]
        with pytest.raises(SourceError, match="EthoVision's raw data without a column of 0 and 1; export behaviours"):
            read(write_rows(tmp_path / "x.csv", rows, delimiter=";"))


class TestVia2:
    def test_ticked_boxes_and_every_fifth_picture(self, clips: Path, tmp_path: Path) -> None:
        def entry(frame: int, **ticked: bool) -> dict[str, Any]:
            return {
                "filename": f"a/{frame:05d}.png",
                "size": 1,
                "regions": {},
                "file_attributes": {"what": ticked, "who": "m1"},
            }

        entries = {str(n): entry(n, run=n >= 20, sit=n < 30) for n in range(0, 50, 5)}
        entries["odd"] = {**entry(0), "filename": "a.png"}
        path = write(tmp_path / "x.json", json.dumps(entries))
        imported = bring_in(path, videos=clips, only={"attribute": frozenset(["what"])})
        assert segments_of(imported) == {"a": [(0.0, 3.0, "sit"), (2.0, 5.0, "run")]}
        assert reasons(imported) == {"not selected": 1, "no video time": 1}
