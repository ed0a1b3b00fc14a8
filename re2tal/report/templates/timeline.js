// The timeline of the chosen video: a lane for each class, ground truth above detections.

const timeline = {
  box: byId("timeline"),
  canvas: null,
  playhead: null,
  video: null,
  seconds: 1,
  zoom: 1,
  items: [], // every segment shown: {key, kind, index, label, start, end, group, element}
  current: null, // key of the segment that Tab goes to

  show(video) {
    this.video = video;
    this.seconds = video.seconds;
    this.current = null;
    this.setZoom(1);
  },

  render() {
    if (!this.video) return;
    const verdict = judge(this.video);
    const held = this.box.contains(document.activeElement) ? this.current : null;
    const width = this.canvas.clientWidth;
    this.items = [];
    const parts = [this.ruler(width)];
    for (const lane of lanesOf(this.video, verdict)) parts.push(this.lane(lane, verdict, width));
    this.playhead = make("div", { className: "playhead", hidden: !player.video });
    this.canvas.replaceChildren(...parts, this.playhead);
    this.placePlayhead(player.video?.currentTime ?? 0);
    this.choose(this.items.find((item) => item.key === this.current) ?? this.items[0] ?? null, { focus: held !== null });
  },

  ruler(width) {
    const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200];
    const wanted = (this.seconds * 84) / Math.max(width, 1);
    const step = steps.find((candidate) => candidate >= wanted) ?? 14400;
    const ruler = make("div", { className: "ruler", "aria-hidden": "true" });
    // Ticks far outside the visible part of a long, magnified video are not made.
    const [from, to] = this.visibleSeconds(width);
    for (let number = Math.floor(from / step); number * step <= Math.min(this.seconds, to); number++) {
      const tick = make("span", {}, clock(number * step + 1e-6, { whole: step >= 1 }));
      tick.style.left = `${(100 * number * step) / this.seconds}%`;
      ruler.append(tick);
    }
    return ruler;
  },

  visibleSeconds(width) {
    const perPixel = this.seconds / Math.max(width, 1);
    const margin = this.box.clientWidth;
    const left = this.box.scrollLeft;
    return [Math.max(0, (left - margin) * perPixel), (left + 2 * margin) * perPixel];
  },

  lane(lane, verdict, width) {
    const name = make("bdi", {}, data.classes[lane.label]);
    const counts = [];
    if (lane.actions.length) counts.push(plural(lane.actions.length, "action"));
    if (lane.shown.length) counts.push(plural(lane.shown.length, "detection"));
    const heading = make("div", { className: "lane-name" }, make("span", { className: `swatch ${colourOf(lane.label)}` }));
    heading.append(name, make("small", {}, counts.join(", ")));
    const element = make("div", { className: `lane ${colourOf(lane.label)}` }, heading);
    if (lane.actions.length) element.append(this.track("truth", lane, [lane.actions], verdict, width));
    if (lane.shown.length) element.append(this.track("found", lane, lane.rows, verdict, width));
    return element;
  },

  track(kind, lane, rows, verdict, width) {
    const track = make("div", { className: `track ${kind}` });
    const columns = this.video[kind];
    rows.forEach((indices, row) => {
      for (const index of indices) {
        const item = {
          key: `${kind}-${index}`,
          kind,
          index,
          label: lane.label,
          start: columns.start[index],
          end: columns.end[index],
          group: `${kind}-${lane.label}`,
        };
        item.element = this.segment(item, verdict, width);
        item.element.style.setProperty("--row", row);
        this.items.push(item);
        track.append(item.element);
      }
    });
    track.style.setProperty("--rows", rows.length);
    return track;
  },

  segment(item, verdict, width) {
    const share = (item.end - item.start) / this.seconds;
    const element = make("button", { type: "button", tabIndex: -1, className: `segment ${stateOf(item, verdict)}` });
    element.style.left = `${(100 * item.start) / this.seconds}%`;
    element.style.width = `${100 * share}%`;
    element.dataset.key = item.key;
    element.setAttribute("aria-label", describe(this.video, item, verdict));
    if (item.kind === "found") {
      const score = this.video.found.score[item.index];
      element.style.setProperty("--score", Math.min(Math.max(score, 0), 1));
      if (share * width > 34) element.textContent = score.toFixed(2);
    }
    return element;
  },

  placePlayhead(seconds) {
    if (this.playhead) this.playhead.style.left = `${(100 * Math.min(seconds, this.seconds)) / this.seconds}%`;
  },

  /** Make a segment the one that Tab goes to, and tell about it. */
  choose(item, { focus }) {
    for (const other of this.items) other.element.tabIndex = other === item ? 0 : -1;
    this.current = item?.key ?? null;
    if (item && focus) item.element.focus({ preventScroll: false });
  },

  itemAt(element) {
    const segment = element.closest?.(".segment");
    return segment ? this.items.find((item) => item.key === segment.dataset.key) : undefined;
  },

  play(item) {
    this.choose(item, { focus: true });
    tell(item);
    player.play(item.start, item.end);
  },

  step(item, key) {
    const middle = (item.start + item.end) / 2;
    const groups = [...new Set(this.items.map((other) => other.group))];
    const place = groups.indexOf(item.group);
    const members = (group) =>
      this.items.filter((other) => other.group === group).sort((a, b) => a.start - b.start || a.end - b.end);
    const own = members(item.group);
    const nearest = (group) =>
      members(group).reduce((best, other) =>
        Math.abs((other.start + other.end) / 2 - middle) < Math.abs((best.start + best.end) / 2 - middle) ? other : best,
      );
    switch (key) {
      case "ArrowRight":
        return own[own.indexOf(item) + 1];
      case "ArrowLeft":
        return own[own.indexOf(item) - 1];
      case "Home":
        return own[0];
      case "End":
        return own.at(-1);
      case "ArrowDown":
        return place + 1 < groups.length ? nearest(groups[place + 1]) : undefined;
      case "ArrowUp":
        return place > 0 ? nearest(groups[place - 1]) : undefined;
    }
  },

  setZoom(zoom) {
    const before = this.zoom;
    this.zoom = Math.min(Math.max(zoom, 1), 256);
    const middle = this.box.scrollLeft + this.box.clientWidth / 2;
    this.canvas.style.width = `${100 * this.zoom}%`;
    this.box.scrollLeft = (middle * this.zoom) / before - this.box.clientWidth / 2;
    byId("zoom-value").textContent = `${this.zoom}\u00d7`;
    byId("zoom-out").disabled = this.zoom === 1;
    byId("zoom-in").disabled = this.zoom === 256;
    this.render();
  },
};

