// The table of classes: sorted by a click on a heading; a click on a class shows its precision-recall curves.

function sortable(table) {
  const headings = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const textOf = (row, column) => row.cells[column].textContent.trim();

  headings.forEach((heading, column) => {
    heading.firstElementChild.addEventListener("click", () => {
      const isNumber = column > 0;
      // Numbers from the largest first, names from A; a second click turns it round.
      const first = isNumber ? "descending" : "ascending";
      const second = isNumber ? "ascending" : "descending";
      const direction = heading.getAttribute("aria-sort") === first ? second : first;
      headings.forEach((other) => other.setAttribute("aria-sort", other === heading ? direction : "none"));
      const sign = direction === "ascending" ? 1 : -1;
      const compare = isNumber
        ? (a, b) => textOf(a, column) - textOf(b, column)
        : (a, b) => textOf(a, column).localeCompare(textOf(b, column));
      body.append(...[...body.rows].sort((a, b) => sign * compare(a, b)));
    });
  });
}

function showPrecision(label) {
  const { mean, classes, frame } = data.precision;
  const [left, top, width, height] = frame;
  const { curves, ap } = label < 0 ? mean : classes[label];
  const figure = byId("precision");
  figure.querySelector(".which").textContent = label < 0 ? "mean over the classes" : isolated(data.classes[label]);
  const values = figure.querySelectorAll(".legend .value");
  figure.querySelectorAll(".line").forEach((line, row) => {
    const last = curves[row].length - 1;
    const points = curves[row].map((value, place) => {
      const x = left + (width * place) / last;
      return `${x.toFixed(1)} ${(top + height * (1 - value / 1000)).toFixed(1)}`;
    });
    line.setAttribute("d", `M${points.join("L")}`);
    values[row].textContent = ap[row].toFixed(2);
  });
}

if (byId("ap-table")) {
  const table = byId("ap-table");
  sortable(table);
  const buttons = [...table.querySelectorAll(".class-name")];
  for (const button of buttons) {
    button.addEventListener("click", () => {
      buttons.forEach((other) => other.setAttribute("aria-pressed", String(other === button)));
      showPrecision(Number(button.closest("tr").dataset.class ?? -1));
    });
  }
}
