// What a person does to segments, as edits; and taking edits back.

const COVERING_OVERLAP = 0.5; // tIoU with a kept segment of the same class from which a proposal is settled

const edits = {
  chosen: null, // id of a segment
  label: data.classes[0] ?? null, // class of new segments
  opened: null, // {start, label}: a new segment whose end is to come
  looking: null, // {start}: a stretch that is being looked at
  done: [], // items of the model that can be taken back, the latest last
  undone: [],
  advances: true, // to the next proposal after a decision

  get segment() {
    return this.chosen === null ? null : model.byId(this.chosen);
  },

  /** Times on the frame that is shown: it begins at n / fps. */
  get now() {
    const { fps } = model.detail;
    return roundTime(Math.floor(playing.time * fps + 0.01) / fps);
  },

  get frame() {
    return 1 / model.detail.fps;
  },

  put(segment, change, words) {
    const value = { ...valueOf(segment), ...change };
    if (value.label !== segment.label) delete value.score; // it was that of the other class
    return this.commit({ changes: [{ id: segment.id, value }], words });
  },

  commit(edit) {
    const item = model.commit(edit);
    this.done.push(item);
    this.undone = [];
    warn("");
    if (this.done.length > 1000) this.done.shift();
    tell(edit.words);
    return item;
  },

  accept(segment) {
    const isMine = segment.status === "kept" && segment.annotator === session.annotator;
    if (isMine) tell("It is kept already.");
    else this.put(segment, { status: "kept" }, `Accepted ${nameOf(segment)}.`);
    this.advance(segment);
  },

  reject(segment) {
    if (segment.status === "rejected") return tell("It is rejected already.");
    this.put(segment, { status: "rejected" }, `Rejected ${nameOf(segment)}.`);
    this.advance(segment);
  },

  relabel(segment, label) {
    if (label === segment.label && segment.status === "kept") return tell(`It is ${isolated(label)} already.`);
    this.put(segment, { label, status: "kept" }, `${nameOf(segment)} is ${isolated(label)} now.`);
  },

  /** Both ends may be the same: an event without length. */
  place(segment, start, end) {
    const [from, to] = [start, end].map((time) => roundTime(Math.min(Math.max(time, 0), model.detail.seconds)));
    if (from > to) return tell("A segment cannot end before it starts.");
    if (from === segment.start && to === segment.end) return;
    this.put(segment, { start: from, end: to, status: "kept" }, `${nameOf(segment)} is at ${span(from, to)} now.`);
  },

  split(segment, time) {
    if (time <= segment.start || time >= segment.end) return tell("The playhead must be inside the segment to split it.");
    const value = { ...valueOf(segment), status: "kept" };
    const later = newId();
    this.commit({
      changes: [
        { id: segment.id, value: { ...value, end: time } },
        { id: later, value: { ...value, start: time } },
      ],
      words: `Split ${nameOf(segment)} at ${clock(time)}.`,
    });
    this.choose(later);
  },

  add(start, end, label) {
    const [from, to] = [Math.min(start, end), Math.max(start, end)].map(roundTime);
    const id = newId();
    const value = { start: from, end: Math.min(to, roundTime(model.detail.seconds)), label, status: "kept" };
    this.commit({ changes: [{ id, value }], words: `Added ${isolated(label)} at ${span(from, to)}.` });
    this.choose(id);
  },

  /** Mark a stretch as looked at; one that is marked all over loses its mark. */
  look(start, end) {
    const [from, to] = [Math.min(start, end), Math.max(start, end)].map(roundTime);
    if (from >= to) return tell("A stretch needs a length.");
    const isMarked = model.looked.some(([a, b]) => a <= from && to <= b);
    this.commit({
      looks: [{ start: from, end: to, looked: !isMarked }],
      words: `${span(from, to)} is ${isMarked ? "no longer marked" : "marked"} as looked at.`,
    });
  },

  /** N begins a segment and ends it. */
  open() {
    if (this.opened) {
      const { start, label } = this.opened;
      this.opened = null;
      this.add(start, this.now, label);
    } else if (this.label === null) {
      addClass();
    } else {
      this.opened = { start: this.now, label: this.label };
      tell(`A segment of ${isolated(this.label)} begins at ${clock(this.now)}; N ends it, Escape forgets it.`);
      timeline.invalidate();
    }
  },

  /** M begins a stretch and ends it. */
  mark() {
    if (this.looking) {
      const { start } = this.looking;
      this.looking = null;
      this.look(start, this.now);
    } else {
      this.looking = { start: this.now };
      tell(`What you look at begins at ${clock(this.now)}; M ends it, Escape forgets it.`);
      timeline.invalidate();
    }
  },

  forget() {
    if (this.opened || this.looking) tell("Forgotten.");
    else this.choose(null);
    this.opened = this.looking = null;
    timeline.invalidate();
  },

  choose(id, { seek = false } = {}) {
    this.chosen = id;
    const segment = this.segment;
    if (segment) {
      if (seek) playing.seek(segment.start);
      timeline.reveal(segment.start, segment.end);
    }
    describeChosen();
    timeline.invalidate();
    segmentList.follow();
  },

  /** Segments that are to be seen, in the order of time. */
  get visible() {
    return model.segments.filter(isVisible);
  },

  step(direction) {
    const visible = this.visible;
    if (!visible.length) return tell("There is no segment to go to.");
    const place = visible.findIndex((segment) => segment.id === this.chosen);
    let next = place + direction;
    if (place < 0) {
      const after = visible.findIndex((segment) => segment.start >= playing.time - 1e-3);
      next = direction > 0 ? (after < 0 ? visible.length - 1 : after) : (after < 0 ? visible.length : after) - 1;
    }
    this.choose(visible[Math.min(Math.max(next, 0), visible.length - 1)].id, { seek: true });
  },

  /** After a decision: the next proposal in time. */
  advance(segment) {
    const next = this.advances && model.segments.find((other) => isOpen(other) && other.id !== segment.id && isAfter(other, segment));
    if (next) this.choose(next.id, { seek: true });
    else if (!model.segments.some(isOpen)) {
      tell("Every proposal of this video is decided on. Shift+M marks the whole video as looked at.");
    }
  },

  /** The proposal that is nearest to the least score, here or in the next video that has any. */
  async uncertain() {
    const least = view.score;
    const waiting = model.segments.filter((segment) => isOpen(segment) && segment.id !== this.chosen);
    if (waiting.length) {
      const distance = (segment) => Math.abs((segment.score ?? 0) - least);
      const next = waiting.reduce((best, segment) => (distance(segment) < distance(best) ? segment : best));
      return this.choose(next.id, { seek: true });
    }
    const place = videoList.nextOpen();
    if (place === null) return tell("No video has a proposal left that waits for a decision.");
    await openVideo(place);
    const first = model.segments.find(isOpen);
    if (first) this.choose(first.id, { seek: true });
  },

  undo() {
    return this.turn(this.done, this.undone, "Taken back");
  },

  redo() {
    return this.turn(this.undone, this.done, "Done again");
  },

  /** Take back the last edit of a stack of this page; the other stack gets the edit that does it. */
  async turn(from, to, said) {
    const item = from.pop();
    if (!item) return tell("There is nothing to take back or to do again.");
    const { video, changes } = item.undo;
    if (video !== model.video.id) await openVideo(data.videos.findIndex(({ id }) => id === video));
    to.push(model.push(item.undo, item.words));
    const id = changes[0]?.id ?? null;
    this.choose(id !== null && model.byId(id) ? id : null, { seek: true });
    tell(`${said}: ${item.words}`);
  },

  /** An edit that was refused has not happened. */
  forgetItem(item) {
    for (const stack of [this.done, this.undone]) {
      const place = stack.indexOf(item);
      if (place >= 0) stack.splice(place, 1);
    }
  },
};