/** The classes to draw: annotated ones first, then by their best detection, so that the slider adds lanes below. */
function lanesOf(video, verdict) {
  const lanes = new Map();
  const laneOf = (label) => {
    if (!lanes.has(label)) lanes.set(label, { label, actions: [], shown: [], rows: [], ends: [] });
    return lanes.get(label);
  };
  for (const index of verdict.actions) laneOf(video.truth.label[index]).actions.push(index);
  for (const index of verdict.shown) {
    const lane = laneOf(video.found.label[index]);
    lane.shown.push(index);
    place(lane, index, video.found);
  }
  return lanes.values();
}

/** Put a detection into the first row where it overlaps none. Best first, so a lower score never moves a higher one. */
function place(lane, index, { start, end }) {
  const overlaps = (other) => start[index] < end[other] && start[other] < end[index];
  const row = lane.rows.find((indices) => !indices.some(overlaps));
  if (row) row.push(index);
  else lane.rows.push([index]);
}

function stateOf(item, verdict) {
  if (item.kind === "truth") return verdict.finderOf.has(item.index) || !data.tious.length ? "truth" : "truth missed";
  if (!timeline.video.right) return "right";
  if (verdict.unjudged.has(item.index)) return "unjudged";
  return verdict.actionOf.has(item.index) ? "right" : "wrong";
}

