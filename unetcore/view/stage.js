// The image: which part of it is seen, and how it is drawn.

const VIRIDIS = ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725"];
const FILLS = ["#77aadd", "#ee8866", "#eedd88", "#ffaabb", "#44bb99", "#bbcc33", "#99ddff", "#aaaa00"];
const CASING = "rgb(0 0 0 / 55%)";
const MOST_ZOOM = 40; // CSS px per px
const FIT_MARGIN = 0.98;
const RIGHT = 1;
const BELOW = 2;
const IGNORED = 4;

/** Red, green and blue of a colour such as "#0072b2". */
function rgbOf(hex) {
  return [1, 3, 5].map((start) => parseInt(hex.slice(start, start + 2), 16));
}

/** An opaque colour as the number that the four bytes of a pixel are. */
function pixelOf([red, green, blue]) {
  return ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

/** A colour for each level, between the given ones. */
function ramp(colours, n) {
  const ends = colours.map(rgbOf);
  return Array.from({ length: n + 1 }, (_, level) => {
    const place = (level / n) * (ends.length - 1);
    const low = Math.min(Math.floor(place), ends.length - 2);
    return ends[low].map((value, c) => Math.round(value + (place - low) * (ends[low + 1][c] - value)));
  });
}

/** Canvas of one px per px, of which `colour(i)` gives the pixel, 0 for none. */
function layerOf(colour) {
  const { width, height } = page;
  const canvas = new OffscreenCanvas(width, height);
  const image = new ImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < pixels.length; i++) pixels[i] = colour(i);
  canvas.getContext("2d").putImageData(image, 0, 0);
  return canvas;
}

function imageLayer({ image }) {
  const area = page.width * page.height;
  const greys = Array.from({ length: 256 }, (_, grey) => pixelOf([grey, grey, grey]));
  if (image.length === area) return layerOf((i) => greys[image[i]]);
  return layerOf((i) => pixelOf([image[i], image[i + area], image[i + 2 * area]]));
}

function overlayLayer(slice, kind, objects, threshold) {
  const { level } = slice;
  if (kind === "probability") {
    const colours = ramp(VIRIDIS, page.levels).map(pixelOf);
    return layerOf((i) => colours[level[i]]);
  }
  if (kind === "mask") {
    const colour = pixelOf(rgbOf(styled("--mask")));
    return layerOf((i) => (level[i] > threshold ? colour : 0));
  }
  const fills = [0, ...neighboursDiffer(objects).map((fill) => pixelOf(rgbOf(FILLS[fill])))];
  return layerOf((i) => fills[objects.labels[i]]);
}

/** Number of a fill for each object: the least used one that no neighbour before it has. */
function neighboursDiffer({ labels, kept }) {
  const near = neighbours(labels, kept.length);
  const used = new Array(FILLS.length).fill(0);
  const chosen = [];
  kept.forEach((object, k) => {
    const taken = new Set([...near[k]].map((other) => chosen[other]));
    const free = used.map((_, fill) => fill).filter((fill) => !taken.has(fill));
    const fill = (free.length ? free : used.map((_, f) => f)).reduce((a, b) => (used[b] < used[a] ? b : a));
    used[fill]++;
    chosen.push(fill);
  });
  return chosen;
}

const REACH = [2, 6, 12]; // px, at which another object is a neighbour

/** For each object the ones beside or below it, and the other way round. */
function neighbours(labels, count) {
  const { width, height } = page;
  const near = Array.from({ length: count }, () => new Set());
  const meet = (a, b) => {
    if (!a || !b || a === b) return;
    near[a - 1].add(b - 1);
    near[b - 1].add(a - 1);
  };
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (!labels[i]) continue;
      for (const by of REACH) {
        if (x + by < width) meet(labels[i], labels[i + by]);
        if (y + by < height) meet(labels[i], labels[i + by * width]);
      }
    }
  }
  return near;
}

/** Value of a variable of the style sheet. */
function styled(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Sides of pixels where objects end, as lines: `isEnd` tells of two neighbours. */
function edgesOf(width, height, endsRight, endsBelow) {
  const path = new Path2D();
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i++) {
      if (endsRight(i, x)) { path.moveTo(x + 1, y); path.lineTo(x + 1, y + 1); }
      if (endsBelow(i, y)) { path.moveTo(x, y + 1); path.lineTo(x + 1, y + 1); }
    }
  }
  return path;
}

function referenceEdges(bits) {
  return edgesOf(page.width, page.height, (i) => bits[i] & RIGHT, (i) => bits[i] & BELOW);
}

/** Outline of one object, also where it meets the border of the image. */
function outlineOf(labels, object) {
  const { width, height } = page;
  const path = new Path2D();
  const isOut = (x, y) => x < 0 || y < 0 || x >= width || y >= height
    || labels[y * width + x] !== labels[object.seed];
  for (let y = object.top; y <= object.bottom; y++) {
    for (let x = object.left; x <= object.right; x++) {
      if (isOut(x, y)) continue;
      if (isOut(x - 1, y)) { path.moveTo(x, y); path.lineTo(x, y + 1); }
      if (isOut(x + 1, y)) { path.moveTo(x + 1, y); path.lineTo(x + 1, y + 1); }
      if (isOut(x, y - 1)) { path.moveTo(x, y); path.lineTo(x + 1, y); }
      if (isOut(x, y + 1)) { path.moveTo(x, y + 1); path.lineTo(x + 1, y + 1); }
    }
  }
  return path;
}

/** The part of the image that is seen: its middle, in px, and CSS px per px. */
class Camera {
  constructor(canvas) {
    this.canvas = canvas;
    this.isFit = true;
  }

