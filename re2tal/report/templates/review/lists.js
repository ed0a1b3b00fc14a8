// The lists of videos and of the segments of one. Only the rows in view exist.

class RowList {
  /**
   * @param box element with the role listbox and a child .rows
   * @param rowOf makes the content of row number n
   * @param open is called with the row that is chosen
   */
  constructor(box, { rowOf, open }) {
    Object.assign(this, { box, rowOf, open, rows: box.querySelector(".rows"), count: 0, active: 0, selected: -1 });
    box.addEventListener("scroll", () => this.draw());
    box.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) this.pick(Number(row.dataset.row));
    });
    box.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(box);
  }

  get height() {
    return parseFloat(getComputedStyle(this.box).getPropertyValue("--row-height"));
  }

  show(count) {
    this.count = count;
    this.active = Math.min(Math.max(this.active, 0), Math.max(count - 1, 0));
    this.rows.style.height = `${count * this.height}px`;
    this.draw();
  }

  draw() {
    const height = this.height;
    const first = Math.max(0, Math.floor(this.box.scrollTop / height) - 2);
    const last = Math.min(this.count, Math.ceil((this.box.scrollTop + this.box.clientHeight) / height) + 2);
    const rows = [];
    for (let number = first; number < last; number++) {
      const row = make("div", {
        className: `row${number === this.active ? " active" : ""}`,
        id: `${this.box.id}-${number}`,
        role: "option",
        "aria-selected": String(number === this.selected),
        "aria-posinset": String(number + 1),
        "aria-setsize": String(this.count),
      });
      row.append(...this.rowOf(number));
      row.dataset.row = number;
      row.style.top = `${number * height}px`;
      rows.push(row);
    }
    this.rows.replaceChildren(...rows);
    if (this.count) this.box.setAttribute("aria-activedescendant", `${this.box.id}-${this.active}`);
    else this.box.removeAttribute("aria-activedescendant");
  }

  reveal(number) {
    const height = this.height;
    if (number * height < this.box.scrollTop) this.box.scrollTop = number * height;
    const lowest = (number + 1) * height - this.box.clientHeight;
    if (lowest > this.box.scrollTop) this.box.scrollTop = lowest;
  }

  /** Select a row without opening it. */
  select(number) {
    this.selected = number;
    if (number >= 0) {
      this.active = number;
      this.reveal(number);
    }
    this.draw();
  }

  pick(number) {
    this.active = number;
    this.open(number);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    const page = Math.max(1, Math.floor(this.box.clientHeight / this.height) - 1);
    const moves = {
      ArrowDown: this.active + 1,
      ArrowUp: this.active - 1,
      PageDown: this.active + page,
      PageUp: this.active - page,
      Home: 0,
      End: this.count - 1,
    };
    if (event.key in moves) {
      this.active = Math.min(Math.max(moves[event.key], 0), this.count - 1);
      this.reveal(this.active);
      this.draw();
    } else if (event.key === "Enter" && this.count) this.pick(this.active);
    else return;
    event.preventDefault();
    event.stopPropagation(); // the page has other uses for these keys
  }
}

const videoList = new RowList(byId("list"), {
  rowOf: (number) => {
    const place = videoList.order[number];
    const video = data.videos[place];
    const row = videoList.about[place] ?? { kept: 0, open: 0, looked: [] };
    const share = sharePassed(row.looked, video.seconds);
    const words = [`${row.kept.toLocaleString("en")} kept`];
    if (data.hasDetections) words.push(row.open ? plural(row.open, "proposal") : "no proposals");
    words.push(share >= 0.999 ? "\u2713 looked at" : `${Math.round(100 * share)} % looked at`);
    return [make("bdi", { className: "name" }, video.id), make("small", {}, words.join(", "))];
  },
  open: (number) => openVideo(videoList.order[number]),
});

Object.assign(videoList, {
  order: data.videos.map((_, place) => place),
  about: [],

  /** What the server knows of every video at the chosen score. */
  async ask() {
    try {
      const response = await fetch(`rows?score=${view.score}`);
      if (response.ok) this.about = await response.json();
    } catch {}
    this.update();
  },

  /** The chosen video as this page has it. */
  update() {
    if (model.detail) {
      const kept = model.segments.filter((segment) => segment.status === "kept").length;
      this.about[model.place] = { kept, open: model.segments.filter(isOpen).length, looked: model.lookedInAll };
    }
    this.draw();
  },

  arrange() {
    const wanted = byId("search").value.trim().toLowerCase();
    this.order = data.videos.map((_, place) => place).filter((place) => data.videos[place].id.toLowerCase().includes(wanted));
    byId("num-listed").textContent =
      this.order.length === data.videos.length
        ? plural(data.videos.length, "video")
        : `${this.order.length.toLocaleString("en")} of ${plural(data.videos.length, "video")}`;
    this.show(this.order.length);
    this.select(this.order.indexOf(model.place));
  },

  /** The next video with proposals, or null. */
  nextOpen() {
    for (let step = 1; step <= data.videos.length; step++) {
      const place = (model.place + step) % data.videos.length;
      if (place !== model.place && this.about[place]?.open) return place;
    }
    return null;
  },

  go(step) {
    const number = this.order.indexOf(model.place) + step;
    if (number >= 0 && number < this.order.length) openVideo(this.order[number]);
    else tell(step > 0 ? "This is the last video." : "This is the first video.");
  },
});

function sharePassed(looked, seconds) {
  if (!seconds) return looked.some(([start, end]) => start <= 0 && end >= 1e8) ? 1 : 0;
  return looked.reduce((sum, [start, end]) => sum + Math.max(Math.min(end, seconds) - start, 0), 0) / seconds;
}

const segmentList = new RowList(byId("segments"), {
  rowOf: (number) => {
    const segment = segmentList.shown[number];
    const name = make("span", { className: "name" }, make("span", { className: `swatch ${colourOf(data.classes.indexOf(segment.label))}` }));
    name.append(make("bdi", {}, segment.label));
    const words = [span(segment.start, segment.end), segment.status];
    if (segment.score !== undefined && segment.status === "proposed") words.push(segment.score.toFixed(2));
    return [name, make("small", {}, words.join(", "))];
  },
  open: (number) => edits.choose(segmentList.shown[number].id, { seek: true }),
});

Object.assign(segmentList, {
  shown: [],

  update() {
    this.shown = edits.visible;
    byId("segments-title").textContent = plural(this.shown.length, "segment");
    this.show(this.shown.length);
    this.follow();
  },

  follow() {
    const number = edits.chosen === null ? -1 : this.shown.findIndex((segment) => segment.id === edits.chosen);
    this.select(number);
  },
});
