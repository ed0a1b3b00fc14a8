"use strict";
// Before anything is drawn, so that a chosen theme does not flash. Storage may be forbidden, as for files in some browsers.
try {
  const chosen = localStorage.getItem("re2tal-theme");
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
} catch {}
