// What the page shows at the moment, and everything that changes it.

const page = JSON.parse(document.getElementById("data").textContent);
const el = (id) => document.getElementById(id);
const OVERLAYS = {
  probability: "Probability",
  mask: "Mask",
  objects: "Objects",
  ...(page.slices[0].cells ? { cells: "Cells" } : {}),
};
const KIND_NAMES = { splits: "Splits", mergers: "Mergers" };
const SNAP = 0.02; // a click on the curve this near to a swept threshold means it
const KEPT_SLICES = 16;
const SWIPE = 40; // CSS px
const TAP = 6;

const state = {
  slice: 0,
  threshold: Math.round(page.threshold * page.levels),
  overlay: "objects" in OVERLAYS && page.slices[0].cells ? "cells" : "objects",
  opacity: 0.45,
  reference: true,
  marks: true,
  smallest: page.smallestObject,
  fillHoles: page.fillHoles,
  metric: page.curves[0]?.name,
  order: "number",
  selected: null, // an object of `objects.kept`
  place: null, // a split or merger
};
const camera = new Camera(el("canvas"));
let slice = null; // layers of the slice that is shown
let objects = null; // of that slice at this threshold, or its cells
let layers = {}; // canvases and paths that do not change with the camera
let drawing = 0;

/* Slices, unpacked when they are asked for. */

const unpacked = new Map();

function loaded(index) {
  if (!unpacked.has(index)) {
    unpacked.set(index, unpackSlice(page.slices[index], page.width, page.height));
    if (unpacked.size > KEPT_SLICES) unpacked.delete(unpacked.keys().next().value);
  }
  return unpacked.get(index);
}

async function showSlice(index) {
  const wanted = Math.min(Math.max(index, 0), page.slices.length - 1);
  state.slice = wanted;
  el("slice").value = wanted;
  const found = await loaded(wanted);
  if (state.slice !== wanted) return;
  slice = found;
  const bits = slice.reference;
  layers = {
    image: imageLayer(slice),
    reference: bits && referenceEdges(bits),
    ignored: bits && ignoredLayer(bits),
  };
  el("ignored-key").hidden = !layers.ignored;
  state.selected = null;
  findObjects();
}

/* From a change to what is seen. */

function findObjects() {
  const seed = state.selected?.seed;
  const isOfCells = state.overlay === "cells";
  objects = isOfCells ? cellsOf(slice) : objectsOf(slice, state);
  state.selected = seed === undefined ? null : objects.kept[objects.labels[seed] - 1] ?? null;
  paint();
}

function paint() {
  layers.overlay = overlayLayer(slice, state.overlay, objects, state.threshold);
  showNumbers();
  showSelected();
}

function showSelected() {
  layers.selected = state.selected && outlineOf(objects.labels, state.selected);
  showObject();
  drawPlots();
  draw();
}

function draw() {
  cancelAnimationFrame(drawing);
  drawing = requestAnimationFrame(() => {
    if (!slice) return;
    if (camera.isFit) camera.fit();
    drawStage(el("canvas"), camera, {
      ...layers,
      opacity: state.opacity,
      reference: state.reference && layers.reference,
      marks: state.marks ? marksOf(state.slice) : [],
    });
    drawScale();
    el("canvas").style.touchAction = camera.isFit ? "pan-y" : "none";
    document.body.dataset.shown = `${state.slice} ${state.threshold} ${state.overlay}`;
  });
}

function drawPlots() {
  const curve = page.curves.find((c) => c.name === state.metric);
  if (curve) curveThreshold = drawCurve(el("curve"), curve, state.threshold / page.levels);
  areaAt = drawAreas(el("areas"), objects, state.overlay === "cells" ? 0 : state.smallest, state.selected);
}
let curveThreshold = null;
let areaAt = null;

/* Numbers and words. */

const whole = (n) => Math.round(n).toLocaleString("en");

function areaText(pixels) {
  const area = pixels * page.factor ** 2;
  if (!page.pixelSize) return `${whole(area)} px`;
  return `${whole(area)} px, ${Number((area * page.pixelSize ** 2).toPrecision(3)).toLocaleString("en")} µm²`;
}

function counted(n, what) {
  return `${whole(n)} ${what}${n === 1 ? "" : "s"}`;
}

function sliceText(index) {
  const { z, name } = page.slices[index];
  const number = page.nSlices > 1 ? `${z + 1} of ${page.nSlices}` : "";
  return name ? `${name}${number && ` (${number})`}` : `Slice ${number}`;
}

