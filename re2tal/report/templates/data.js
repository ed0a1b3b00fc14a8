"use strict";
// What the page shows, what is chosen, and small helpers. Labels and ids are only ever set as text, never as markup.

const data = JSON.parse(document.getElementById("report-data").textContent);
const NUM_COLOURS = 8;

const chosen = {
  step: data.start, // place of the score slider
  tiou: data.tiou, // row of the tIoU threshold
  label: -1, // a class, or -1 for all
};

const byId = (id) => document.getElementById(id);

/** An element with properties and children; strings become text. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-") || name === "role") element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

const colourOf = (label) => `c${label % NUM_COLOURS}`;

/** A name inside other text: marks of writing direction in it end with it. */
const isolated = (name) => `\u2068${name}\u2069`;

const plural = (count, word) => `${count.toLocaleString("en")} ${word}${count === 1 ? "" : "s"}`;

/** 7.25 s as 0:07.2, or with `whole` as 0:07; 3725 s as 1:02:05. */
function clock(seconds, { whole = false } = {}) {
  const hours = Math.floor(seconds / 3600);
  const minutes = Math.floor(seconds / 60) % 60;
  const rest = seconds % 60;
  if (hours) return `${hours}:${String(minutes).padStart(2, "0")}:${String(Math.floor(rest)).padStart(2, "0")}`;
  if (whole) return `${minutes}:${String(Math.floor(rest)).padStart(2, "0")}`;
  return `${minutes}:${(Math.floor(rest * 10) / 10).toFixed(1).padStart(4, "0")}`;
}

const isListed = (label) => chosen.label < 0 || chosen.label === label;

/** How many of a video's detections reach the chosen score; they stand best first. */
function numKept(video) {
  const scores = video.found.score;
  const least = data.steps[chosen.step];
  let low = 0;
  let high = scores.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (scores[middle] >= least) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * What the chosen score, tIoU and class make of a video.
 * Those in `unjudged` lie where nobody has looked and are neither right nor wrong.
 * `actionOf` maps a detection that is right to its action, `finderOf` an action to the detection that finds it.
 */
function judge(video) {
  const kept = numKept(video);
  const actionOf = new Map();
  const finderOf = new Map();
  const pairs = video.right ? video.right[chosen.tiou] : [];
  for (let place = 0; place < pairs.length; place += 2) {
    if (pairs[place] >= kept) continue;
    actionOf.set(pairs[place], pairs[place + 1]);
    finderOf.set(pairs[place + 1], pairs[place]);
  }
  const shown = [];
  for (let index = 0; index < kept; index++) if (isListed(video.found.label[index])) shown.push(index);
  const actions = [];
  if (video.truth) video.truth.label.forEach((label, index) => isListed(label) && actions.push(index));
  const numFound = actions.filter((index) => finderOf.has(index)).length;
  const unjudged = new Set(video.unjudged ?? []);
  const numWrong = video.right ? shown.filter((index) => !actionOf.has(index) && !unjudged.has(index)).length : 0;
  return { shown, actions, actionOf, finderOf, unjudged, numFound, numMissed: actions.length - numFound, numWrong };
}
