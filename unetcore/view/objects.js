/** Root of a member of a union-find forest; shortens the way to it. */
function rootOf(parent, member) {
  while (parent[member] !== member) {
    parent[member] = parent[parent[member]];
    member = parent[member];
  }
  return member;
}

/** Root that a pixel's label, a root or 0, has in common with the label of a neighbour, or 0. */
function joined(parent, label, neighbour) {
  if (!neighbour) return label;
  const root = rootOf(parent, neighbour);
  if (!label) return root;
  const lower = Math.min(label, root);
  parent[label] = parent[root] = lower;
  return lower;
}

/**
 * 8-connected components of the pixels above a level, numbered from 1 by their first pixels.
 * Labels of the first pass become roots, of which the smaller one is the parent.
 */
function components(level, width, height, threshold) {
  const labels = new Int32Array(width * height);
  const parent = [0];
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (level[i] <= threshold) continue;
      let label = 0;
      if (x > 0) label = joined(parent, label, labels[i - 1]);
      if (y > 0) {
        if (x > 0) label = joined(parent, label, labels[i - width - 1]);
        label = joined(parent, label, labels[i - width]);
        if (x + 1 < width) label = joined(parent, label, labels[i - width + 1]);
      }
      if (!label) parent.push(label = parent.length);
      labels[i] = label;
    }
  }
  return { labels, count: renumber(labels, parent) };
}

/** Give roots the numbers 1, 2, ... in their order, and every pixel that of its root. */
function renumber(labels, parent) {
  const number = new Int32Array(parent.length);
  let count = 0;
  for (let label = 1; label < parent.length; label++) {
    number[label] = parent[label] === label ? ++count : number[rootOf(parent, label)];
  }
  for (let i = 0; i < labels.length; i++) labels[i] = number[labels[i]];
  return count;
}

/** What there is to know of each of the labels 1 to count; the first entry is of the background. */
function measure(labels, count, level, width, height, margin) {
  const found = Array.from({ length: count + 1 }, () => (
    { seed: -1, pixels: 0, sum: 0, x: 0, y: 0, left: width, top: height, right: -1, bottom: -1, inside: false }));
  for (let y = 0, i = 0; y < height; y++) {
    const isRow = y >= margin && y < height - margin;
    for (let x = 0; x < width; x++, i++) {
      if (!labels[i]) continue;
      const object = found[labels[i]];
      if (!object.pixels++) object.seed = i;
      object.sum += probabilityOf(level[i]);
      object.x += x;
      object.y += y;
      object.left = Math.min(object.left, x);
      object.right = Math.max(object.right, x);
      object.top = Math.min(object.top, y);
      object.bottom = Math.max(object.bottom, y);
      object.inside ||= isRow && x >= margin && x < width - margin;
    }
  }
  return found;
}

/** Middle of the probabilities that have a level. */
function probabilityOf(level) {
  return level ? (level - 0.5) / page.levels : 0;
}

/**
 * Objects of a slice, as `unetcore.instances.instances` separates them: `labels`, where the ones
 * that are left out are 0, `kept`, and `leftOut`, both in the order of their first pixels.
 */
function objectsOf(slice, settings) {
  const { width, height, factor } = page;
  const { labels, count } = components(slice.level, width, height, settings.threshold);
  const found = measure(labels, count, slice.level, width, height, page.border);
  const passes = (object) => object.pixels * factor ** 2 > settings.smallest && object.inside;
  const number = numberThose(found, passes);
  for (let i = 0; i < labels.length; i++) labels[i] = number[labels[i]];
  if (settings.fillHoles) fillHoles(labels, width, height);
  const kept = measure(labels, largestOf(number), slice.level, width, height, 0);
  return { labels, kept: described(kept), leftOut: found.filter((o, label) => label && !number[label]) };
}

/** The cells that were segmented before, measured alike. */
function cellsOf(slice) {
  const { width, height } = page;
  const found = measure(slice.cells, largestOf(slice.cells), slice.level, width, height, 0);
  const number = numberThose(found, (object) => object.pixels > 0);
  const kept = found.filter((object, id) => { object.id = id; return number[id]; });
  return { labels: slice.cells.map((id) => number[id]), kept: described([null, ...kept]), leftOut: [] };
}

/** Largest of numbers >= 0; as arguments of Math.max they may be too many. */
function largestOf(numbers) {
  return numbers.reduce((a, b) => Math.max(a, b), 0);
}

/** New numbers 1, 2, ... of the measured objects that pass, by their label; 0 of the others. */
function numberThose(found, passes) {
  let last = 0;
  return found.map((object, label) => (label && passes(object) ? ++last : 0));
}

/** Measured objects with their numbers, means and centres, without the background. */
function described(found) {
  return found.slice(1).map((object, k) => ({
    ...object,
    number: k + 1,
    mean: object.sum / object.pixels,
    x: object.x / object.pixels,
    y: object.y / object.pixels,
  }));
}

/**
 * Give holes to the object around them: 4-connected regions of background that touch one object
 * only, and not the edge of the image.
 */
function fillHoles(labels, width, height) {
  const seen = new Uint8Array(labels.length);
  for (let start = 0; start < labels.length; start++) {
    if (labels[start] || seen[start]) continue;
    const { region, owners, isAtEdge } = backgroundAt(start, labels, seen, width, height);
    if (isAtEdge || owners.size !== 1) continue;
    const [owner] = owners;
    for (const i of region) labels[i] = owner;
  }
}

/** Region of background that a pixel belongs to, and the objects that it touches. */
function backgroundAt(start, labels, seen, width, height) {
  const region = [start];
  const owners = new Set();
  let isAtEdge = false;
  seen[start] = 1;
  const visit = (i) => {
    if (labels[i]) owners.add(labels[i]);
    else if (!seen[i]) { seen[i] = 1; region.push(i); }
  };
  for (let k = 0; k < region.length; k++) {
    const i = region[k];
    const x = i % width;
    if (x > 0) visit(i - 1);
    if (x < width - 1) visit(i + 1);
    if (i >= width) visit(i - width);
    if (i < labels.length - width) visit(i + width);
    isAtEdge ||= x === 0 || x === width - 1 || i < width || i >= labels.length - width;
  }
  return { region, owners, isAtEdge };
}
