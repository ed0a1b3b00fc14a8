// The rest of the page: what is told, which video is open, who annotates, classes, and the dialogs.

/** Say what was done or why not. */
function tell(words) {
  byId("about-segment").textContent = words;
  clearTimeout(tell.timer);
  tell.timer = setTimeout(describeChosen, 5000);
}

function describeChosen() {
  clearTimeout(tell.timer);
  const segment = edits.segment;
  if (!segment) {
    const waiting = model.segments.filter(isOpen).length;
    byId("about-segment").textContent = waiting
      ? `${plural(waiting, "proposal")} to decide on; arrow down goes to the next one.`
      : "No segment is chosen.";
    return;
  }
  const words = [`${isolated(segment.label)}, ${span(segment.start, segment.end)}`, segment.status];
  if (segment.end > segment.start) words.splice(1, 0, `${(segment.end - segment.start).toFixed(2)} s`);
  if (segment.score !== undefined) words.push(`score ${segment.score.toFixed(2)}`);
  if (segment.annotator && segment.status !== "proposed") words.push(`by ${isolated(segment.annotator)}`);
  if (segment.unsaved) words.push("not saved yet");
  byId("about-segment").textContent = words.join(", ");
}

/** A message that stays until the next one. */
function warn(words) {
  byId("notice").hidden = !words;
  byId("notice").textContent = words;
}

function showStatus() {
  const count = model.pending.length;
  const saved = byId("saved");
  if (model.problem) saved.textContent = `${count ? `${plural(count, "edit")} not saved: ` : ""}${model.problem}`;
  else if (!model.isOnline) saved.textContent = `The server does not answer; ${plural(count, "edit")} not saved yet, kept in this browser`;
  else saved.textContent = count ? `Saving ${plural(count, "edit")}` : "All edits are saved";
  saved.className = model.problem || !model.isOnline ? "bad" : "";
}

async function openVideo(place) {
  if (place === model.place || place < 0) return;
  playing.speed = 0;
  edits.chosen = edits.opened = edits.looking = null;
  try {
    await model.open(place);
  } catch {
    return warn("This video cannot be opened: the server does not answer.");
  }
  const { id } = model.video;
  model.video.seconds = model.detail.seconds;
  byId("video-name").replaceChildren(make("bdi", {}, id));
  player.load({ id, file: model.detail.problem ? null : `media/${place}` });
  if (model.detail.problem) byId("no-video").textContent = model.detail.problem;
  byId("sound").disabled = model.detail.is_copy;
  playing.seek(0);
  timeline.fit();
  videoList.select(videoList.order.indexOf(place));
  describeChosen();
  try {
    sessionStorage.setItem(STORE, id);
  } catch {}
}

model.onChange = () => {
  if (edits.chosen !== null && !edits.segment) edits.chosen = null;
  timeline.layout();
  segmentList.update();
  videoList.update();
  showClasses();
  showProgress();
};
model.onStatus = showStatus;
model.onNews = (entry, isOwn) => {
  if (entry.video !== model.video?.id) return void (videoList.isStale = true);
  if (!isOwn && entry.annotator !== session.annotator) tell(`${isolated(entry.annotator)} has changed this video.`);
};
model.onRefused = (item, why, isConflict) => {
  edits.forgetItem(item);
  warn(
    isConflict
      ? `Not done, because somebody else has changed the segment meanwhile: ${item.words} What is shown is how it is now.`
      : `Not done: ${item.words} (${why})`,
  );
};

function showProgress() {
  const share = sharePassed(model.lookedInAll, model.detail.seconds);
  const waiting = model.segments.filter(isOpen).length;
  const kept = model.segments.filter((segment) => segment.status === "kept").length;
  const words = [`${kept.toLocaleString("en")} kept`, `${Math.round(100 * share)} % looked at`];
  if (data.hasDetections) words.splice(1, 0, `${waiting.toLocaleString("en")} to decide on`);
  byId("progress-text").textContent = words.join(" \u00b7 ");
}

function setClass(label) {
  if (label === undefined) return tell("There is no class of that number; C adds one.");
  edits.label = label;
  if (edits.opened) edits.opened.label = label;
  else if (edits.segment) edits.relabel(edits.segment, label);
  else tell(`New segments are ${isolated(label)}.`);
  showClasses();
  timeline.layout();
}

