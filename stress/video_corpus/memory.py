"""Resident memory while thousands of clips are decoded, in one process and in one worker of a data loader."""

from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from video_corpus.reading import resident_bytes
from video_corpus.sound import TO_DAMAGE, encode

__all__ = ["Growth", "measure_growth"]

WARM = 10
"""The first tenth of the clips fills caches; growth is counted from then on."""
NUM_FRAMES = 16


@dataclass(frozen=True, kw_only=True)
class Growth:
    """How much memory grew."""

    clips: int
    mib: dict[str, float]
    """By where clips were decoded: most resident memory after the first tenth, over that at its end."""

    def as_dict(self) -> dict[str, Any]:
        return {"clips": self.clips, "growth_mib": {where: round(mib, 1) for where, mib in self.mib.items()}}

    def __str__(self) -> str:
        told = ", ".join(f"{mib:+.1f} MiB in {where}" for where, mib in self.mib.items())
        return f"memory over {self.clips} clips, from after the first {self.clips // WARM} on: {told}"


class _Clips:
    """A data set whose item is the memory of the process after one more clip; every seventh file is damaged."""

    def __init__(self, paths: list[Path], *, count: int) -> None:
        self.paths, self.count = paths, count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> int:
        from re2tal.video import VideoError, open_video

        rng = Random(number)
        try:
            with open_video(rng.choice(self.paths), threads=1) as reader:
                start = rng.randrange(max(reader.num_frames - NUM_FRAMES, 1))
                reader.frames(range(start, min(start + NUM_FRAMES, reader.num_frames)), size=rng.choice((32, 48, 56)))
        except VideoError:
            pass
        return resident_bytes()


def measure_growth(folder: Path, *, clips: int) -> Growth:
    """Decode `clips` clips in this process, then as many in a worker."""
    import torch
    from torch.utils.data import DataLoader

    torch.set_num_threads(1)
    (folder / "memory").mkdir()
    paths = []
    for recipe in TO_DAMAGE:
        path = encode(folder / "memory", recipe)
        content = path.read_bytes()
        broken = path.with_name(f"broken_{path.name}")
        broken.write_bytes(content[: len(content) // 2] + bytes(200) + content[len(content) // 2 + 200 :])
        paths += [path] * 6 + [broken]
    data: Any = _Clips(paths, count=clips)
    here = [data[number] for number in range(clips)]
    loader = DataLoader(data, batch_size=None, num_workers=1, multiprocessing_context="spawn")
    there = [int(item) for item in loader]
    first = clips // WARM
    return Growth(
        clips=clips,
        mib={
            where: (max(sizes[first:]) - sizes[first]) / 2**20
            for where, sizes in (("one process", here), ("a worker of a data loader", there))
        },
    )