function showNumbers() {
  const threshold = state.threshold / page.levels;
  const above = slice.level.reduce((n, level) => n + (level > state.threshold), 0);
  const left = objects.leftOut.length;
  el("threshold").value = state.threshold;
  el("threshold-value").textContent = threshold.toFixed(3);
  el("foreground").textContent = `${whole(above)} px above it, `
    + `${((100 * above) / slice.level.length).toFixed(1)} % of this slice`;
  el("slice-name").textContent = sliceText(state.slice);
  el("slice").setAttribute("aria-valuetext", sliceText(state.slice));
  el("count").textContent = whole(objects.kept.length);
  el("left-out").textContent = state.overlay === "cells"
    ? "as they were segmented before" : `in this slice; ${left ? whole(left) : "none"} left out`;
  el("smallest").value = state.smallest;
  el("status").textContent = `${sliceText(state.slice)}, threshold ${threshold.toFixed(3)}: `
    + counted(objects.kept.length, "object");
}

function showObject() {
  const object = state.selected;
  el("canvas").setAttribute("aria-label", `Image with ${OVERLAYS[state.overlay].toLowerCase()}, ${sliceText(state.slice)}`);
  if (!object) {
    el("object").innerHTML = "<p class=\"quiet\">Click an object, or step through them.</p>";
    return;
  }
  const facts = {
    Object: state.overlay === "cells" ? `${object.id}` : `${object.number} of ${objects.kept.length}`,
    Area: areaText(object.pixels),
    "Mean probability": object.mean.toFixed(2),
    "Centre (x, y)": `${centre(object.x)}, ${centre(object.y)}`,
  };
  el("object").replaceChildren(...Object.entries(facts).map(([term, text]) => {
    const box = document.createElement("div");
    box.append(Object.assign(document.createElement("dt"), { textContent: term }),
      Object.assign(document.createElement("dd"), { textContent: text }));
    return box;
  }));
}

/** A coordinate in px of the stack. */
function centre(place) {
  return Math.round((place + 0.5) * page.factor - 0.5);
}

function drawScale() {
  el("scale").hidden = !page.pixelSize;
  if (!page.pixelSize) return;
  const pixelOnScreen = page.pixelSize * page.factor / camera.zoom; // um per CSS px
  const length = roundAbove(60 * pixelOnScreen);
  el("scale").firstElementChild.style.width = `${length / pixelOnScreen}px`;
  el("scale").lastElementChild.textContent = `${short(length)} µm`;
}

/* Changes. */

function setThreshold(level) {
  state.threshold = Math.min(Math.max(Math.round(level), 0), page.levels);
  if (slice) findObjects();
}

function setOverlay(kind) {
  const changesObjects = (kind === "cells") !== (state.overlay === "cells");
  state.overlay = kind;
  el("overlay").querySelector(`[value=${kind}]`).checked = true;
  el("colours").hidden = kind !== "probability";
  el("smallest-row").hidden = kind === "cells";
  el("holes-row").hidden = kind === "cells";
  if (!slice) return;
  if (changesObjects) { state.selected = null; findObjects(); } else paint();
}

function setSmallest(pixels) {
  state.smallest = Math.max(0, Math.round(pixels) || 0);
  findObjects();
}

function setShown(what, isShown) {
  state[what] = isShown;
  el(what).checked = isShown;
  draw();
}

function select(object, isLookedAt = false) {
  state.selected = object ?? null;
  if (object && isLookedAt) bringIntoView(object);
  showSelected();
}

/** Move the image only if the object is not seen as a whole, or is too small to be seen well. */
function bringIntoView(object) {
  const [left, top] = camera.toScreen(object.left, object.top);
  const [right, bottom] = camera.toScreen(object.right + 1, object.bottom + 1);
  const [w, h] = camera.size;
  const isSeen = left >= 0 && top >= 0 && right <= w && bottom <= h;
  if (isSeen && Math.max(right - left, bottom - top) > 12) return;
  const side = Math.max(object.right - object.left, object.bottom - object.top) + 1;
  const zoom = Math.min(Math.max(camera.zoom, 24 / side), (0.6 * Math.min(w, h)) / side);
  camera.lookAt((object.left + object.right + 1) / 2, (object.top + object.bottom + 1) / 2, zoom);
}

const ORDERS = {
  number: (a, b) => a.number - b.number,
  area: (a, b) => a.pixels - b.pixels || a.number - b.number,
  mean: (a, b) => a.mean - b.mean || a.number - b.number,
};

