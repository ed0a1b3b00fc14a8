"""What `re2tal predict --live` follows, and how."""

import json as json_format
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from re2tal.cli.app import tell_results
from re2tal.common.untrusted import visible

if TYPE_CHECKING:
    from rich.console import Console

    from re2tal.inference import TrainedDetector
    from re2tal.inference.live import LiveSettings
    from re2tal.training import Processes

__all__ = ["LiveCall", "LiveCallError", "follow", "log_of"]

Seconds = Annotated[float | None, Parameter(validator=Number(gte=0))]


class LiveCallError(ValueError):
    """Options that do not go together."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class LiveCall:
    """Options of a stream."""

    live: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None
    """Follow a stream instead: a file that is still written, a named pipe, - for the standard input, or an address
    (rtsp, http, https, tcp, udp, srt, rtmp). Then --out is a new file of one JSON object a line, or - for the standard
    output."""
    horizon: Seconds = None
    """Live: how long a detection waits for better ones that overlap it; by default the length of a window."""
    lookback: Seconds = None
    """Live: how far before its own beginning a window may place a segment; by default an eighth of a window."""
    timeout: Seconds = None
    """Live: seconds without new data after which the stream has ended; by default 30."""
    input_options: Annotated[list[str] | None, Parameter(consume_multiple=True)] = None
    """Live: options of FFmpeg for an address, as rtsp_transport=udp."""

    def settings(self, *, min_score: float | None) -> "LiveSettings":
        """For a stream."""
        from re2tal.inference.live import LiveSettings

        pairs = [option.partition("=") for option in self.input_options or ()]
        for name, equals, _ in pairs:
            if not (name and equals):
                raise LiveCallError(f"--input-options are written as name=value, got {name!r}")
        return LiveSettings(
            min_score=min_score,
            lookback_seconds=self.lookback,
            horizon_seconds=self.horizon,
            timeout=30.0 if self.timeout is None else self.timeout,
            options={name: value for name, _, value in pairs},
        )

    def require_consistent(self, videos: list[Path] | None, *, formats: list[str] | None) -> None:
        """Either videos or a stream."""
        if self.live is not None and formats:
            raise LiveCallError(
                f"--format {formats[0]} is written of whole videos, and --live follows a stream; leave it out"
            )
        if self.live is None and not videos:
            raise LiveCallError("no videos are named; name files or folders, or a stream by --live")
        if self.live is not None and videos:
            raise LiveCallError(
                f"--live follows one stream, {self.live!r}, and no videos beside it; leave {videos[0]} out"
            )
        if self.live is None:
            for name in ("horizon", "lookback", "timeout", "input_options"):
                if getattr(self, name) is not None:
                    raise LiveCallError(
                        f"--{name.replace('_', '-')} is of a stream; name one by --live, or leave it out"
                    )


def log_of(out: Path, call: LiveCall) -> Path:
    """Where the log goes."""
    if call.live is None:
        return out / "log.txt"
    return Path(os.devnull) if out == Path("-") else out.with_name(f"{out.name}.log")


def follow(
    trained: "TrainedDetector",
    call: LiveCall,
    *,
    out: Path,
    min_score: float | None,
    processes: "Processes",
    console: "Console | None",
    json: bool,
) -> None:
    """Predict on the stream and say what was found."""
    from re2tal.inference.live import LiveFile, live_source, predict_live, stopping_by_signals

    assert call.live is not None
    if processes.world_size > 1:
        raise LiveCallError(f"a stream is followed by one process, got {processes.world_size}; leave torchrun out")
    source, is_stdout = live_source(call.live), out == Path("-")
    try:
        with LiveFile(None if is_stdout else out) as file, stopping_by_signals() as stop:
            summary = predict_live(
                trained,
                source,
                settings=call.settings(min_score=min_score),
                out=file,
                device=processes.device,
                stop=stop,
                console=console,
            )
    except KeyboardInterrupt:
        sys.exit("interrupted twice; the lines that were written are whole, and there is no summary")
    except BrokenPipeError:
        sys.exit("the program that reads the standard output has gone")
    if is_stdout:
        return
    if json:
        print(json_format.dumps({**summary, "out": str(out)}))
        return
    print(
        f"{summary['stream_seconds']:.1f} s of {visible(source.name)} ({visible(summary['ended'])}): "
        f"{summary['num_detections']} detections, {summary['num_gaps']} gaps"
    )
    tell_results(out)
