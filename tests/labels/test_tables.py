"""Tables as people save them."""

from pathlib import Path

import pytest

from re2tal.common.untrusted import spreadsheet_safe
from re2tal.labels import Record, SourceError, Time
from tests.labels.support import bring_in, read, reasons, segments_of


def write(path: Path, text: str, *, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def rows_of(records: list[Record]) -> list[tuple[str, Time, Time | None]]:
    return [(record.media[0].name, record.start, record.end) for record in records]


ONE = [("a", Time(seconds=1.0), Time(seconds=2.5))]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252", "latin-1"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_encoding_and_delimiter_are_found(tmp_path: Path, encoding: str, delimiter: str) -> None:
    text = "video,start,end,label\nÜbung é,1.5,2.5,größer\nb,2,3,klein\n".replace(",", delimiter)
    reading = read(write(tmp_path / "labels.csv", text, encoding=encoding))
    assert [record.fields["label"] for record in reading.records] == ["größer", "klein"]
    assert reading.records[0].media[0].name == "Übung é"
    assert bool(reading.notes) == (encoding in ("cp1252", "latin-1"))


@pytest.mark.parametrize(
    "header",
    [
        "video,start,end,label", "Video_ID,Start_Time,End_Time,Action", "filename,startTime,endTime,class",
        "clip,t_start,t_end,activity", "Video Name,Start (s),Stop (s),Behavior", "vid,onset,offset,event",
        "video,begin,finish,category", "file,t0,t1,label", "video,start_sec,end_sec,class_name",
        "video-id,segment-start,segment-end,label", "media,Begin Time - ss.msec,End Time - ss.msec,annotation",
        "video,from,to,tag", "path,start_timestamp,stop_timestamp,action_label",
    ],
)  # fmt: skip
def test_usual_spellings_of_columns(tmp_path: Path, header: str) -> None:
    reading = read(write(tmp_path / "x.csv", f"{header}\na,1,2.5,run\n"))
    assert rows_of(reading.records) == ONE
    assert reading.records[0].fields[reading.label_fields[0]] == "run"


@pytest.mark.parametrize(
    ("header", "row", "end"),
    [
        ("video,start_frame,end_frame,label", "a,10,25,run", Time(frames=25.0)),
        ("video,frame_start,frame_end,label", "a,10,25,run", Time(frames=25.0)),
        ("video,start_ms,end_ms,label", "a,1000,2500,run", Time(seconds=2.5)),
        ("video,start_frame,end_frame,start,end,label", "a,10,25,1.0,2.5,run", Time(seconds=2.5)),
        ("video,start,duration,label", "a,1,1.5,run", Time(seconds=2.5)),
        ("video,duration,start,end,label", "a,60,1,2.5,run", Time(seconds=2.5)),
        ("video,start_frame,duration_frames,label", "a,10,15,run", Time(frames=25.0)),
    ],
)
def test_columns_tell_the_unit(tmp_path: Path, header: str, row: str, end: Time) -> None:
    reading = read(write(tmp_path / "x.csv", f"{header}\n{row}\n"))
    assert [record.end for record in reading.records] == [end]


def test_the_user_s_unit_and_columns_come_first(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "which;on;off;what\na;25;50;run\n")
    named = {"video": "which", "start": "on", "end": "off"}
    reading = read(path, columns=named, label=("what",), unit="frames")
    assert rows_of(reading.records) == [("a", Time(frames=25.0), Time(frames=50.0))]
    with pytest.raises(SourceError, match="no column 'begin' for the start; it has 'which', 'on'"):
        read(path, columns={"start": "begin"})


def test_a_table_without_header(tmp_path: Path) -> None:
    reading = read(write(tmp_path / "x.csv", "a.mp4,1.0,2.5,run\na.mp4,3,4,jump\n"))
    assert len(reading.records) == 2 and reading.records[1].fields["label"] == "jump"


def test_labels_in_a_file_named_like_its_video(tmp_path: Path) -> None:
    reading = read(write(tmp_path / "a.txt", "1.0\t2.5\trun\n3,0\t4,0\tjump\n"))
    assert rows_of(reading.records)[0] == ONE[0] and "'a'" in reading.notes[0]


def test_quoted_cells_and_blank_lines(tmp_path: Path) -> None:
    text = 'video,start,end,label\n\n"a",1,2.5,"run, then\njump"\n,,,\nb,2,3,sit\n'
    reading = read(write(tmp_path / "x.csv", text))
    assert [record.fields["label"] for record in reading.records] == ["run, then\njump", "sit"]
    assert reading.records[1].where.endswith("x.csv, line 6")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("video,label\na,run\n", "no columns that are known as start and end; it has 'video', 'label'; name them"),
        ("video,start,end\na,1,2\n", "no column that is known as the label.*--label"),
        ("nothing", "no columns that are known as start and end"),
        ("[1, 2]", "JSON of no known layout"),
        ('{"results": {}}', "JSON of no known layout .an object with keys"),
    ],
)
def test_what_is_no_table_of_annotations(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        read(write(tmp_path / "x.csv", text))


def test_errors_about_tables_with_many_columns_have_a_bound(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", ",".join(f"feature {number} {'x' * 50}" for number in range(600)) + "\n")
    for columns in ({}, {"start": "onset"}):
        with pytest.raises(SourceError, match="it has 'feature 0") as caught:
            read(path, columns=columns)
        assert len(str(caught.value)) < 2000


def test_binary_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.xls").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
    with pytest.raises(SourceError, match="labels.xls is no readable spreadsheet"):
        read(tmp_path / "labels.xls")
    (tmp_path / "x.csv").write_bytes(b"PK\x03\x04\0\0\0\0")
    with pytest.raises(SourceError, match="zero bytes"):
        read(tmp_path / "x.csv")


def test_a_wrong_format_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", "video,start,end,label\na,1,2.5,run\n")
    for format_, message in (
        ("elan", "not readable XML"),
        ("via", "CSV_HEADER"),
        ("boris", '"Behavior"'),
        ("epic-kitchens", "video_id"),
        ("charades", "id and actions"),
        ("activitynet", "leave --format out"),
    ):
        with pytest.raises(SourceError, match=message):
            read(path, format_=format_)  # type: ignore[arg-type]


def test_epic_kitchens_labels_are_verbs_or_what_is_named(tmp_path: Path, clips: Path) -> None:
    header = "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,start_frame,"
    header += "stop_frame,narration,verb,verb_class,noun,noun_class,all_nouns,all_noun_classes"
    row = "a_0,P01,a,00:00:01.1,00:00:00.54,00:00:02.23,27,111,take knife and plate,take,0,knife,4,['knife'],[4]"
    path = write(tmp_path / "EPIC_100_validation.csv", f"{header}\n{row}\n")
    assert segments_of(bring_in(path, videos=clips)) == {"a": [(0.54, 2.23, "take")]}
    both = bring_in(path, videos=clips, label=("verb", "noun"))
    assert segments_of(both) == {"a": [(0.54, 2.23, "take knife")]}
    assert both.database["a"]["subset"] == "validation"


def test_a_video_listed_without_times_has_no_annotations(tmp_path: Path, clips: Path) -> None:
    path = write(tmp_path / "x.csv", "video,start,end,label,split\na,1,2,run,train\nb,,,,test\n")
    imported = bring_in(path, videos=clips)
    assert segments_of(imported) == {"a": [(1.0, 2.0, "run")], "b": []}
    assert [entry["subset"] for entry in imported.database.values()] == ["training", "testing"]


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("Datei;Anfang;Ende;Verhalten", "a;1,0;2,5;run"), ("Video;Startzeit (Sekunden);Dauer;Klasse", "a;1,0;1,5;run"),
        ("fichier;début;fin;comportement", "a;1,0;2,5;run"), ("archivo;inicio;fin;acción", "a;1;2.5;run"),
        ("arquivo,início,duração,classe", "a,1,1.5,run"), ("bestand\tbegin\teind\tgedrag", "a\t1\t2.5\trun"),
    ],
)  # fmt: skip
def test_columns_are_known_in_other_languages(tmp_path: Path, header: str, row: str) -> None:
    assert rows_of(read(write(tmp_path / "x.csv", f"{header}\n{row}\n")).records) == ONE