function stepObject(by) {
  const list = [...objects.kept].sort(ORDERS[state.order]);
  if (!list.length) return;
  const at = list.indexOf(state.selected);
  const next = at < 0 ? (by > 0 ? 0 : list.length - 1) : (at + by + list.length) % list.length;
  select(list[next], true);
}

/* Splits and mergers. */

/** Splits and mergers of the chosen metric, else of the first that has any. */
function places() {
  return page.places[state.metric] ?? Object.values(page.places)[0];
}

function marksOf(index) {
  return Object.keys(KIND_NAMES).flatMap((kind) => (places()?.[kind].shown ?? [])
    .filter((place) => place.slice === index)
    .map((place) => ({ kind, points: place.points, isChosen: place === state.place })));
}

function placeText(place) {
  const parts = place.points.length > 1 ? `${place.points.length} parts, ` : "";
  return `${parts}${whole(place.pixels)} px`;
}

function listPlaces() {
  const found = places();
  el("places").hidden = el("marks-row").hidden = !found;
  if (!found) return;
  const owner = page.curves.find((c) => page.places[c.name] === found);
  el("places-note").textContent = `By ${owner.title} at its best threshold, `
    + `${found.threshold.toFixed(2)}. A click goes there.`;
  el("places-lists").replaceChildren(...Object.keys(KIND_NAMES).flatMap((kind) => listOf(kind, found[kind])));
}

function listOf(kind, { n, shown }) {
  const heading = document.createElement("h3");
  const key = Object.assign(document.createElement("i"), { className: `key ${kind.slice(0, -1)}` });
  const rest = shown.length < n ? `, the ${shown.length} largest here` : "";
  heading.append(key, `${KIND_NAMES[kind]}: ${whole(n)}${n ? rest : ""}`);
  const list = document.createElement("ol");
  list.append(...shown.map((place) => {
    const item = document.createElement("li");
    const button = document.createElement("button");
    const { z, name } = page.slices[place.slice];
    const [where, size] = [name || `Slice ${z + 1}`, placeText(place)]
      .map((text) => Object.assign(document.createElement("span"), { textContent: text }));
    button.append(where, size);
    button.dataset.kind = kind;
    button.addEventListener("click", () => goTo(place, button));
    item.append(button);
    return item;
  }));
  return [heading, list];
}

async function goTo(place, button) {
  el("places-lists").querySelector("[aria-current]")?.removeAttribute("aria-current");
  button.setAttribute("aria-current", "true");
  state.place = place;
  if (!state.marks) setShown("marks", true);
  if (place.slice !== state.slice) await showSlice(place.slice);
  const [ys, xs] = [0, 1].map((axis) => place.points.map((point) => point[axis]));
  const middle = (values) => (Math.min(...values) + Math.max(...values)) / 2;
  const side = Math.max(...[ys, xs].map((values) => Math.max(...values) - Math.min(...values)));
  const zoom = Math.min(2.5 * camera.fitZoom, (0.7 * Math.min(...camera.size)) / Math.max(side, 1));
  camera.lookAt(middle(xs), middle(ys), zoom);
  draw();
}

/* Controls. */

function connectControls() {
  el("threshold").max = page.levels;
  el("threshold").addEventListener("input", (event) => setThreshold(event.target.valueAsNumber));
  el("opacity").value = 100 * state.opacity;
  el("opacity").addEventListener("input", (event) => {
    state.opacity = event.target.value / 100;
    draw();
  });
  el("overlay").append(...Object.entries(OVERLAYS).map(([kind, name]) => {
    const label = document.createElement("label");
    label.innerHTML = `<input type="radio" name="overlay" value="${kind}"><span>${name}</span>`;
    label.firstChild.addEventListener("change", () => setOverlay(kind));
    return label;
  }));
  el("colours").querySelector("i").style.background = `linear-gradient(90deg, ${VIRIDIS.join(", ")})`;
  el("reference-row").hidden = !page.slices[0].reference;
  for (const what of ["reference", "marks"]) {
    el(what).addEventListener("change", (event) => setShown(what, event.target.checked));
    el(what).checked = state[what];
  }
  el("smallest").addEventListener("input", (event) => setSmallest(event.target.valueAsNumber));
  el("fill-holes").checked = state.fillHoles;
  el("fill-holes").addEventListener("change", (event) => {
    state.fillHoles = event.target.checked;
    findObjects();
  });
  el("order").addEventListener("change", (event) => { state.order = event.target.value; });
  el("object-before").addEventListener("click", () => stepObject(-1));
  el("object-after").addEventListener("click", () => stepObject(1));
  el("slices").hidden = page.slices.length < 2;
  el("slice").max = page.slices.length - 1;
  el("slice").addEventListener("input", (event) => showSlice(event.target.valueAsNumber));
  el("slice-before").addEventListener("click", () => showSlice(state.slice - 1));
  el("slice-after").addEventListener("click", () => showSlice(state.slice + 1));
  const zooms = { "zoom-in": () => camera.zoomBy(1.5), "zoom-out": () => camera.zoomBy(1 / 1.5), "zoom-fit": () => camera.fit() };
  for (const [id, zoom] of Object.entries(zooms)) {
    el(id).addEventListener("click", () => { zoom(); draw(); });
  }
}

