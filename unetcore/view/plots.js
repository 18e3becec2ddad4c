// Two small plots: a metric by threshold, and how large the objects are.

const PLOT = { left: 48, right: 12, top: 22, bottom: 36 };

function svg(name, attributes, text) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
}

/** Empty a plot and size it to what it has; returns where its axes lie. */
function startPlot(plot, height) {
  const width = Math.max(plot.clientWidth, 200);
  plot.setAttribute("viewBox", `0 0 ${width} ${height}`);
  plot.replaceChildren();
  return { x0: PLOT.left, x1: width - PLOT.right, y0: height - PLOT.bottom, y1: PLOT.top };
}

/** A round number that is not below a value: 1, 2 or 5 times a power of ten. */
function roundAbove(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((n) => n * power).find((n) => n >= value * 0.999);
}

function short(value) {
  return value > 0 && value < 0.001 ? value.toExponential(0) : String(Number(value.toPrecision(3)));
}

/** A metric with as many digits as tell two apart. */
function metricText(value) {
  if (value >= 0.01 || value === 0) return value.toFixed(4);
  return value >= 0.0001 ? value.toFixed(6) : value.toExponential(2);
}

/** Values as heights of 0 to 1: linear, or by decades where they differ much; with its ticks. */
function scaleOf(curve) {
  const positive = curve.values.filter((value) => value > 0);
  const [low, high] = [Math.min(...positive, 1), Math.max(...curve.values, 1e-9)];
  if (curve.isError && high / low > 20) {
    const first = Math.floor(Math.log10(low));
    const last = Math.ceil(Math.log10(high) - 1e-9);
    const ticks = Array.from({ length: last - first + 1 }, (_, i) => 10 ** (first + i));
    const height = (value) => Math.max(0, (Math.log10(value) - first) / (last - first));
    return { height, ticks, isLog: true };
  }
  const top = curve.isError ? roundAbove(high) : 1;
  return { height: (value) => value / top, ticks: [0, top / 2, top], isLog: false };
}

/** Metric by threshold; returns the function that turns a place in the plot into a threshold. */
function drawCurve(plot, curve, threshold) {
  const box = startPlot(plot, 166);
  const scale = scaleOf(curve);
  const x = (t) => box.x0 + t * (box.x1 - box.x0);
  const y = (value) => box.y0 - scale.height(value) * (box.y0 - box.y1);
  drawAxes(plot, box, x, y, scale.ticks);
  const points = curve.thresholds.map((t, i) => [x(t), y(curve.values[i])]);
  plot.append(svg("polyline", { class: "line", points: points.map((p) => p.join(",")).join(" ") }));
  points.forEach(([cx, cy]) => plot.append(svg("circle", { class: "dot", cx, cy, r: 2.6 })));
  plot.append(svg("circle", { class: "best", cx: x(curve.threshold), cy: y(curve.value), r: 5.5 }));
  drawNow(plot, box, curve, x(threshold), threshold);
  plot.setAttribute("aria-label", `${curve.title} by threshold, ${curve.isError ? "0" : "1"} is best: `
    + `${metricText(curve.value)} at ${curve.threshold.toFixed(2)} is its best; now ${threshold.toFixed(3)}`);
  return (left) => (left - box.x0) / (box.x1 - box.x0);
}

/** The threshold of now, and what was measured there. */
function drawNow(plot, box, curve, x, threshold) {
  plot.append(svg("line", { class: "now", x1: x, x2: x, y1: box.y1 - 18, y2: box.y0 }));
  plot.append(svg("path", { class: "handle", d: `M${x} ${box.y0}l5 7h-10z` }));
  const measured = curve.thresholds.findIndex((t) => Math.abs(t - threshold) < 1e-6);
  if (measured < 0) return;
  const isLeft = x > (box.x0 + box.x1) / 2;
  plot.append(svg("text", { x: x + (isLeft ? -6 : 6), y: box.y1 - 9, "text-anchor": isLeft ? "end" : "start", class: "strong" },
    metricText(curve.values[measured])));
}

function drawAxes(plot, box, x, y, ticks) {
  for (const value of ticks) {
    plot.append(svg("line", { class: "axis", x1: box.x0, x2: box.x1, y1: y(value), y2: y(value) }));
    plot.append(svg("text", { x: box.x0 - 7, y: y(value) + 4, "text-anchor": "end" }, short(value)));
  }
  for (const value of [0, 0.25, 0.5, 0.75, 1]) {
    plot.append(svg("text", { x: x(value), y: box.y0 + 19, "text-anchor": "middle" }, short(value)));
  }
  plot.append(svg("text", { x: (box.x0 + box.x1) / 2, y: box.y0 + 33, "text-anchor": "middle" },
    "Threshold on the probability"));
}

const AREA_BINS = 36;

/** Histogram of areas; returns the function that turns a place in the plot into an area in px. */
function drawAreas(plot, objects, smallest, chosen) {
  const box = startPlot(plot, 100);
  const areas = (list) => list.map((o) => o.pixels * page.factor ** 2);
  const kept = areas(objects.kept);
  const leftOut = areas(objects.leftOut);
  const last = Math.log10(Math.max(100, smallest * 1.5, largestOf(kept), largestOf(leftOut)) * 1.1);
  box.x0 = 4;
  const x = (area) => box.x0 + (Math.log10(Math.max(area, 1)) / last) * (box.x1 - box.x0);
  const width = (box.x1 - box.x0) / AREA_BINS;
  const bin = (area) => Math.min(Math.floor((x(area) - box.x0) / width), AREA_BINS - 1);
  const counts = (list) => list.reduce((n, area) => (n[bin(area)]++, n), new Array(AREA_BINS).fill(0));
  const [below, above] = [counts(leftOut), counts(kept)];
  const most = Math.max(1, ...below.map((n, i) => n + above[i]));
  const unit = (box.y0 - box.y1) / most;
  const bar = (i, from, n, kind) => n && plot.append(svg("rect", {
    class: kind, x: box.x0 + i * width + 0.5, width: width - 1, y: box.y0 - (from + n) * unit, height: n * unit, rx: 1 }));
  above.forEach((n, i) => { bar(i, 0, n, "kept"); bar(i, n, below[i], "out"); });
  plot.append(svg("line", { class: "axis", x1: box.x0, x2: box.x1, y1: box.y0, y2: box.y0 }));
  if (smallest > 0) plot.append(svg("line", { class: "limit", x1: x(smallest), x2: x(smallest), y1: box.y1 - 6, y2: box.y0 }));
  if (chosen) {
    const at = x(chosen.pixels * page.factor ** 2);
    plot.append(svg("path", { class: "chosen", d: `M${at} ${box.y0}l5 7h-10z` }));
  }
  for (let power = 0; power <= last; power++) {
    const attributes = { x: x(10 ** power), y: box.y0 + 19, "text-anchor": power ? "middle" : "start" };
    plot.append(svg("text", attributes, (10 ** power).toLocaleString("en")));
  }
  plot.append(svg("text", { x: box.x1, y: 10, "text-anchor": "end" }, `${most} in the highest bar`));
  plot.append(svg("text", { x: (box.x0 + box.x1) / 2, y: box.y0 + 33, "text-anchor": "middle" }, "Area (px)"));
  plot.setAttribute("aria-label", `Areas of ${kept.length} objects and of ${leftOut.length} that are left out`);
  return (left) => 10 ** (((left - box.x0) / (box.x1 - box.x0)) * last);
}
