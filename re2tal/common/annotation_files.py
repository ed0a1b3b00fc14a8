"""Annotation files as they are published, brought to one layout; what their entries say is not checked here.

That layout is ActivityNet's, {id: {"subset", "duration", "frame", "annotations": [{"segment", "label"}]}}. Three are
read:

* ActivityNet's own, {"database": {id: entry}};
* that of feature packages, {v_id: {"duration_second", "annotations"}}, with the subsets in the entries or a CSV file;
* THUMOS-14's text files, <class>_val.txt and <class>_test.txt, in a folder or zip archives.
"""

import csv
import json
import math
import re
import zipfile
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from re2tal.common.untrusted import JsonError, parse_json, shown

__all__ = [
    "AnnotationFile",
    "AnnotationFileError",
    "Repeats",
    "annotation_lines",
    "check_scores",
    "plain_ids",
    "read_annotation_file",
    "read_json",
]

_THUMOS_TEXT = re.compile(r"(?P<label>\w+)_(?P<part>val|test)\.txt")
_THUMOS_SUBSETS = {"val": "Validation", "test": "Test"}
_CONVERT = "labels of others are brought to ActivityNet's layout by re2tal import FILE --videos FOLDER"
_LARGEST_TEXT = 64 * 2**20
"""Bytes of a text in an archive; a small archive may unpack to more than any memory."""
# YouTube's ids, as ActivityNet's files are named. Other names may begin with v_ too.
_PREFIXED_ID = re.compile(r"v_[\w-]{11}")


SAME_SECONDS = 1e-3
"""Annotations of one label this close at both ends are the same action, written twice."""


class AnnotationFileError(ValueError):
    """An annotation file that is absent, unreadable or of no known layout."""


@dataclass(frozen=True, kw_only=True)
class AnnotationFile:
    """The entries of an annotation file, unchecked."""

    path: Path
    database: dict[str, Any]
    """By video id, without ActivityNet's prefix v_."""
    tells_durations: bool
    """False where the layout has no place for the lengths of the videos."""


def read_annotation_file(
    path: Path,
    *,
    subset_file: Path | None = None,
    needs_subsets: bool = True,
    what: str = "annotation file",
    fix: str,
) -> AnnotationFile:
    """Read any of the layouts above.

    Args:
        path: a JSON file; or a folder or zip archive with THUMOS-14's text files.
        subset_file: CSV with columns "video" and "subset", which replaces what `path` says of the subsets. Videos that
            it lacks are in no subset ("").
        needs_subsets: whether the file has to tell the subsets, or `subset_file`.
        what: what errors call the file.
        fix: what errors tell to do where there is none.
    """
    if path.is_dir() or path.suffix == ".zip":
        database, tells_durations = _read_thumos_text(path, what=what, fix=fix), False
    else:
        database = _database_of(
            read_json(path, what=what, fix=fix, convert=_CONVERT),
            path=path,
            has_subsets=subset_file is not None,
            needed=("annotations", "subset") if needs_subsets else ("annotations",),
        )
        tells_durations = True
    database = plain_ids(database)
    if subset_file is not None:
        subset_of = _read_subset_file(subset_file)
        database = {
            name: {**entry, "subset": subset_of.get(name, "")} if isinstance(entry, dict) else entry
            for name, entry in database.items()
        }
    return AnnotationFile(path=path, database=database, tells_durations=tells_durations)


class Repeats:
    """Finds the actions of one video that are there already; the time for each does not grow with their number."""

    def __init__(self) -> None:
        self._kept: dict[tuple[Hashable, float, float], list[tuple[float, float]]] = {}

    def add(self, label: Hashable, start: float, end: float) -> bool:
        """Whether an action is new: no earlier one of its label is as close as `SAME_SECONDS` at both ends."""
        # What is that close lies in the same cell of a grid of that width, or in one beside it.
        row, column = start // SAME_SECONDS, end // SAME_SECONDS
        for beside_row in (row, row - 1, row + 1):
            for beside_column in (column, column - 1, column + 1):
                for other_start, other_end in self._kept.get((label, beside_row, beside_column), ()):
                    if max(abs(start - other_start), abs(end - other_end)) <= SAME_SECONDS:
                        return False
        self._kept.setdefault((label, row, column), []).append((start, end))
        return True


