"use strict";
// What the page shows, and small helpers. Labels and ids are only ever set as text, never as markup.

const data = JSON.parse(document.getElementById("report-data").textContent);
const NUM_COLOURS = 8;

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
