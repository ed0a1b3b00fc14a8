// The timeline, drawn anew from what is in view only, so that thousands of segments scroll and zoom smoothly.

const LEAST_SCALE = 0.02; // pixels per second
const MOST_SCALE = 1500;
const LARGEST_WIDTH = 8e6; // pixels that browsers can scroll through
const TICKS = [0.04, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400];

const timeline = {
  box: byId("timeline"),
  space: byId("timeline").querySelector(".space"),
  canvas: byId("timeline").querySelector("canvas"),
  lanes: [],
  scale: 1, // pixels per second
  colours: {},
  drag: null, // what the pointer is about: {kind, ...}
  isWaiting: false,

  get seconds() {
    return model.detail?.seconds ?? 1;
  },
  get width() {
    return this.box.clientWidth;
  },
  get height() {
    return this.box.clientHeight;
  },
  get left() {
    return this.box.scrollLeft / this.scale;
  },
  x(seconds) {
    return seconds * this.scale - this.box.scrollLeft;
  },
  time(x) {
    return Math.min(Math.max((x + this.box.scrollLeft) / this.scale, 0), this.seconds);
  },

  /** What is to be seen has changed. */
  layout() {
    settle(model.segments);
    this.lanes = lanesOf(model.segments);
    const last = this.lanes.at(-1);
    this.space.style.height = `${last ? last.top + last.height : HEAD}px`;
    this.space.style.width = `${this.seconds * this.scale}px`;
    this.invalidate();
  },

  /** The whole video fits in. */
  fit() {
    this.scale = this.fitting;
    this.layout();
    this.box.scrollLeft = 0;
  },

  get fitting() {
    return Math.max(this.width - 1, 1) / this.seconds;
  },

  zoom(factor, x = Math.min(Math.max(this.x(playing.time), 0), this.width)) {
    const at = this.time(x);
    const most = Math.min(MOST_SCALE, LARGEST_WIDTH / this.seconds);
    this.scale = Math.min(Math.max(this.scale * factor, Math.min(LEAST_SCALE, this.fitting), this.fitting), Math.max(most, this.fitting));
    this.space.style.width = `${this.seconds * this.scale}px`;
    this.box.scrollLeft = at * this.scale - x;
    this.invalidate();
  },

  /** Bring a stretch into view, and into a size in which it can be seen. */
  reveal(start, end) {
    if ((end - start) * this.scale < 12 && end > start) this.zoom(40 / ((end - start) * this.scale), this.x(start));
    const [from, to] = [this.x(start), this.x(end)];
    if (from < 0 || to > this.width) this.box.scrollLeft += (from + Math.min(to, from + this.width)) / 2 - this.width / 2;
    const lane = this.lanes.find(({ label }) => label === edits.segment?.label);
    if (lane && lane.top - this.box.scrollTop < HEAD) this.box.scrollTop = lane.top - HEAD;
    if (lane && lane.top + lane.height - this.box.scrollTop > this.height) this.box.scrollTop = lane.top + lane.height - this.height;
  },

  /** Keep the playhead in view. */
  follow() {
    const x = this.x(playing.time);
    if (x < 0 || x > this.width) this.box.scrollLeft += x - this.width * 0.1;
    this.invalidate();
  },

  invalidate() {
    if (this.isWaiting) return;
    this.isWaiting = true;
    requestAnimationFrame(() => {
      this.isWaiting = false;
      if (model.detail) this.draw();
    });
  },

  readColours() {
    const style = getComputedStyle(document.body);
    const probe = make("span", { hidden: true });
    document.body.append(probe);
    const names = ["page", "surface", "raised", "border", "text", "muted", "accent"];
    for (let place = 0; place < NUM_COLOURS; place++) names.push(`class-${place}`);
    for (const name of names) {
      probe.style.color = `var(--${name})`;
      this.colours[name] = getComputedStyle(probe).color;
    }
    probe.remove();
    this.font = style.fontFamily;
    this.invalidate();
  },

  classColour(place) {
    return this.colours[`class-${place % NUM_COLOURS}`];
  },

  draw() {
    const { width, height, canvas } = this;
    const ratio = devicePixelRatio || 1;
    const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (canvas.width !== wide || canvas.height !== high) {
      [canvas.width, canvas.height] = [wide, high];
      [canvas.style.width, canvas.style.height] = [`${width}px`, `${height}px`];
    }
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.fillStyle = this.colours.page;
    pen.fillRect(0, 0, width, height);
    const [from, to] = [this.time(0), this.time(width)];
    pen.save();
    pen.beginPath();
    pen.rect(0, HEAD, width, height - HEAD);
    pen.clip();
    for (const lane of this.lanes) this.drawLane(pen, lane, from, to);
    pen.restore();
    this.drawRuler(pen, from, to);
    this.drawCurve(pen, from, to);
    this.drawLooked(pen, from, to);
    this.drawUnfinished(pen);
    const x = this.x(Math.min(playing.time, this.seconds));
    pen.fillStyle = this.colours.text;
    pen.fillRect(x - 1, 0, 2, height);
    performance.mark("timeline-drawn");
  },

  drawLane(pen, lane, from, to) {
    const top = lane.top - this.box.scrollTop;
    if (top > this.height || top + lane.height < HEAD) return;
    pen.fillStyle = this.colours.border;
    pen.fillRect(0, top + lane.height - 1, this.width, 1);
    const colour = this.classColour(lane.place);
    for (const row of lane.rows) {
      const y = row.top - this.box.scrollTop + 1;
      if (y > this.height || y + ROW < HEAD) continue;
      this.drawRow(pen, row, { y, colour, from, to });
    }
    const isCurrent = lane.label === edits.label;
    pen.font = `${isCurrent ? 700 : 600} 12px ${this.font}`;
    const name = clipped(pen, lane.label, this.width / 2);
    pen.fillStyle = this.colours.page;
    pen.fillRect(0, top + 1, pen.measureText(name).width + 30, NAME - 2);
    pen.fillStyle = colour;
    pen.fillRect(6, top + 5, 9, 9);
    pen.fillStyle = this.colours.text;
    pen.fillText(name, 20, top + 13);
  },

  drawRow(pen, row, { y, colour, from, to }) {
    const high = ROW - 2;
    let drawnTo = -Infinity;
    pen.fillStyle = colour;
    pen.strokeStyle = colour;
    for (const segment of between(row, from, to)) {
      const isMoved = this.drag?.id === segment.id && this.drag.start !== undefined;
      const shown = isMoved ? this.drag : segment;
      const x = this.x(shown.start);
      const wide = Math.max(this.x(shown.end) - x, 2);
      // Of what falls into one pixel, one is drawn.
      if (wide <= 2 && x < drawnTo && segment.id !== edits.chosen) continue;
      drawnTo = Math.max(drawnTo, Math.floor(x) + 1);
      drawSegment(pen, segment, { x, y, wide, high, colour, grounds: this.colours, font: this.font });
      if (segment.id === edits.chosen) {
        pen.strokeStyle = this.colours.text;
        pen.lineWidth = 3;
        pen.setLineDash([]);
        pen.strokeRect(x - 1, y - 1, wide + 2, high + 2);
        pen.strokeStyle = colour;
      }
    }
  },

  drawRuler(pen, from, to) {
    pen.fillStyle = this.colours.raised;
    pen.fillRect(0, 0, this.width, RULER);
    const step = TICKS.find((tick) => tick * this.scale >= 84) ?? TICKS.at(-1);
    pen.font = `11px ${this.font}`;
    pen.fillStyle = this.colours.muted;
    for (let number = Math.floor(from / step); number * step <= to; number++) {
      const x = this.x(number * step);
      pen.fillRect(x, 0, 1, RULER);
      pen.fillText(step < 0.1 ? (number * step).toFixed(2) : clock(number * step + 1e-6, { whole: step >= 1 }), x + 4, 15);
    }
  },

  drawCurve(pen, from, to) {
    pen.fillStyle = this.colours.surface;
    pen.fillRect(0, RULER, this.width, CURVE);
    const bottom = RULER + CURVE - 2;
    const high = CURVE - 6;
    const curves = model.detail.curves;
    if (curves[""]) this.fillCurve(pen, curves[""], { from, to, bottom, high, colour: this.colours.muted, alpha: 0.35 });
    const label = edits.segment?.label;
    if (label && curves[label]) {
      const colour = this.classColour(data.classes.indexOf(label));
      this.fillCurve(pen, curves[label], { from, to, bottom, high, colour, alpha: 0.75 });
    }
    if (curves[""]) {
      pen.fillStyle = this.colours.text;
      for (let x = 0; x < this.width; x += 8) pen.fillRect(x, bottom - high * view.score, 4, 1);
    }
    pen.fillStyle = this.colours.border;
    pen.fillRect(0, RULER + CURVE - 1, this.width, 1);
  },

  /** Steps [times, values]; the largest value in each pixel. */
  fillCurve(pen, [times, values], { from, to, bottom, high, colour, alpha }) {
    pen.beginPath();
    pen.moveTo(0, bottom);
    let place = Math.max(firstTime(times, from) - 1, 0);
    let x = 0;
    while (place < times.length && times[place] <= to) {
      const next = Math.max(this.x(times[place + 1] ?? this.seconds), x);
      let value = values[place];
      if (next < x + 1) {
        // Steps inside one pixel.
        const end = x + 1;
        while (place + 1 < times.length && this.x(times[place + 1]) < end) value = Math.max(value, values[++place]);
        pen.lineTo(x, bottom - high * Math.min(value, 1));
        x = end;
        pen.lineTo(x, bottom - high * Math.min(value, 1));
      } else {
        pen.lineTo(x, bottom - high * Math.min(value, 1));
        x = Math.min(next, this.width);
        pen.lineTo(x, bottom - high * Math.min(value, 1));
      }
      place++;
    }
    pen.lineTo(x, bottom);
    pen.globalAlpha = alpha;
    pen.fillStyle = colour;
    pen.fill();
    pen.globalAlpha = 1;
  },

  drawLooked(pen, from, to) {
    const top = RULER + CURVE;
    pen.fillStyle = this.colours.raised;
    pen.fillRect(0, top, this.width, LOOKED);
    pen.fillStyle = this.colours.accent;
    for (const [stretches, alpha] of [[model.lookedInAll, 0.45], [model.looked, 1]]) {
      pen.globalAlpha = alpha;
      for (const [start, end] of stretches) {
        if (start > to || end < from) continue;
        const x = Math.max(this.x(start), 0);
        pen.fillRect(x, top + 3, Math.max(Math.min(this.x(end), this.width) - x, 1), LOOKED - 6);
      }
    }
    pen.globalAlpha = 1;
    pen.fillStyle = this.colours.border;
    pen.fillRect(0, top + LOOKED - 1, this.width, 1);
  },

  /** A segment or a stretch whose end is to come, or that the pointer draws. */
  drawUnfinished(pen) {
    const shade = (start, end, top, high, colour) => {
      const [from, to] = [this.x(Math.min(start, end)), this.x(Math.max(start, end))];
      pen.globalAlpha = 0.45;
      pen.fillStyle = colour;
      pen.fillRect(from, top, Math.max(to - from, 2), high);
      pen.globalAlpha = 1;
    };
    const lane = (label) => this.lanes.find((other) => other.label === label) ?? { top: HEAD, height: 60, place: 0 };
    const drawn = edits.opened ? { ...edits.opened, end: edits.now } : this.drag?.kind === "draw" ? this.drag : null;
    if (drawn) {
      const { top, height, place } = lane(drawn.label);
      shade(drawn.start, drawn.end, top - this.box.scrollTop, height, this.classColour(place));
    }
    const looking = edits.looking ? { ...edits.looking, end: edits.now } : this.drag?.kind === "look" ? this.drag : null;
    if (looking) shade(looking.start, looking.end, RULER + CURVE, LOOKED, this.colours.accent);
  },
};