/** What an edit says of a segment; who and when is for the server. */
const valueOf = ({ start, end, label, status, score, source }) => ({ start, end, label, status, score, source });
const newId = () => `n${crypto.randomUUID()}`;
const roundTime = (seconds) => Math.round(seconds * 1000) / 1000;
const span = (start, end) => (start === end ? clock(start) : `${clock(start)} to ${clock(end)}`);
const nameOf = (segment) => `${isolated(segment.label)} at ${span(segment.start, segment.end)}`;
const isAfter = (other, segment) => other.start > segment.start || (other.start === segment.start && other.end >= segment.end);

/** A proposal that waits for a decision. */
const isOpen = (segment) => segment.status === "proposed" && (segment.score ?? 1) >= view.score && !segment.isSettled;

const isVisible = (segment) =>
  segment.status === "kept" || isOpen(segment) || (segment.status === "rejected" && view.showRejected);

/** Proposals that say what a kept segment says already. */
function settle(segments) {
  const kept = new Map(); // by class, in the order of their starts
  let longest = 0;
  for (const segment of segments) {
    segment.isSettled = false;
    if (segment.status !== "kept") continue;
    if (!kept.has(segment.label)) kept.set(segment.label, []);
    kept.get(segment.label).push(segment);
    longest = Math.max(longest, segment.end - segment.start);
  }
  for (const segment of segments) {
    if (segment.status !== "proposed") continue;
    const others = kept.get(segment.label) ?? [];
    for (let place = firstFrom(others, segment.start - longest); place < others.length; place++) {
      const other = others[place];
      if (other.start >= segment.end) break;
      const both = Math.min(segment.end, other.end) - Math.max(segment.start, other.start);
      const either = Math.max(segment.end, other.end) - Math.min(segment.start, other.start);
      if (both >= COVERING_OVERLAP * either) segment.isSettled = true;
    }
  }
}

/** Place of the first segment that starts at `time` or later. */
function firstFrom(segments, time) {
  let low = 0;
  let high = segments.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (segments[middle].start < time) low = middle + 1;
    else high = middle;
  }
  return low;
}
