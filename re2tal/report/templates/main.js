// What is chosen, and the rest of the page that follows it.

/** Precision, recall and F1 of all detections together at the chosen score and tIoU. */
function showCounts() {
  const score = data.steps[chosen.step];
  byId("score-value").textContent = score.toFixed(2);
  byId("score").setAttribute("aria-valuetext", score.toFixed(2));
  if (!data.counts) return;
  const kept = data.counts.kept[chosen.step];
  const right = data.counts.right[chosen.tiou][chosen.step];
  const actions = data.counts.actions;
  const percent = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(1)} %` : "-");
  byId("live-precision").textContent = percent(right, kept);
  byId("live-recall").textContent = percent(right, actions);
  byId("live-f1").textContent = percent(2 * right, kept + actions);
}

function follow({ rearrange }) {
  showCounts();
  if (rearrange) list.arrange();
  else list.draw(true);
  timeline.render();
  if (list.shown !== null) byId("about-segment").textContent = summaryOf(timeline.video, judge(timeline.video));
}

if (list.box) {
  byId("score").addEventListener("input", (event) => {
    chosen.step = Number(event.target.value);
    follow({ rearrange: false });
  });
  // Sorting while the slider moves would make the rows run away.
  byId("score").addEventListener("change", () => follow({ rearrange: true }));
  byId("tiou")?.addEventListener("change", (event) => {
    chosen.tiou = Number(event.target.value);
    follow({ rearrange: true });
  });
  byId("class").addEventListener("change", (event) => {
    chosen.label = Number(event.target.value);
    follow({ rearrange: true });
  });
  byId("order").addEventListener("change", () => list.arrange());
  byId("search").addEventListener("input", () => list.arrange());
  byId("search").addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== "ArrowDown") return;
    event.preventDefault();
    list.box.focus();
    if (event.key === "Enter") list.open(0);
  });
  byId("previous").addEventListener("click", () => list.open(Math.max(0, list.order.indexOf(list.shown) - 1)));
  byId("next").addEventListener("click", () => list.open(list.order.indexOf(list.shown) + 1));
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.closest("input:not([type=range]), select, textarea");
    if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    byId("search").focus();
  });
  showCounts();
  list.arrange();
  list.open(0);
}
performance.mark("report-ready");
