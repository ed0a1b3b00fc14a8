// Every key, what it does, and the page of help that is made from the same table.

const withChosen = (act) => () => {
  const segment = edits.segment;
  if (segment) act(segment);
  else tell("No segment is chosen: arrow down goes to the next one, or click on one.");
};
const moved = (start, end) => (isShifted) =>
  withChosen((segment) => {
    const by = isShifted ? 1 : edits.frame;
    edits.place(segment, segment.start + start * by, segment.end + end * by);
    const edge = edits.segment;
    if (edge) playing.seek(start ? edge.start : edge.end);
  })();

// {keys, shown, words, act, shift}: `shift` is given to `act`; keys that need it pressed say so with "Shift+".
const KEYS = [
  { group: "Play" },
  { keys: [" "], shown: "Space", words: "play, pause", act: () => playing.toggle() },
  { keys: ["j"], words: "backwards; again: faster", act: () => playing.shuttle(-1) },
  { keys: ["k"], words: "pause", act: () => playing.stop() },
  { keys: ["l"], words: "forwards; again: faster", act: () => playing.shuttle(1) },
  { keys: ["arrowleft", "arrowright"], shown: "\u2190 \u2192", words: "a frame back, on; with Shift a second", act: (shift, key) => (shift ? playing.seconds : playing.frames).call(playing, key === "arrowleft" ? -1 : 1) },
  { keys: ["home", "end"], shown: "Home End", words: "to the beginning, to the end", act: (shift, key) => playing.seek(key === "home" ? 0 : playing.length) },
  { keys: ["enter"], shown: "Enter", words: "play the chosen segment", act: withChosen((segment) => playSegment(segment)) },
  { group: "Go to" },
  { keys: ["arrowup", "arrowdown"], shown: "\u2191 \u2193", words: "the segment before, after", act: (shift, key) => edits.step(key === "arrowup" ? -1 : 1) },
  { keys: ["u"], words: "the most uncertain proposal", button: "Next uncertain", act: () => edits.uncertain() },
  { keys: ["g"], words: "the next stretch that is suggested", button: data.suggestions.length ? "Next suggestion" : null, act: () => nextSuggestion() },
  { keys: ["pageup", "pagedown"], shown: "PageUp PageDown", words: "the video before, after", act: (shift, key) => videoList.go(key === "pageup" ? -1 : 1) },
  { keys: ["/"], words: "search the videos", act: () => byId("search").focus() },
  { keys: ["+", "=", "-"], shown: "+ \u2212", words: "zoom", act: (shift, key) => timeline.zoom(key === "-" ? 0.5 : 2) },
  { group: "Decide" },
  { keys: ["a"], words: "accept the chosen segment", button: "Accept", act: withChosen((segment) => edits.accept(segment)) },
  { keys: ["x", "delete", "backspace"], shown: "X", words: "reject it", button: "Reject", act: withChosen((segment) => edits.reject(segment)) },
  { keys: [..."1234567890"], shown: "1 \u2026 0", words: "make it class 1 to 10; without a chosen segment, the class of new ones", act: (shift, key) => setClass(data.classes[(Number(key) + 9) % 10]) },
  { keys: ["c"], words: "choose among all classes, or add one", button: "Class \u2026", act: () => askClass() },
  { group: "Edges" },
  { keys: ["i"], words: "begin it at the playhead", act: withChosen((segment) => edits.place(segment, edits.now, segment.end)) },
  { keys: ["o"], words: "end it at the playhead", act: withChosen((segment) => edits.place(segment, segment.start, edits.now)) },
  { keys: ["q", "w"], shown: "Q W", words: "its start a frame back, on; with Shift a second", act: (shift, key) => moved(key === "q" ? -1 : 1, 0)(shift) },
  { keys: ["e", "r"], shown: "E R", words: "its end a frame back, on; with Shift a second", act: (shift, key) => moved(0, key === "e" ? -1 : 1)(shift) },
  { keys: ["d", "f"], shown: "D F", words: "all of it a frame back, on; with Shift a second", act: (shift, key) => moved(key === "d" ? -1 : 1, key === "d" ? -1 : 1)(shift) },
  { keys: ["s"], words: "split it at the playhead", button: "Split", act: withChosen((segment) => edits.split(segment, edits.now)) },
  { group: "New" },
  { keys: ["n"], words: "begin a segment at the playhead; again: end it. Both at once: an event without length", button: "New", act: () => edits.open() },
  { keys: ["m"], words: "begin a stretch that is looked at; again: end it. Over a marked one: unmark it", button: "Looked at", act: (shift) => (shift ? edits.look(0, roundTime(model.detail.seconds)) : edits.mark()) },
  { shown: "Shift+M", words: "the whole video is looked at" },
  { keys: ["escape"], shown: "Escape", words: "forget what was begun; choose nothing", act: () => edits.forget() },
  { group: "Take back" },
  { keys: ["z"], shown: "Z, Ctrl+Z", words: "take back", button: "Undo", act: (shift) => (shift ? edits.redo() : edits.undo()), control: true },
  { keys: ["y"], shown: "Y, Ctrl+Y", words: "do again", button: "Redo", act: () => edits.redo(), control: true },
  { keys: ["?"], words: "this list", act: () => byId("help").showModal() },
];

const actions = new Map(KEYS.flatMap((entry) => (entry.keys ?? []).map((key) => [key, entry])));
const shownKeys = (entry) => entry.shown ?? entry.keys.map((key) => key.toUpperCase()).join(" ");

function press(key, { shift = false, control = false } = {}) {
  const entry = actions.get(key);
  if (!entry || !model.detail || (control && !entry.control)) return false;
  entry.act(shift, key);
  return true;
}

document.addEventListener("keydown", (event) => {
  const isTyping = event.target.closest("input:not([type=range]):not([type=checkbox]), select, textarea, dialog");
  const isOperating = event.target.closest("button, summary, input") && [" ", "Enter"].includes(event.key);
  const isSliding = event.target.type === "range" && /^(Arrow|Home|End|Page)/.test(event.key);
  if (isTyping || isOperating || isSliding || (event.altKey && !event.getModifierState("AltGraph"))) return;
  // AltGr, which some layouts need for / and ?, counts as Ctrl and Alt.
  const control = (event.ctrlKey || event.metaKey) && !event.getModifierState("AltGraph");
  if (press(event.key.toLowerCase(), { shift: event.shiftKey, control })) event.preventDefault();
});

function helpRows() {
  const groups = [];
  for (const entry of KEYS) {
    if (entry.group) groups.push(make("section", {}, make("h3", {}, entry.group), make("dl", { className: "keys" })));
    else {
      const keys = make("dt", {}, make("kbd", {}, shownKeys(entry)));
      groups.at(-1).querySelector("dl").append(make("div", {}, keys, make("dd", {}, entry.words)));
    }
  }
  return groups;
}

byId("help-keys").append(...helpRows());
byId("help-open").addEventListener("click", () => byId("help").showModal());
for (const entry of KEYS.filter(({ button }) => button)) {
  const button = make("button", { type: "button", title: entry.words }, `${entry.button} `, make("kbd", {}, entry.keys[0].toUpperCase()));
  button.addEventListener("click", () => press(entry.keys[0]));
  byId("actions").append(button);
}
for (const button of document.querySelectorAll("[data-key]")) button.addEventListener("click", () => press(button.dataset.key));
