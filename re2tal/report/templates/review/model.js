// What is known of the chosen video, edits that the server has not confirmed yet, and the talk with the server.

const STORE = `re2tal-review-${data.journal}`;

const model = {
  place: -1, // of the chosen video in data.videos
  detail: null, // the server's answer: segments by id, looked, curves, seconds, fps, ...
  segments: [], // what is to be seen: {id, start, end, label, status, score, ..., revision, unsaved}
  looked: [], // stretches that were marked as looked at
  lookedInAll: [], // and those of segments that somebody has decided on
  contents: new Map(), // segment by id, with its revision; null where it was removed
  pending: [], // edits in the order they were made: {edit, words, annotator, time, undo}
  n: data.n, // edits of the server that are known here
  isOnline: true,
  problem: null, // why edits cannot be saved
  onChange: () => {},
  onNews: () => {}, // an edit that the server has, and whether this page made it
  onRefused: () => {},
  onStatus: () => {},

  get video() {
    return data.videos[this.place] ?? null;
  },

  byId(id) {
    return this.segments.find((segment) => segment.id === id) ?? null;
  },

  /** Show a video; resolves when it is known. */
  async open(place) {
    const response = await fetch(`video/${place}`);
    if (!response.ok) throw new Error(await response.text());
    const detail = await response.json();
    this.place = place;
    this.detail = detail;
    this.n = Math.min(this.n, detail.n); // what came in while the answer was under way is heard again
    this.refresh();
  },

  /** Confirmed content with the pending edits on top. */
  refresh() {
    this.contents = new Map(Object.entries(this.detail.segments));
    let looked = this.detail.looked;
    const unsaved = new Set();
    for (const item of this.pending) {
      if (item.edit.video !== this.video.id) continue;
      for (const change of item.edit.changes) {
        unsaved.add(change.id);
        // As the server stamps it.
        const stamp = item.edit.takes_back || !change.value ? {} : { annotator: item.annotator, edited: item.time };
        const revision = change.revision ?? item.edit.key;
        this.contents.set(change.id, { ...change.value, ...stamp, revision });
      }
      for (const look of item.edit.looks) looked = afterLook(looked, look);
    }
    this.segments = [];
    for (const [id, content] of this.contents) {
      if (content?.label !== undefined) this.segments.push({ ...content, id, unsaved: unsaved.has(id) });
    }
    this.segments.sort((a, b) => a.start - b.start || a.end - b.end);
    this.looked = looked;
    // What was decided on was looked at.
    const decided = this.segments.filter(({ edited, start, end }) => edited && start < end);
    this.lookedInAll = union([...looked, ...decided.map(({ start, end }) => [start, end])]);
    this.onChange();
  },

  /** Make an edit of the chosen video; it shows at once and goes to the server. */
  commit({ changes = [], looks = [], words }) {
    const based = changes.map(({ id, value }) => ({ id, base: this.contents.get(id)?.revision ?? "", value }));
    return this.push({ video: this.video.id, changes: based, looks }, words);
  },

  push(given, words) {
    const edit = { ...given, key: crypto.randomUUID() };
    const item = { edit, words, annotator: session.annotator, time: new Date().toISOString(), undo: this.inverse(edit) };
    this.pending.push(item);
    this.keep();
    this.refresh();
    this.sync();
    return item;
  },

  /** The edit, still without a key, that leads back to what is there now, revisions included. */
  inverse(edit) {
    const changes = edit.changes.map((change) => {
      const { revision = "", ...value } = this.contents.get(change.id) ?? {};
      const isThere = value.label !== undefined;
      return { id: change.id, base: change.revision ?? edit.key, value: isThere ? value : null, revision };
    });
    let looked = this.looked;
    const looks = [];
    for (const look of edit.looks) {
      const whole = [[look.start, look.end]];
      const others = looked.reduce((rest, [a, b]) => without(rest, a, b), whole);
      const changed = look.looked ? others : others.reduce((rest, [a, b]) => without(rest, a, b), whole);
      looks.unshift(...changed.map(([start, end]) => ({ start, end, looked: !look.looked })));
      looked = afterLook(looked, look);
    }
    return { video: edit.video, changes, looks, takes_back: true };
  },

  /** Unsaved edits survive the page: they are sent when it is opened again. */
  keep() {
    try {
      if (this.pending.length) {
        localStorage.setItem(`${STORE}-${session.tab}`, JSON.stringify(this.pending));
      } else localStorage.removeItem(`${STORE}-${session.tab}`);
    } catch {}
  },

  /** Take over what pages that are gone have left. One that is still there sends it too; that counts once. */
  recover() {
    try {
      const names = Object.keys(localStorage).filter((name) => name.startsWith(`${STORE}-`));
      for (const name of names) {
        this.pending.push(...JSON.parse(localStorage.getItem(name)));
        if (name !== `${STORE}-${session.tab}`) localStorage.removeItem(name);
      }
    } catch {}
    this.keep();
  },

  /** Send what is pending and hear what others did; one talk at a time. */
  async sync() {
    if (this.isTalking) {
      this.isWanted = true;
      return;
    }
    this.isTalking = true;
    clearTimeout(this.timer);
    // Edits of one annotator at a time.
    const annotator = this.pending[0]?.annotator;
    const sending = [];
    for (const item of this.pending) {
      if (item.annotator !== annotator || sending.length === 200) break;
      sending.push(item);
    }
    try {
      const response = sending.length
        ? await fetch("edits", {
            method: "POST",
            headers: { "Content-Type": "application/json" },
            body: JSON.stringify({ annotator, after: this.n, edits: sending.map((item) => item.edit) }),
          })
        : await fetch(`changes?after=${this.n}`);
      const kind = response.headers.get("Content-Type") ?? "";
      const answer = kind.startsWith("application/json") ? await response.json() : { error: await response.text() };
      if (!response.ok) throw new Error(String(answer.error).slice(0, 300)); // whoever has answered
      this.isOnline = true;
      this.problem = answer.problem;
      if (answer.journal !== data.journal) this.problem = "the server now reviews something else; reload this page";
      else this.take(answer, sending);
    } catch (error) {
      this.isOnline = false;
      this.problem = error instanceof TypeError ? null : error.message;
    }
    this.isTalking = false;
    const isBusy = this.isOnline && (this.isWanted || (sending.length && this.pending.length));
    this.isWanted = false;
    this.onStatus();
    if (isBusy) this.sync();
    else this.timer = setTimeout(() => this.sync(), 1000);
  },

  take(answer, sending) {
    for (const name of answer.classes) if (!data.classes.includes(name)) data.classes.push(name);
    for (const name of answer.annotators) if (!data.annotators.includes(name)) data.annotators.push(name);
    const done = new Map(sending.map((item) => [item.edit.key, item]));
    for (const entry of answer.changes) {
      if (entry.video === this.video?.id && entry.n > this.detail.n) {
        Object.assign(this.detail.segments, entry.segments);
        this.detail.looked = entry.looked;
      }
      this.onNews(entry, done.has(entry.key));
    }
    this.n = Math.max(this.n, answer.n);
    for (const { key, ok, why, conflict } of answer.results ?? []) {
      const item = done.get(key);
      this.pending.splice(this.pending.indexOf(item), 1);
      if (!ok) this.onRefused(item, why, conflict);
    }
    if (answer.results) this.keep();
    if (this.detail && (answer.changes.length || answer.results)) this.refresh();
  },
};

/** Stretches without what lies between `start` and `end`. */
const without = (stretches, start, end) =>
  stretches.flatMap(([a, b]) => [[a, Math.min(b, start)], [Math.max(a, end), b]]).filter(([a, b]) => a < b);

/** Stretches in order, with those that touch each other joined. */
function union(stretches) {
  const joined = [];
  for (const [start, end] of stretches.sort((a, b) => a[0] - b[0])) {
    const last = joined.at(-1);
    if (last && start <= last[1]) last[1] = Math.max(last[1], end);
    else joined.push([start, end]);
  }
  return joined;
}

/** Stretches after one more was looked at, or was not. */
const afterLook = (stretches, { start, end, looked }) =>
  looked ? union([...stretches, [start, end]]) : without(stretches, start, end);

const session = {
  tab: crypto.randomUUID(),
  annotator: data.annotators[0],
};
