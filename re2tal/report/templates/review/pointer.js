// The mouse on the timeline: click, drag an edge, move, draw a new segment, mark what was looked at, scrub.

const EDGE = 6; // pixels to either side of an edge that take hold of it
const CLICK = 4; // pixels that a click may slip

/** What is under a point of the timeline. */
function underPointer(x, y) {
  const time = timeline.time(x);
  if (y < RULER + CURVE) return { kind: "scrub", time };
  if (y < HEAD) return { kind: "look", time };
  const down = y + timeline.box.scrollTop;
  const lane = timeline.lanes.find(({ top, height }) => top <= down && down < top + height);
  if (!lane) return { kind: "scrub", time };
  const row = lane.rows.find(({ top }) => top <= down && down < top + ROW);
  const near = EDGE / timeline.scale;
  const found = row ? [...between(row, time - near, time + near)] : [];
  // The chosen one first, so that its edges can be had where others touch it.
  found.sort((a, b) => (b.id === edits.chosen) - (a.id === edits.chosen) || b.start - a.start);
  for (const segment of found) {
    const wide = (segment.end - segment.start) * timeline.scale;
    const isEdge = (edge) => Math.abs(time - edge) * timeline.scale <= Math.min(EDGE, Math.max(wide / 3, 2));
    if (wide > 4 && isEdge(segment.start)) return { kind: "start", segment, time };
    if (wide > 4 && isEdge(segment.end)) return { kind: "end", segment, time };
    if (segment.start <= time + 2 / timeline.scale && time <= segment.end + 2 / timeline.scale) return { kind: "move", segment, time };
  }
  return { kind: "draw", label: lane.label, time };
}

const CURSORS = { scrub: "col-resize", look: "crosshair", start: "ew-resize", end: "ew-resize", move: "grab", draw: "text" };

function pointOf(event) {
  const box = timeline.box.getBoundingClientRect();
  return [event.clientX - box.left - timeline.box.clientLeft, event.clientY - box.top - timeline.box.clientTop];
}

/** Times of the segment that is dragged, with the pointer at `time`. */
function dragged({ kind, segment, from }, time) {
  const least = edits.frame;
  const end = model.detail.seconds;
  if (kind === "start") return [Math.min(Math.max(time, 0), segment.end - least), segment.end];
  if (kind === "end") return [segment.start, Math.max(Math.min(time, end), segment.start + least)];
  const by = Math.min(Math.max(time - from, -segment.start), end - segment.end);
  return [segment.start + by, segment.end + by];
}

timeline.box.addEventListener("pointerdown", (event) => {
  const [x, y] = pointOf(event);
  if (event.button !== 0 || !model.detail || x > timeline.box.clientWidth || y > timeline.box.clientHeight) return; // scroll bars
  const { kind, segment, label, time } = underPointer(x, y);
  timeline.drag = { kind, segment, label, from: time, x, isMoved: false };
  timeline.box.setPointerCapture(event.pointerId);
  if (segment) edits.choose(segment.id);
  if (kind === "scrub") playing.seek(time);
});

timeline.box.addEventListener("pointermove", (event) => {
  if (!model.detail) return;
  const [x, y] = pointOf(event);
  const { drag } = timeline;
  if (!drag) {
    timeline.box.style.cursor = CURSORS[underPointer(x, y).kind];
    return;
  }
  drag.isMoved ||= Math.abs(x - drag.x) > CLICK;
  const time = timeline.time(x);
  if (drag.kind === "scrub") return playing.seek(time);
  if (!drag.isMoved) return;
  if (drag.segment) [drag.start, drag.end] = dragged(drag, time);
  else [drag.start, drag.end] = [drag.from, time];
  drag.id = drag.segment?.id;
  // The picture at the edge that moves.
  playing.seek(drag.kind === "end" || !drag.segment ? time : drag.start);
  timeline.invalidate();
});

function drop(isDone) {
  const { drag } = timeline;
  timeline.drag = null;
  timeline.invalidate();
  if (!drag || !isDone) return;
  if (!drag.isMoved || drag.start === undefined) {
    if (drag.kind === "draw") edits.choose(null);
    if (drag.kind !== "scrub") playing.seek(drag.segment && drag.kind !== "end" ? drag.segment.start : drag.from);
  } else if (drag.segment) edits.place(drag.segment, drag.start, drag.end);
  else if (drag.kind === "draw") edits.add(drag.start, drag.end, drag.label);
  else edits.look(drag.start, drag.end);
}

timeline.box.addEventListener("pointerup", () => drop(true));
timeline.box.addEventListener("pointercancel", () => drop(false));