function showClasses() {
  const held = document.activeElement?.closest("#classes button")?.dataset.place;
  const chips = data.classes.slice(0, 60).map((label, place) => {
    const chip = make("button", { type: "button", className: "chip", "aria-pressed": String(label === edits.label) });
    chip.dataset.place = place;
    if (place < 10) chip.append(make("kbd", {}, String((place + 1) % 10)));
    chip.append(make("span", { className: `swatch ${colourOf(place)}` }), make("bdi", {}, label));
    chip.addEventListener("click", () => setClass(label));
    return chip;
  });
  const add = make("button", { type: "button", className: "chip" }, "+ class");
  add.addEventListener("click", addClass);
  byId("classes").replaceChildren(...chips, add);
  if (held !== undefined) chips[held]?.focus();
}

/** Ask for a text; null if there is none. */
function ask(title, options) {
  const dialog = byId("ask");
  byId("ask-title").textContent = title;
  byId("ask-text").value = "";
  byId("ask-options").replaceChildren(...options.map((value) => make("option", { value })));
  dialog.returnValue = "";
  dialog.showModal();
  byId("ask-text").focus();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "ok" ? byId("ask-text").value.trim() || null : null), { once: true });
  });
}

function newClass(name) {
  if (!data.classes.includes(name)) data.classes.push(name);
  return name;
}

async function addClass() {
  const name = await ask("Name of the new class", []);
  if (name === null) return;
  edits.label = newClass(name);
  edits.choose(null);
  model.onChange();
  tell(`New segments are ${isolated(name)}; N begins one. The class is saved with its first segment.`);
}

async function askClass() {
  const name = await ask("Class (a new name makes a new class)", data.classes);
  if (name !== null) setClass(newClass(name));
}

function playSegment(segment) {
  playing.seek(segment.start);
  playing.run(1);
  player.end = segment.end;
}

let nextSuggested = 0;
async function nextSuggestion() {
  const count = data.suggestions.length;
  if (!count) return tell("Nothing is suggested; re2tal review --first suggestions.json tells what to look at first.");
  const number = nextSuggested++ % count;
  const { video, start, end } = data.suggestions[number];
  await openVideo(data.videos.findIndex(({ id }) => id === video));
  edits.choose(null);
  timeline.reveal(start, end);
  playing.seek(start);
  tell(`Suggestion ${number + 1} of ${count}: ${span(start, end)}.`);
}

function showAnnotators() {
  const names = [...new Set([session.annotator, ...data.annotators])];
  const options = names.map((name) => make("option", { value: name, selected: name === session.annotator }, name));
  byId("annotator").replaceChildren(...options, make("option", { value: "" }, "Another name \u2026"));
}

byId("annotator").addEventListener("focus", showAnnotators);
byId("annotator").addEventListener("change", async () => {
  const name = byId("annotator").value || (await ask("Your name", []));
  if (name) session.annotator = name;
  try {
    localStorage.setItem("re2tal-annotator", session.annotator);
  } catch {}
  showAnnotators();
  tell(`Edits are ${isolated(session.annotator)}'s from now on.`);
});

byId("score").value = view.score;
byId("score").addEventListener("input", () => {
  view.score = Number(byId("score").value);
  showScore();
  if (model.detail) model.onChange();
});
byId("score").addEventListener("change", () => videoList.ask());
function showScore() {
  byId("score-value").textContent = view.score.toFixed(2);
  byId("score").setAttribute("aria-valuetext", view.score.toFixed(2));
}
byId("show-rejected").addEventListener("change", (event) => {
  view.showRejected = event.target.checked;
  model.onChange();
});
byId("sound").addEventListener("click", () => {
  player.video.muted = !player.video.muted;
  byId("sound").setAttribute("aria-pressed", String(!player.video.muted));
});
byId("previous").addEventListener("click", () => videoList.go(-1));
byId("next").addEventListener("click", () => videoList.go(1));
byId("search").addEventListener("input", () => videoList.arrange());
byId("search").addEventListener("keydown", (event) => {
  if (event.key === "Escape") byId("timeline").focus();
  else if (event.key === "Enter" && videoList.order.length) videoList.open(0);
  else if (event.key === "ArrowDown") videoList.box.focus();
  else return;
  event.preventDefault();
});
// Counts of videos that other pages work on.
setInterval(() => {
  if (!videoList.isStale || document.hidden) return;
  videoList.isStale = false;
  videoList.ask();
}, 5000);

async function begin() {
  let last = null;
  try {
    // A name that was chosen in an earlier review; the one of the command has the first word.
    if (data.isDefaultName) session.annotator = localStorage.getItem("re2tal-annotator") ?? session.annotator;
    last = sessionStorage.getItem(STORE);
  } catch {}
  showAnnotators();
  showScore();
  timeline.readColours();
  videoList.arrange();
  model.recover();
  videoList.ask();
  const place = data.videos.findIndex(({ id }) => id === last);
  await openVideo(Math.max(place, 0));
  model.sync();
  byId("timeline").focus({ preventScroll: true });
  performance.mark("review-ready");
}
begin();