  get size() {
    return [this.canvas.clientWidth, this.canvas.clientHeight];
  }

  get fitZoom() {
    const [w, h] = this.size;
    return FIT_MARGIN * Math.min(w / page.width, h / page.height);
  }

  fit() {
    this.isFit = true;
    this.zoom = this.fitZoom;
    [this.x, this.y] = [page.width / 2, page.height / 2];
  }

  /** CSS px on the canvas of a place in the image, and the other way round. */
  toScreen(x, y) {
    const [w, h] = this.size;
    return [w / 2 + (x - this.x) * this.zoom, h / 2 + (y - this.y) * this.zoom];
  }

  toImage(left, top) {
    const [w, h] = this.size;
    return [this.x + (left - w / 2) / this.zoom, this.y + (top - h / 2) / this.zoom];
  }

  /** Zoom by a factor; what lies at a place of the canvas stays there. */
  zoomBy(factor, left = this.size[0] / 2, top = this.size[1] / 2) {
    const [x, y] = this.toImage(left, top);
    const zoom = Math.min(Math.max(this.zoom * factor, this.fitZoom), MOST_ZOOM);
    this.x = x - ((x - this.x) * this.zoom) / zoom;
    this.y = y - ((y - this.y) * this.zoom) / zoom;
    this.zoom = zoom;
    this.isFit = zoom <= this.fitZoom * 1.001;
    this.stayInside();
  }

  move(left, top) {
    this.x -= left / this.zoom;
    this.y -= top / this.zoom;
    this.stayInside();
  }

  lookAt(x, y, zoom) {
    [this.x, this.y] = [x, y];
    this.zoom = Math.min(Math.max(zoom, this.fitZoom), MOST_ZOOM);
    this.isFit = false;
    this.stayInside();
  }

  stayInside() {
    if (this.isFit) { this.fit(); return; }
    const within = (middle, seen, side) => (seen >= side
      ? side / 2 : Math.min(Math.max(middle, seen / 2), side - seen / 2));
    const [w, h] = this.size;
    this.x = within(this.x, w / this.zoom, page.width);
    this.y = within(this.y, h / this.zoom, page.height);
  }
}

/** Draw everything: layers, lines, marks. */
function drawStage(canvas, camera, scene) {
  const ratio = window.devicePixelRatio || 1;
  const [w, h] = camera.size;
  if (canvas.width !== Math.round(w * ratio) || canvas.height !== Math.round(h * ratio)) {
    canvas.width = Math.round(w * ratio);
    canvas.height = Math.round(h * ratio);
  }
  const context = canvas.getContext("2d");
  const [left, top] = camera.toScreen(0, 0);
  const scale = camera.zoom * ratio;
  const place = () => context.setTransform(scale, 0, 0, scale, left * ratio, top * ratio);
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.clearRect(0, 0, canvas.width, canvas.height);
  place();
  context.imageSmoothingEnabled = scale < 2;
  context.imageSmoothingQuality = "high";
  context.drawImage(scene.image, 0, 0);
  if (scene.overlay) {
    context.globalAlpha = scene.opacity;
    context.drawImage(scene.overlay, 0, 0);
    context.globalAlpha = 1;
  }
  if (scene.ignored) context.drawImage(scene.ignored, 0, 0);
  if (scene.reference) strokeCased(context, scene.reference, styled("--reference"), lineWidth(camera, 1.4));
  if (scene.selected) strokeCased(context, scene.selected, "#ffffff", lineWidth(camera, 2.6));
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  for (const mark of scene.marks) drawMark(context, camera, mark);
}

/** Width, in px of the image, of a line that is that wide on the screen, or thinner from afar. */
function lineWidth(camera, widest) {
  return Math.min(widest / camera.zoom, Math.max(0.5 * widest, 0.35 / camera.zoom));
}

/** Stroke a path twice, so that it is seen on dark and on bright ground. */
function strokeCased(context, path, colour, width) {
  context.lineCap = "square";
  context.strokeStyle = CASING;
  context.lineWidth = 2 * width;
  context.stroke(path);
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.stroke(path);
}

/** A ring for a split, a square on its corner for a merger; parts are joined by a line. */
function drawMark(context, camera, { kind, points, isChosen }) {
  const places = points.map(([y, x]) => camera.toScreen(x + 0.5, y + 0.5));
  const path = new Path2D();
  const size = isChosen ? 11 : 8;
  for (const [x, y] of places) {
    if (kind === "splits") {
      path.moveTo(x + size, y);
      path.arc(x, y, size, 0, 2 * Math.PI);
    } else {
      path.moveTo(x + size * 1.15, y);
      for (const [dx, dy] of [[0, 1.15], [-1.15, 0], [0, -1.15], [1.15, 0]]) {
        path.lineTo(x + dx * size, y + dy * size);
      }
    }
  }
  if (isChosen) {
    for (const [x, y] of places.slice(1)) { path.moveTo(...places[0]); path.lineTo(x, y); }
  }
  context.lineJoin = "round";
  for (const [colour, width] of [["rgb(255 255 255 / 85%)", 5], [styled(kind === "splits" ? "--split" : "--merger"), 2.6]]) {
    context.strokeStyle = colour;
    context.lineWidth = isChosen ? width * 1.25 : width;
    context.stroke(path);
  }
}

/** Hatching of pixels that nobody annotated; null where there are none. */
function ignoredLayer(bits) {
  if (!bits.some((value) => value & IGNORED)) return null;
  const grey = pixelOf([150, 150, 150]);
  const isLine = (i) => ((i % page.width) + Math.floor(i / page.width)) % 6 < 2;
  return layerOf((i) => (bits[i] & IGNORED && isLine(i) ? grey : 0));
}
