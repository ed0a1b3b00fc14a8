// Reading values off the training's charts, by pointer or arrow keys.

function readable(figure) {
  const values = data.charts[figure.dataset.chart];
  const plot = figure.querySelector(".plot");
  const cursor = figure.querySelector(".cursor");
  const shownX = figure.querySelector(".x");
  const shownValues = [...figure.querySelectorAll(".legend .value")];
  const { xs, lines, left, width } = values;
  const last = xs.length - 1;
  const span = xs[last] - xs[0];
  let at = last;

  function show(place) {
    at = Math.min(Math.max(place, 0), last);
    const share = span ? (xs[at] - xs[0]) / span : 0.5;
    cursor.style.left = `${100 * (left + width * share)}%`;
    shownX.textContent = xs[at].toLocaleString("en");
    shownValues.forEach((element, row) => {
      const value = lines[row][at];
      element.textContent = value === null ? "none" : String(value);
    });
  }

  function nearest(event) {
    const box = plot.getBoundingClientRect();
    const x = xs[0] + (((event.clientX - box.left) / box.width - left) / width) * span;
    let best = 0;
    xs.forEach((value, place) => Math.abs(value - x) < Math.abs(xs[best] - x) && (best = place));
    return best;
  }

  function leave() {
    show(last);
    cursor.hidden = true;
  }

  plot.addEventListener("pointermove", (event) => {
    cursor.hidden = false;
    show(nearest(event));
  });
  plot.addEventListener("pointerleave", leave);
  plot.addEventListener("blur", leave);
  plot.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: last };
    if (!(event.key in moves)) return;
    event.preventDefault();
    cursor.hidden = false;
    show(moves[event.key]);
  });
}

document.querySelectorAll("[data-chart]").forEach(readable);