function connectPlots() {
  const leftOn = (plot, event) => {
    const box = plot.getBoundingClientRect();
    return ((event.clientX - box.left) / box.width) * plot.viewBox.baseVal.width;
  };
  const drag = (plot, change) => {
    plot.addEventListener("pointerdown", (event) => {
      plot.setPointerCapture(event.pointerId);
      change(leftOn(plot, event));
    });
    plot.addEventListener("pointermove", (event) => {
      if (plot.hasPointerCapture(event.pointerId)) change(leftOn(plot, event));
    });
  };
  drag(el("curve"), (left) => setThreshold(page.levels * snapped(curveThreshold(left))));
  drag(el("areas"), (left) => state.overlay !== "cells" && setSmallest(areaAt(left)));
  el("metric").append(...page.curves.map((c) => new Option(c.title[0].toUpperCase() + c.title.slice(1), c.name)));
  el("curve-box").hidden = !page.curves.length;
  el("metric").addEventListener("change", (event) => setMetric(event.target.value));
  el("best").addEventListener("click", () => setThreshold(page.levels * chosenCurve().threshold));
}

function chosenCurve() {
  return page.curves.find((c) => c.name === state.metric);
}

function snapped(threshold) {
  const near = chosenCurve().thresholds.find((t) => Math.abs(t - threshold) < SNAP);
  return near ?? threshold;
}

function setMetric(name) {
  state.metric = name;
  state.place = null;
  el("metric").value = name;
  const curve = chosenCurve();
  if (curve) {
    el("best").textContent = `Best: ${metricText(curve.value)} at ${curve.threshold.toFixed(2)}`;
    el("curve-note").textContent = (curve.isError ? "0 is best" : "1 is best") + (scaleOf(curve).isLog ? ", log scale" : "");
  }
  listPlaces();
  if (slice) { drawPlots(); draw(); }
}

/* Pointer: click, drag, wheel, pinch, swipe. */

function connectPointer() {
  const canvas = el("canvas");
  const pointers = new Map();
  let start = null;
  const at = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    camera.zoomBy(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0015)), ...at(event));
    draw();
  }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, at(event));
    start = pointers.size === 1 ? at(event) : null;
  });
  canvas.addEventListener("pointermove", (event) => {
    showReadout(event.pointerType === "mouse" ? at(event) : null);
    if (!pointers.has(event.pointerId)) return;
    const before = [...pointers.values()];
    pointers.set(event.pointerId, at(event));
    moveBy(before, [...pointers.values()]);
  });
  canvas.addEventListener("pointerup", (event) => {
    const end = at(event);
    pointers.delete(event.pointerId);
    canvas.classList.remove("moving");
    if (start) release(end[0] - start[0], end[1] - start[1], end, event.pointerType);
    if (!pointers.size) start = null;
  });
  canvas.addEventListener("pointercancel", (event) => { pointers.delete(event.pointerId); start = null; });
  canvas.addEventListener("pointerleave", () => showReadout(null));
}

function moveBy(before, after) {
  if (after.length === 2) {
    const distance = ([a, b]) => Math.hypot(a[0] - b[0], a[1] - b[1]);
    const middle = ([a, b]) => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
    const [from, to] = [middle(before), middle(after)];
    camera.zoomBy(distance(after) / Math.max(distance(before), 1), ...from);
    camera.move(to[0] - from[0], to[1] - from[1]);
  } else if (camera.isFit) {
    return;
  } else {
    camera.move(after[0][0] - before[0][0], after[0][1] - before[0][1]);
    el("canvas").classList.add("moving");
  }
  draw();
}

/** End of a stroke of one finger or of the mouse: a swipe, a click, or the end of a move. */
function release(dx, dy, place, pointerType) {
  if (Math.hypot(dx, dy) < TAP) {
    select(objectAt(...camera.toImage(...place)));
  } else if (pointerType === "touch" && camera.isFit && Math.abs(dx) > SWIPE && Math.abs(dx) > 2 * Math.abs(dy)) {
    showSlice(state.slice - Math.sign(dx));
  }
}