function drawSegment(pen, segment, { x, y, wide, high, colour, grounds, font }) {
  if (segment.status === "rejected") {
    pen.fillStyle = grounds.muted;
    pen.fillRect(x, y + high / 2 - 1, wide, 3);
    return;
  }
  const isKept = segment.status === "kept";
  pen.fillStyle = colour;
  // Thin ones are many, and their outlines would be all that is seen.
  pen.globalAlpha = isKept ? 1 : (wide > 6 ? 0.15 : 0.45) + 0.35 * Math.min(segment.score ?? 0, 1);
  pen.fillRect(x, y, wide, high);
  pen.globalAlpha = 1;
  if (!isKept && wide > 6) {
    pen.lineWidth = 1.5;
    if (wide > 12) pen.setLineDash([4, 3]);
    pen.strokeRect(x + 0.75, y + 0.75, wide - 1.5, high - 1.5);
    if (wide > 12) pen.setLineDash([]);
  }
  if (!isKept && wide > 34 && segment.score !== undefined) {
    pen.font = `11px ${font}`;
    pen.fillStyle = grounds.text;
    pen.fillText(segment.score.toFixed(2), Math.max(x, 0) + 5, y + 14);
  }
}

function clipped(pen, text, width) {
  if (pen.measureText(text).width <= width) return text;
  let end = Math.min(text.length, 80);
  while (end > 1 && pen.measureText(`${text.slice(0, end)}\u2026`).width > width) end--;
  return `${text.slice(0, end)}\u2026`;
}

/** Place of the first time that is `time` or later. */
function firstTime(times, time) {
  let low = 0;
  let high = times.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (times[middle] < time) low = middle + 1;
    else high = middle;
  }
  return low;
}

timeline.box.addEventListener("scroll", () => timeline.invalidate());
timeline.box.addEventListener(
  "wheel",
  (event) => {
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      timeline.zoom(Math.exp(-event.deltaY / 300), event.clientX - timeline.box.getBoundingClientRect().left);
    } else if (!event.shiftKey && !event.deltaX && timeline.box.scrollHeight <= timeline.box.clientHeight) {
      // Nothing to scroll up or down: a wheel moves through time.
      event.preventDefault();
      timeline.box.scrollLeft += event.deltaY;
    }
  },
  { passive: false },
);
new ResizeObserver(() => {
  if (model.detail && timeline.scale < timeline.fitting) timeline.fit();
  timeline.invalidate();
}).observe(timeline.box);
for (const change of [matchMedia("(prefers-color-scheme: dark)"), matchMedia("(forced-colors: active)")]) {
  change.addEventListener("change", () => timeline.readColours());
}
new MutationObserver(() => timeline.readColours()).observe(document.documentElement, { attributeFilter: ["data-theme"] });
