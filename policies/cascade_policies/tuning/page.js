"use strict";
const points = JSON.parse(document.getElementById("points").textContent);
const told = document.getElementById("told");
const axis = document.getElementById("axis");
const W = 900, H = 460, LEFT = 60, BOTTOM = 40, TOP = 24, RIGHT = 20;
const RADIUS = { policy: 3.5, model: 6, oracle: 7, now: 7, chosen: 8 };
const WORDS = { policy: "policy", model: "one tier alone", oracle: "oracle", now: "as it is now", chosen: "chosen" };

function make(name, attributes, parent) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent.append(element);
  return element;
}

function spent(point) {
  const { mean, low, high } = estimate(axis.value === "cost" ? point.cost : point.latency);
  const times = axis.value === "cost" ? 1000 : 1;
  return { mean: times * mean, low: times * low, high: times * high };
}

function estimate([mean, low, high]) { return { mean, low, high }; }

function shown({ mean, low, high }) {
  return `${mean.toPrecision(4)} (${low.toPrecision(4)} to ${high.toPrecision(4)})`;
}

function tell(point) {
  const unit = axis.value === "cost" ? "US$ per 1,000 calls" : "seconds a call";
  told.textContent = `${WORDS[point.kind]}: ${point.name} — quality ${shown(estimate(point.quality))}, ` +
    `${unit} ${shown(spent(point))}${point.kind === "policy" && !point.tested ? ", not tested" : ""}`;
}

function draw() {
  const figure = document.getElementById("plot");
  figure.replaceChildren();
  const svg = make("svg", { viewBox: `0 0 ${W} ${H}`, role: "img" }, figure);
  const xs = points.map(spent), ys = points.map((point) => estimate(point.quality));
  const right = 1.05 * Math.max(...xs.map((x) => x.high)) || 1;
  const least = Math.min(...ys.map((y) => y.low)), most = Math.max(...ys.map((y) => y.high));
  const pad = 0.05 * (most - least) || 0.01;
  const x = (value) => LEFT + (value / right) * (W - LEFT - RIGHT);
  const y = (value) => H - BOTTOM - ((value - least + pad) / (most - least + 2 * pad)) * (H - TOP - BOTTOM);
  for (let step = 0; step <= 5; step++) {
    const across = (right * step) / 5, up = least - pad + ((most - least + 2 * pad) * step) / 5;
    make("line", { x1: LEFT, x2: W - RIGHT, y1: y(up), y2: y(up), class: "grid" }, svg);
    make("text", { x: LEFT - 6, y: y(up) + 4, "text-anchor": "end" }, svg).textContent = up.toFixed(3);
    make("text", { x: x(across), y: H - 18, "text-anchor": "middle" }, svg).textContent = across.toPrecision(3);
  }
  points.forEach((point, at) => {
    if (point.kind !== "policy") {
      make("line", { x1: x(xs[at].mean), x2: x(xs[at].mean), y1: y(ys[at].low), y2: y(ys[at].high), class: `arm ${point.kind}` }, svg);
      make("line", { x1: x(Math.max(0, xs[at].low)), x2: x(xs[at].high), y1: y(ys[at].mean), y2: y(ys[at].mean), class: `arm ${point.kind}` }, svg);
    }
    const mark = make("circle", { cx: x(xs[at].mean), cy: y(ys[at].mean), r: RADIUS[point.kind], class: `mark ${point.kind}`, tabindex: 0 }, svg);
    mark.addEventListener("pointerenter", () => tell(point));
    mark.addEventListener("focus", () => tell(point));
    if (point.kind !== "policy") {
      const name = point.kind === "model" ? point.name : WORDS[point.kind];
      make("text", { x: x(xs[at].mean) + 11, y: y(ys[at].mean) + 4 }, svg).textContent = name;
    }
  });
}

axis.addEventListener("change", draw);
draw();
