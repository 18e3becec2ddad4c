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
  const whole = components(slice.level, width, height, settings.threshold);
  const found = measure(whole.labels, whole.count, slice.level, width, height, page.fieldOfInterest);
  return keep(whole.labels, found, (o) => o.pixels * factor ** 2 > settings.smallest && o.inside);
}

/** The cells that were segmented before, measured alike. */
function cellsOf(slice) {
  const { width, height } = page;
  const count = slice.cells.reduce((a, b) => Math.max(a, b), 0);
  const found = measure(slice.cells, count, slice.level, width, height, 0);
  return keep(slice.cells, found, (o) => o.pixels > 0);
}

/** Number the measured objects that pass, and leave out the others. */
function keep(labels, found, passes) {
  const number = new Int32Array(found.length);
  const kept = [];
  const leftOut = [];
  found.forEach((object, label) => {
    if (!label || !object.pixels) return;
    if (!passes(object)) { leftOut.push(object); return; }
    kept.push(object);
    object.id = label;
    object.number = number[label] = kept.length;
    object.mean = object.sum / object.pixels;
    object.x /= object.pixels;
    object.y /= object.pixels;
  });
  return { labels: labels.map((label) => number[label]), kept, leftOut };
}
