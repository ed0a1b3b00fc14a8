// What is chosen, and what it makes of the videos.

const chosen = {
  step: data.start, // place of the score slider
  tiou: data.tiou, // row of the tIoU threshold
  label: -1, // a class, or -1 for all
};

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