@pytest.mark.parametrize("row", ["a,1,0,2,5,run", "a,1,2.5,run, then jump"])
def test_rows_that_are_split_in_the_wrong_places_are_left_out(tmp_path: Path, clips: Path, row: str) -> None:
    imported = bring_in(write(tmp_path / "x.csv", f"video,start,end,label\n{row}\nb,3,4,sit,,\n"), videos=clips)
    assert segments_of(imported) == {"b": [(3.0, 4.0, "sit")]}
    assert "cells under 4 columns" in imported.report.problems[0].detail
    assert "quotation marks" in imported.report.problems[0].detail


def test_a_quotation_mark_that_is_left_open_swallows_nothing(tmp_path: Path, clips: Path) -> None:
    text = 'video,start,end,label\na,1,2,run\n"b,1,2,run\nc,1,2,run\n'
    with pytest.raises(SourceError, match="quotation mark in line 3 is not closed"):
        read(write(tmp_path / "x.csv", text))
    closed_later = bring_in(write(tmp_path / "y.csv", text + 'd,1,2,"run"\n'), videos=clips)
    assert segments_of(closed_later) == {"a": [(1.0, 2.0, "run")]}
    assert reasons(closed_later) == {"incomplete entry": 1}


@pytest.mark.parametrize(
    "text",
    [
        "sep=;\nvideo;start;end;label\na;1;2,5;run\n", "video,start,end,label\ra,1,2.5,run\r",
        "Labels of May,,,\n,,,\nvideo,start,end,label\na,1,2.5,run\n",
    ],
)  # fmt: skip
def test_lines_and_titles_as_spreadsheets_write_them(tmp_path: Path, text: str) -> None:
    assert rows_of(read(write(tmp_path / "x.csv", text)).records) == ONE


def test_videos_of_rows_that_could_not_be_read_are_not_taken_for_empty(tmp_path: Path, clips: Path) -> None:
    rows = "a,1,2,run\nb,1m30,2m,run\nc,5,3,run\nd,,,\n"
    database = bring_in(write(tmp_path / "x.csv", f"video,start,end,label\n{rows}"), videos=clips).database
    assert {video: entry.get("labelled") for video, entry in database.items()} == {
        "a": None, "b": [], "c": [], "d": None
    }  # fmt: skip


def test_names_that_were_kept_from_being_formulas_come_back(tmp_path: Path, clips: Path) -> None:
    text = "video,start,end,label\n" + f"a,1,2,{spreadsheet_safe('=run()')}\na,3,4,'tis\n"
    imported = bring_in(write(tmp_path / "x.csv", text), videos=clips)
    assert segments_of(imported) == {"a": [(1.0, 2.0, "=run()"), (3.0, 4.0, "'tis")]}