function overlapOf(a, b) {
  const both = Math.max(0, Math.min(a.end, b.end) - Math.max(a.start, b.start));
  const either = a.end - a.start + (b.end - b.start) - both;
  return either > 0 ? both / either : 0;
}

/** A segment in words. */
function describe(video, item, verdict) {
  const times = `${clock(item.start)} to ${clock(item.end)}`;
  const name = isolated(data.classes[item.label]);
  const least = data.tious.length ? ` at tIoU ${data.tious[chosen.tiou]}` : "";
  if (item.kind === "truth") {
    const state = !video.right ? "" : verdict.finderOf.has(item.index) ? `, found${least}` : `, missed${least}`;
    return `Ground truth ${name}, ${times}${state}`;
  }
  const score = video.found.score[item.index].toFixed(2);
  const words = `Detection ${name}, ${times}, score ${score}`;
  if (!video.right) return words;
  if (verdict.unjudged.has(item.index)) return `${words}, not judged: nobody has looked there`;
  const overlaps = video.truth.label
    .map((label, index) => (label === item.label ? { start: video.truth.start[index], end: video.truth.end[index] } : null))
    .filter(Boolean)
    .map((action) => overlapOf(item, action));
  const best = Math.max(0, ...overlaps);
  return `${words}, ${verdict.actionOf.has(item.index) ? "right" : "wrong"}${least}, largest overlap ${best.toFixed(2)}`;
}

function tell(item) {
  byId("about-segment").textContent = describe(timeline.video, item, judge(timeline.video));
}

if (timeline.box) {
  timeline.canvas = timeline.box.querySelector(".canvas");
  timeline.box.addEventListener("click", (event) => {
    const item = timeline.itemAt(event.target);
    if (item) return timeline.play(item);
    const box = timeline.canvas.getBoundingClientRect();
    player.seek(Math.max(0, ((event.clientX - box.left) / box.width) * timeline.seconds));
  });
  timeline.box.addEventListener("focusin", (event) => {
    const item = timeline.itemAt(event.target);
    if (!item) return;
    timeline.choose(item, { focus: false });
    tell(item);
  });
  timeline.box.addEventListener("keydown", (event) => {
    const item = timeline.itemAt(event.target);
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === " ") player.toggle();
    else if (event.key === "+" || event.key === "=") timeline.setZoom(timeline.zoom * 2);
    else if (event.key === "-") timeline.setZoom(timeline.zoom / 2);
    else if (item && (event.key.startsWith("Arrow") || event.key === "Home" || event.key === "End")) {
      const next = timeline.step(item, event.key);
      if (next) timeline.choose(next, { focus: true });
    } else return;
    event.preventDefault();
  });
  // A button is clicked when Space comes up again; here Space plays and pauses.
  timeline.box.addEventListener("keyup", (event) => event.key === " " && event.preventDefault());
  timeline.box.addEventListener("scroll", () => {
    const old = timeline.canvas.querySelector(".ruler");
    if (old && timeline.zoom > 1) old.replaceWith(timeline.ruler(timeline.canvas.clientWidth));
  });
  new ResizeObserver(() => timeline.render()).observe(timeline.box);
  byId("zoom-in").addEventListener("click", () => timeline.setZoom(timeline.zoom * 2));
  byId("zoom-out").addEventListener("click", () => timeline.setZoom(timeline.zoom / 2));
  player.onTime = (seconds) => timeline.placePlayhead(seconds);
  // A file may be longer than the annotations say, or nobody said how long it is.
  player.onLength = (seconds) => {
    if (!Number.isFinite(seconds) || seconds <= timeline.seconds + 0.05) return;
    timeline.seconds = seconds;
    timeline.render();
  };
}