def check_scores(results: Mapping[str, Any], *, path: Path) -> None:
    """Refuse detections of which a score is no finite number: a broken network has made them, wherever they lie.

    Args:
        results: rows by video, as detections have them; entries without a score are not looked at.
        path: of their file.

    Raises:
        AnnotationFileError: which video has such a score.
    """
    for name, rows in results.items():
        for row in rows if isinstance(rows, list) else ():
            if isinstance(row, dict) and "score" in row and not _is_score(row["score"]):
                raise AnnotationFileError(
                    f"{path}, video {shown(name)}: score must be a finite number, got {shown(row['score'])}"
                )


def _is_score(value: Any) -> bool:
    try:
        return math.isfinite(float(value))
    except (TypeError, ValueError, OverflowError):
        return False


def plain_ids(entries: dict[str, Any]) -> dict[str, Any]:
    """`entries` by ActivityNet's ids: without the prefix v_, if every name is v_ and an id of YouTube."""
    if not entries or not all(map(_PREFIXED_ID.fullmatch, entries)):
        return entries
    return {name.removeprefix("v_"): entry for name, entry in entries.items()}


def read_json(path: Path, *, what: str, fix: str, convert: str = "") -> Any:
    """The content of a JSON file, or an error that says what to do: `fix` without a file, `convert` with another."""
    try:
        return parse_json(path.read_bytes())
    except FileNotFoundError:
        raise AnnotationFileError(f"no {what} at {_place(path)}; {fix}") from None
    except (OSError, JsonError) as error:
        told = f"{path} ({what}) is not a readable JSON file: {error}"
        raise AnnotationFileError(
            f"{told}; {convert}" if convert and not isinstance(error, OSError) else told
        ) from None


def _place(path: Path) -> str:
    """A path with where it is looked for."""
    return str(path) if path.is_absolute() else f"{path} (looked for in {Path.cwd()})"


def annotation_lines(about: Mapping[str, Any], database: Mapping[str, Any]) -> Iterator[str]:
    """The text of an annotation file in ActivityNet's layout, with a line for each annotation.

    As `json.dumps` indents, every number would have its own line, at ten times the time.

    Args:
        about: what the file says beside its database.
        database: the entries by video id.
    """

    def text(value: Any) -> str:
        return json.dumps(value, ensure_ascii=False)

    yield f"{text({**about, 'database': None}).removesuffix('null}')}{{"
    for place, (video_id, entry) in enumerate(database.items()):
        told = {name: value for name, value in entry.items() if name != "annotations"}
        rows = entry["annotations"]
        yield f"{',' if place else ''}\n {text(video_id)}: {text({**told, 'annotations': None}).removesuffix('null}')}["
        yield ",".join(f"\n  {text(row)}" for row in rows) + ("\n ]}" if rows else "]}")
    yield "\n}}\n"


def _database_of(content: Any, *, path: Path, has_subsets: bool, needed: tuple[str, ...]) -> dict[str, Any]:
    if isinstance(content, dict) and isinstance(content.get("database"), dict):
        return content["database"]
    if isinstance(content, dict) and has_subsets:
        return {name.removeprefix("v_"): _with_duration(entry) for name, entry in content.items()}
    if (
        isinstance(content, dict)
        and content
        and all(isinstance(entry, dict) and entry.keys() >= {*needed} for entry in content.values())
    ):
        return {name: _with_duration(entry) for name, entry in content.items()}
    found = f"an object with keys {shown(list(content))}" if isinstance(content, dict) else shown(content)
    if isinstance(content, dict) and "database" in content:
        found = f"a database that is {shown(content['database'])}"
    raise AnnotationFileError(
        f'{path} must hold {{"database": {{id: {{"subset", "annotations"}}}}}}, got {found}; '
        "without a database, give the subsets in a CSV file (columns video, subset); " + _CONVERT
    )


