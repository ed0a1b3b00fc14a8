// The list of videos. Only the rows in view exist, so that thousands of videos cost no more than a dozen.

const list = {
  box: byId("list"),
  rows: null,
  order: data.videos.map((_, place) => place), // places in data.videos, as searched and sorted
  active: 0, // row that the keyboard is on
  shown: null, // place of the chosen video
  drawn: "",

  get rowHeight() {
    return parseFloat(getComputedStyle(this.box).getPropertyValue("--row-height"));
  },

  /** Search and sort anew. */
  arrange() {
    const wanted = byId("search").value.trim().toLowerCase();
    const order = [];
    data.videos.forEach((video, place) => {
      const hasClass = chosen.label < 0 || video.found.label.includes(chosen.label) || video.truth?.label.includes(chosen.label);
      if (hasClass && (!wanted || video.id.toLowerCase().includes(wanted))) order.push(place);
    });
    const by = byId("order").value;
    if (by === "name") {
      const collator = new Intl.Collator("en", { numeric: true });
      order.sort((a, b) => collator.compare(data.videos[a].id, data.videos[b].id));
    } else if (by !== "file") {
      const value = new Map(order.map((place) => [place, sizeFor(by, data.videos[place])]));
      order.sort((a, b) => value.get(b) - value.get(a) || a - b);
    }
    this.order = order;
    this.active = Math.max(0, order.indexOf(this.shown));
    byId("num-listed").textContent =
      order.length === data.videos.length
        ? plural(order.length, "video")
        : `${order.length.toLocaleString("en")} of ${plural(data.videos.length, "video")}`;
    this.rows.style.height = `${order.length * this.rowHeight}px`;
    this.box.scrollTop = Math.min(this.box.scrollTop, this.rows.clientHeight);
    this.draw(true);
  },

  /** Make the rows in view; `anew` if they have changed. */
  draw(anew = false) {
    const height = this.rowHeight;
    const first = Math.max(0, Math.floor(this.box.scrollTop / height) - 3);
    const last = Math.min(this.order.length, Math.ceil((this.box.scrollTop + this.box.clientHeight) / height) + 3);
    const what = `${first}-${last}`;
    if (!anew && what === this.drawn) return;
    this.drawn = what;
    const rows = [];
    for (let row = first; row < last; row++) rows.push(this.row(row, height));
    this.rows.replaceChildren(...rows);
    if (this.order.length) this.box.setAttribute("aria-activedescendant", `video-${this.order[this.active]}`);
    else this.box.removeAttribute("aria-activedescendant");
  },

  row(row, height) {
    const place = this.order[row];
    const video = data.videos[place];
    const verdict = judge(video);
    const isShown = place === this.shown;
    const element = make(
      "div",
      {
        className: `row${row === this.active ? " active" : ""}`,
        id: `video-${place}`,
        role: "option",
        "aria-selected": String(isShown),
        "aria-posinset": String(row + 1),
        "aria-setsize": String(this.order.length),
      },
      make("bdi", { className: "name" }, video.id),
      make("small", {}, summaryOf(video, verdict)),
      stripOf(video, verdict),
    );
    element.dataset.row = row;
    element.style.top = `${row * height}px`;
    return element;
  },

  /** Bring a row into view. */
  reveal(row) {
    const height = this.rowHeight;
    if (row * height < this.box.scrollTop) this.box.scrollTop = row * height;
    const lowest = (row + 1) * height - this.box.clientHeight;
    if (lowest > this.box.scrollTop) this.box.scrollTop = lowest;
  },

  moveTo(row) {
    this.active = Math.min(Math.max(row, 0), this.order.length - 1);
    this.reveal(this.active);
    this.draw(true);
  },

  /** Show the video of a row beside the list. */
  open(row) {
    const place = this.order[row];
    if (place === undefined) return;
    this.shown = place;
    const video = data.videos[place];
    byId("video-name").replaceChildren(make("bdi", {}, video.id));
    byId("about-segment").textContent = summaryOf(video, judge(video));
    player.load(video);
    timeline.show(video);
    this.moveTo(row);
  },
};

function sizeFor(order, video) {
  const verdict = judge(video);
  return order === "mistakes" ? verdict.numMissed + verdict.numWrong : verdict.shown.length;
}

function summaryOf(video, verdict) {
  if (video.truth && !video.right) return plural(verdict.actions.length, "action");
  if (!video.right) {
    return plural(verdict.shown.length, "detection") + (data.tious.length && !video.truth ? ", no ground truth" : "");
  }
  return `${verdict.numFound} of ${plural(verdict.actions.length, "action")} found, ${verdict.numWrong} wrong`;
}

/** A small picture of a video: ground truth above, detections below; one path for each class and kind. */
function stripOf(video, verdict) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 1000 16");
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("aria-hidden", "true");
  const paths = new Map();
  const add = (kind, label, start, end, top) => {
    const key = `${kind} ${colourOf(label)}`;
    const left = (1000 * start) / video.seconds;
    const width = Math.max((1000 * (end - start)) / video.seconds, 3);
    paths.set(key, `${paths.get(key) ?? ""}M${left.toFixed(1)} ${top}h${width.toFixed(1)}v6h-${width.toFixed(1)}z`);
  };
  for (const index of verdict.actions) {
    add(verdict.finderOf.has(index) || !video.right ? "truth" : "truth missed", video.truth.label[index], video.truth.start[index], video.truth.end[index], 1);
  }
  // What is right is drawn last, above what is wrong.
  const isRight = (index) => !video.right || verdict.actionOf.has(index);
  for (const index of [...verdict.shown.filter((index) => !isRight(index)), ...verdict.shown.filter(isRight)]) {
    const kind = isRight(index) ? "right" : verdict.unjudged.has(index) ? "unjudged" : "wrong";
    add(kind, video.found.label[index], video.found.start[index], video.found.end[index], 9);
  }
  for (const [className, d] of paths) {
    const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
    path.setAttribute("class", className);
    path.setAttribute("d", d);
    svg.append(path);
  }
  return svg;
}

if (list.box) {
  list.rows = list.box.querySelector(".rows");
  list.box.addEventListener("scroll", () => list.draw());
  list.box.addEventListener("click", (event) => {
    const row = event.target.closest(".row");
    if (!row) return;
    list.open(Number(row.dataset.row));
    // Where the video stands above the list, it has to be brought into view.
    if (byId("detail").getBoundingClientRect().bottom < 120 || getComputedStyle(byId("detail")).order === "-1") {
      byId("detail").scrollIntoView({ block: "start" });
    }
  });
  list.box.addEventListener("keydown", (event) => {
    const page = Math.max(1, Math.floor(list.box.clientHeight / list.rowHeight) - 1);
    const moves = {
      ArrowDown: list.active + 1,
      ArrowUp: list.active - 1,
      PageDown: list.active + page,
      PageUp: list.active - page,
      Home: 0,
      End: list.order.length - 1,
    };
    if (event.key in moves) list.moveTo(moves[event.key]);
    else if (event.key === "Enter" || event.key === " ") list.open(list.active);
    else return;
    event.preventDefault();
  });
  new ResizeObserver(() => list.draw(true)).observe(list.box);
}