function pixelAt(x, y) {
  const [column, row] = [Math.floor(x), Math.floor(y)];
  const isInside = column >= 0 && row >= 0 && column < page.width && row < page.height;
  return isInside ? row * page.width + column : -1;
}

function objectAt(x, y) {
  return objects?.kept[objects.labels[pixelAt(x, y)] - 1];
}

function showReadout(place) {
  const [x, y] = place ? camera.toImage(...place) : [-1, -1];
  const i = pixelAt(x, y);
  el("readout").textContent = i < 0 || !slice ? ""
    : `x ${centre(Math.floor(x))}, y ${centre(Math.floor(y))}, probability ${probabilityOf(slice.level[i]).toFixed(2)}`;
}

/* Keys. */

const KEYS = {
  ArrowLeft: () => showSlice(state.slice - 1),
  ArrowRight: () => showSlice(state.slice + 1),
  "[": () => setThreshold(state.threshold - 1),
  "]": () => setThreshold(state.threshold + 1),
  n: () => stepObject(1),
  p: () => stepObject(-1),
  o: () => {
    const kinds = Object.keys(OVERLAYS);
    setOverlay(kinds[(kinds.indexOf(state.overlay) + 1) % kinds.length]);
  },
  r: () => setShown("reference", !state.reference),
  m: () => setShown("marks", !state.marks),
  "+": () => { camera.zoomBy(1.5); draw(); },
  "=": () => { camera.zoomBy(1.5); draw(); },
  "-": () => { camera.zoomBy(1 / 1.5); draw(); },
  0: () => { camera.fit(); draw(); },
  Escape: () => select(null),
};
const MOVES = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] };

function connectKeys() {
  document.addEventListener("keydown", (event) => {
    const isTyping = event.target.matches("input:not([type=checkbox]), select");
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey || !slice) return;
    if (event.shiftKey && MOVES[event.key]) {
      camera.move(...MOVES[event.key]);
      draw();
    } else if (KEYS[event.key]) {
      KEYS[event.key]();
    } else {
      return;
    }
    event.preventDefault();
  });
}

/* What this page is of. */

function describe() {
  const [height, width] = [page.height, page.width].map((side) => side * page.factor);
  const reduced = page.factor > 1 ? `, reduced ${page.factor} times` : "";
  const shown = page.slices.length;
  const some = shown < page.nSlices ? `${shown} of ${page.nSlices} slices` : counted(shown, "slice");
  el("summary").textContent = `${some}, ${width} × ${height} px${reduced}`;
  const about = [
    `Probabilities are held in steps of ${1 / page.levels}. At these thresholds mask and objects are those of the `
      + `${page.factor > 1 ? "reduced" : "exact"} map; the mean probability of an object is within ${0.5 / page.levels}.`,
    "Objects are 8-connected components of a slice, numbered by their first pixel, row by row.",
  ];
  if (page.curves.length) about.push(`Metrics, splits and mergers are those of ${page.nSlices > 1 ? `all ${page.nSlices} slices` : "the image"} at full resolution; between the dots of a curve nothing was measured.`);
  if (page.factor > 1) about.push(`Every pixel here is the mean of ${page.factor} × ${page.factor} px.`);
  if (shown < page.nWanted) about.push(`Of ${page.nWanted} slices ${shown} are shown, to keep this file small.`);
  if (page.border) about.push(`Objects that lie wholly within ${page.border * page.factor} px of the border are left out.`);
  if (page.remark) about.push(page.remark);
  el("about").replaceChildren(...about.map((text) => Object.assign(document.createElement("p"), { textContent: text })));
  el("scores").hidden = !page.scores.length;
  el("scores").textContent = page.scores.map((s) => `${s.title} ${s.value.toFixed(4)}`).join(", ");
}

const isTooOld = !(window.DecompressionStream && window.OffscreenCanvas);
describe();
if (isTooOld) el("summary").textContent = "This browser is too old for this page: it needs one of 2023 or later.";
connectControls();
connectPlots();
connectPointer();
connectKeys();
setOverlay(state.overlay);
setMetric(state.metric);
new ResizeObserver(() => {
  if (!slice) return;
  camera.stayInside();
  drawPlots();
  draw();
}).observe(el("frame"));
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => slice && paint());
if (!isTooOld) showSlice(0);