def _with_duration(entry: Any) -> Any:
    """Feature packages name it "duration_second".

    Their "duration_frame" is left out: it counts the frames of the videos as downloaded, not of those converted to
    another rate that the video files usually are.
    """
    if not isinstance(entry, dict) or "duration" in entry or "duration_second" not in entry:
        return entry
    return {**entry, "duration": entry["duration_second"]}


def _read_subset_file(path: Path) -> dict[str, str]:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
        pairs = [(row["video"].removeprefix("v_"), row["subset"]) for row in rows if row["video"]]
    except FileNotFoundError:
        raise AnnotationFileError(f"no subset file at {path}; give a CSV file with columns video and subset") from None
    except (OSError, UnicodeDecodeError, csv.Error, KeyError) as error:
        raise AnnotationFileError(f"{path} must be a CSV file with columns video and subset: {error!r}") from None
    subset_of = dict(pairs)
    for video, subset in pairs:
        if not subset or subset_of[video] != subset:
            raise AnnotationFileError(
                f"{path}: every video must be in one subset, got {shown(subset)} for {shown(video)}"
                + (f", which is in {shown(subset_of[video])}, too; leave one of the rows out" if subset else "")
            )
    return subset_of


def _read_thumos_text(path: Path, *, what: str, fix: str) -> dict[str, Any]:
    if not path.exists():
        raise AnnotationFileError(f"no {what} at {_place(path)}; {fix}")
    database: dict[str, Any] = {}
    seen: set[str] = set()
    for name, text in _thumos_texts(path):
        if name in seen:  # unpacked beside its archive
            continue
        seen.add(name)
        found = _THUMOS_TEXT.fullmatch(name)
        assert found is not None
        for video_id, start, end in _thumos_rows(text, where=f"{path}, {name}"):
            entry = database.setdefault(video_id, {"subset": _THUMOS_SUBSETS[found["part"]], "annotations": []})
            entry["annotations"].append({"segment": [start, end], "label": found["label"]})
    if not database:
        raise AnnotationFileError(
            f"{path} holds no annotations; expected THUMOS-14's text files <class>_val.txt and <class>_test.txt, "
            "unpacked or in zip archives"
        )
    return dict(sorted(database.items()))


def _thumos_texts(path: Path) -> Iterator[tuple[str, str]]:
    """Names and contents of the text files: those in the folder first, then those in its archives; sorted."""
    try:
        if path.is_dir():
            for file in sorted(path.rglob("*.txt")):
                if _THUMOS_TEXT.fullmatch(file.name):
                    yield file.name, file.read_text(encoding="utf-8")
        for archive in sorted(path.rglob("*.zip")) if path.is_dir() else [path]:
            yield from _texts_in(archive)
    except (OSError, UnicodeDecodeError) as error:
        raise AnnotationFileError(f"annotations in {path} cannot be read ({error}); download them again") from None


def _texts_in(archive: Path) -> list[tuple[str, str]]:
    found = []
    try:
        with zipfile.ZipFile(archive) as files:
            for member in sorted(files.infolist(), key=lambda member: member.filename):
                name = Path(member.filename).name
                if not _THUMOS_TEXT.fullmatch(name):
                    continue
                if member.file_size > _LARGEST_TEXT:
                    raise AnnotationFileError(
                        f"{archive}: {name} unpacks to {member.file_size} bytes, and annotations of a class have "
                        f"{_LARGEST_TEXT} at most; download it again"
                    )
                found.append((name, files.read(member).decode("utf-8")))
    except AnnotationFileError:
        raise
    except Exception as error:  # a damaged or encrypted archive makes its reader fail in any way
        raise AnnotationFileError(f"annotations in {archive} cannot be read ({error}); download them again") from None
    return found


def _thumos_rows(text: str, *, where: str) -> Iterable[tuple[str, float, float]]:
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        try:
            video_id, start, end = words[0], float(words[1]), float(words[2])
            if not (math.isfinite(start) and math.isfinite(end)):
                raise ValueError
        except (IndexError, ValueError):
            raise AnnotationFileError(
                f"{where}, line {number}: expected a video and two times in seconds, such as "
                f"'video_test_0000004 0.2 1.1', got {shown(line)}"
            ) from None
        yield video_id, start, end
