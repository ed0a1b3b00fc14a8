"""The command with which people correct detections, or label from nothing, in a browser."""

import getpass
import hashlib
import os
import signal
import sys
import webbrowser
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from re2tal.cli.app import app, tell_results
from re2tal.common.untrusted import is_text, shown, visible_lines

if TYPE_CHECKING:
    from re2tal.report.review import Material, ReviewSession


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class ReviewCall:
    """What is asked of `re2tal review`."""

    detections: Path | None = None
    """A detections.json of re2tal predict or test, to correct; without, there are no proposals."""
    annotations: Path | None = None
    """Annotations that are there already; they are kept unless somebody changes them."""
    out: Path = Path("corrected.json")
    """The annotation file to write; edits are kept beside it in a journal, and the same call goes on with them."""
    annotator: str | None = None
    """Who edits; by default the name of the user. The page can change it."""
    classes: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None
    """Names to begin the list of classes with, which the keys 1 to 9 stand for."""
    first: Path | None = None
    """Suggestions of what to look at first, {"suggestions": [{"video", "start", "end", "score"}]}."""
    convert: bool = False
    """Make copies, without sound, of videos that browsers do not play, and show these."""
    allow_links: bool = False
    """Take videos that lie in their folder only by links that lead out of it."""
    port: Annotated[int | None, Parameter(validator=Number(gte=1, lte=65535))] = None
    """Port on this machine; by default that of the last time, or any that is free."""
    no_open: bool = False
    """Print the address and open no browser."""


_DEFAULTS = ReviewCall()


@app.command
def review(videos: Annotated[list[Path], Parameter(negative="")], /, *, call: ReviewCall = _DEFAULTS) -> None:
    """Correct detections in the browser: accept, reject, relabel, move edges, split, add; or label from nothing.

    The page is served on this machine alone. Every edit is on the disk before the page calls it saved. Ctrl-C ends.

    Parameters
    ----------
    videos
        Files, folders (with all below them) or patterns like 'day*/*.mp4'.
    """
    from re2tal.report import review as reviewing

    files, skipped = _files(videos, allow_links=call.allow_links)
    _require_new_out(call)
    material = reviewing.read_material(
        files,
        detections=call.detections,
        annotations=call.annotations,
        classes=call.classes or (),
        first=call.first,
    )
    if not material.classes:
        print("There are no classes yet; --classes names some, and the page can add them")
    journal = reviewing.Journal(_beside(call.out, ".journal.jsonl"), inputs=material.inputs)
    if journal.torn:
        print(f"The last line of {journal.path} was torn by a crash; it was never confirmed and is cut off")
    copies = _copies(material, folder=_beside(call.out, ".playable"), convert=call.convert)
    session = reviewing.ReviewSession(material, journal, annotations=call.annotations, out=call.out, copies=copies)
    for note in [*material.notes, *skipped]:
        print(visible_lines(f"Note: {note}"))
    listening, token = reviewing.open_address(_beside(call.out, ".address"), port=call.port)
    port = listening.getsockname()[1]
    address = f"http://{reviewing.HOST}:{port}/{token}/"
    name = call.annotator or _user_name()
    settings = reviewing.PageSettings(title=_title(videos), annotator=name, is_default_name=call.annotator is None)
    page = reviewing.review_app(session, token=token, port=port, settings=settings)
    print(f"Reviewing {len(material.files)} videos, {session.num_entries} edits so far. Ctrl-C ends. The page:")
    print(address, flush=True)
    if not call.no_open:
        Thread(target=_open_browser, args=(address,), daemon=True).start()
    # Ended by another program, what is to be written is written, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        reviewing.serve(page, listening)
    except KeyboardInterrupt:
        print()
    finally:
        session.close()
        _tell_end(session)


def _files(named: list[Path], *, allow_links: bool) -> tuple[dict[str, Path], list[str]]:
    """Videos by id, and what is said of files that are left out."""
    from re2tal.inference import InputError, find_videos

    found = {video.video_id: video.path for video in find_videos(named)}
    folders = [Path(os.path.abspath(name)) for name in named if name.is_dir()]  # noqa: PTH100  # links stay links

    def leads_out(path: Path) -> bool:
        inside = [folder for folder in folders if path.is_relative_to(folder)]
        return bool(inside) and not any(path.resolve().is_relative_to(folder.resolve()) for folder in inside)

    notes = []
    linked = {name for name, path in found.items() if leads_out(path) and not allow_links}
    if linked:
        notes.append(
            f"{len(linked)} links, such as {found[min(linked)]}, lead out of the folder of the videos and are not "
            "followed; if you have made them, give --allow-links"
        )
    odd = {name for name in found if not is_text(name)}
    if odd:
        notes.append(f"{len(odd)} names of files, such as {shown(min(odd))}, are no text in UTF-8; rename the files")
    kept = {name: path for name, path in found.items() if name not in linked | odd}
    if not kept:
        raise InputError(f"no video can be shown: {'; '.join(notes)}")
    return kept, notes


def _require_new_out(call: ReviewCall) -> None:
    """Nothing is written over that the review has not written itself."""
    from re2tal.report.review import ReviewError

    if call.annotations is not None and call.out.resolve() == call.annotations.resolve():
        raise ReviewError(f"--out {call.out} would replace --annotations; give another file")
    if call.out.is_dir():
        raise ReviewError(f"--out {call.out} is a folder; give the path of a file")
    if call.out.exists() and not _beside(call.out, ".journal.jsonl").exists():
        raise ReviewError(
            f"{call.out} is there already, and no review has written it (it has no journal); give another --out, or "
            "--annotations to go on from it"
        )


def _beside(out: Path, ending: str) -> Path:
    return out.with_name(f"{out.stem}{ending}")


def _copies(material: "Material", *, folder: Path, convert: bool) -> dict[str, Path]:
    """Copies of videos that browsers do not play, those of earlier calls among them."""
    from re2tal.training import counting
    from re2tal.video import VideoError, look_at, write_playable

    copies: dict[str, Path] = {}
    if not convert and not folder.is_dir():
        return copies
    for number, (name, path) in enumerate(material.files.items(), start=1):
        try:
            if look_at(path).plays_everywhere:
                continue
            status = path.stat()
            what = f"{path.resolve()} {status.st_size} {status.st_mtime_ns}"
            copy = folder / f"{hashlib.sha256(os.fsencode(what)).hexdigest()[:16]}.mp4"
            if convert and not copy.is_file():
                print(visible_lines(f"Converting {name} ({number} of {len(material.files)})"))
                with counting("frames") as tell:
                    write_playable(path, copy, tell=tell)
        except (VideoError, OSError, ValueError) as error:
            print(visible_lines(f"Note: {name} is not converted: {error}"))
            continue
        if copy.is_file():
            copies[name] = copy
    return copies


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "annotator"


def _title(videos: list[Path]) -> str:
    return ", ".join(path.resolve().name for path in videos[:2]) + (" ..." if len(videos) > 2 else "")


def _open_browser(address: str) -> None:
    if not webbrowser.open(address):
        print("No browser was found; open the address above in one on this machine", flush=True)


def _tell_end(session: "ReviewSession") -> None:
    if session.num_entries:
        print(f"{session.num_entries} edits")
        tell_results(session.out)
    else:
        print("Nothing was edited; nothing was written")
