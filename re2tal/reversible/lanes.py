"""Cells of a branch on two streams of an accelerator: one is computed again while another is differentiated.

PaReprop (Zhu and Mangalam, "PaReprop: Fast Parallelized Reversible Backpropagation", 2023) overlaps neighbouring
modules of a chain. A branch in cells has the same freedom within itself: its cells read the same streams and only add
to others. On the CPU, and for whole branches, there is one lane, which is the stream that is there.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

__all__ = ["Lanes"]


class Lanes:
    """Streams that take turns; what they have computed is used on the main one, in order."""

    def __init__(self, device: torch.device, count: int) -> None:
        self.count = count
        self._streams: list[Any] = []
        if count > 1 and device.type != "cpu":
            module = torch.get_device_module(device)
            self._enter = module.stream
            self._main = module.current_stream(device)
            self._streams = [module.Stream(device) for _ in range(count)]
            # All that cells read is ready when the main stream gets here.
            ready = self._main.record_event()
            for stream in self._streams:
                stream.wait_event(ready)

    @contextmanager
    def turn(self, number: int) -> Iterator[int]:
        """Inside, work is queued on the lane whose turn it is, which is yielded."""
        lane = number % self.count
        if not self._streams:
            yield lane
            return
        with self._enter(self._streams[lane]):
            yield lane

    def join(self, lane: int, *results: Tensor | None) -> None:
        """The main stream waits for what the lane has been given so far; `results` may then be used there."""
        if not self._streams:
            return
        self._main.wait_event(self._streams[lane].record_event())
        for result in results:
            if result is not None:
                # Its memory must not be given to the lane's next cell while the main stream still reads it.
                result.record_stream(self._main)
