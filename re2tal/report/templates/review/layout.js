// Where everything stands in the timeline: a lane for each class, kept segments above proposals above rejected ones.

const view = {
  score: data.score, // least score of a proposal
  showRejected: false,
};

const RULER = 22;
const CURVE = 44;
const LOOKED = 12;
const HEAD = RULER + CURVE + LOOKED; // stays where it is when lanes are scrolled
const NAME = 17;
const ROW = 22;
const GAP = 5;
const MOST_ROWS = 6; // of a kind in a lane; what overlaps more often is drawn over each other
const MOST_EMPTY_LANES = 10;

/** Lanes {label, place, top, height, rows}, rows [{top, kind, segments, longest}]; the segments by start. */
function lanesOf(segments) {
  const shown = new Map();
  for (const segment of segments) {
    if (!isVisible(segment)) continue;
    if (!shown.has(segment.label)) shown.set(segment.label, { kept: [], proposed: [], rejected: [] });
    shown.get(segment.label)[segment.status].push(segment);
  }
  const lanes = [];
  let top = HEAD;
  data.classes.forEach((label, place) => {
    const kinds = shown.get(label);
    if (!kinds && label !== edits.label && data.classes.length > MOST_EMPTY_LANES) return;
    const rows = [];
    let below = top + NAME;
    for (const [kind, members] of Object.entries(kinds ?? {})) {
      for (const row of packed(members)) {
        rows.push({ ...row, kind, top: below });
        below += ROW;
      }
    }
    if (!rows.length) below += ROW;
    lanes.push({ label, place, top, height: below - top + GAP, rows });
    top = below + GAP;
  });
  return lanes;
}

/** Rows in which no two segments overlap, but for the last. */
function packed(segments) {
  const rows = [];
  for (const segment of segments) {
    let row = rows.find((other) => other.end <= segment.start);
    if (!row && rows.length < MOST_ROWS) rows.push((row = { segments: [], longest: 0 }));
    row ??= rows.at(-1);
    row.segments.push(segment);
    row.end = Math.max(row.end ?? 0, segment.end);
    row.longest = Math.max(row.longest, segment.end - segment.start);
  }
  return rows;
}

/** The segments of a row between two times. */
function* between(row, from, to) {
  for (let place = firstFrom(row.segments, from - row.longest); place < row.segments.length; place++) {
    const segment = row.segments[place];
    if (segment.start > to) return;
    if (segment.end >= from) yield segment;
  }
}
