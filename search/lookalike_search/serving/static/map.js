// Makes the view `/map` livelier: follows the job that makes the map, and draws it. A worker draws the marks into
// an image that is larger than what is seen; while the map is moved that image is moved, until the next is there.
import { followJob } from "./job.js";
import { applyAtOnce } from "./job_options.js";
import { Points } from "./map_points.js";
import { visit } from "./navigation.js";
import { announce } from "./notice.js";

const DEEPEST = 60;
const STEP = 1.5;
const MARGIN = 0.25; // of the seen width and height, drawn on each side
const HIGHEST = 0.78; // of the window
const NEAR_PX = 14;
const TAP_PX = 6;
const MANY = 2000; // points beyond which marks become smaller
const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export function start(main) {
  const stops = [followJob(main, { done: "The map is there." })];
  applyAtOnce(main);
  const stage = main.querySelector("[data-stage]");
  if (stage) {
    const map = new CollectionMap(main, stage);
    map.start();
    stops.push(() => map.stop());
  }
  return () => stops.forEach(stop => stop());
}

class CollectionMap {
  constructor(main, stage) {
    this.main = main;
    this.stage = stage;
    this.canvas = stage.querySelector("canvas");
    this.full = { width: Number(stage.dataset.width), height: Number(stage.dataset.height) };
    this.classes = [...main.querySelectorAll(".legend li")].map(readClass);
    this.hidden = this.classes.map(() => false);
    this.lit = -1;
    this.at = -1;
    this.layer = null;
    this.held = new Map();
    this.leaving = new AbortController();
    this.isShown = i => !this.hidden[this.points.classes[i]];
  }

  async start() {
    const bytes = await this.fetchPoints();
    if (!bytes) return;
    this.points = new Points(bytes);
    this.worker = new Worker(new URL("./map_worker.js", import.meta.url));
    this.worker.onmessage = ({ data }) => this.takeLayer(data);
    const { x, y, classes } = this.points;
    const outlines = [...this.main.querySelectorAll("defs path")];
    this.shapes = outlines.map(outline => outline.id);
    const shapes = outlines.map(outline => outline.getAttribute("d"));
    this.worker.postMessage({ points: { x, y, classes }, shapes });
    this.canvas.hidden = false;
    this.main.querySelector("[data-tools]").hidden = false;
    this.main.querySelector("[data-legend-tools]").hidden = false;
    this.card = this.stage.appendChild(makeCard());
    this.view = { x: this.full.width / 2, y: this.full.height / 2, zoom: 1 };
    this.listen();
    this.resize();
  }

  stop() {
    this.leaving.abort();
    this.worker?.terminate();
    this.sizes?.disconnect();
  }

  async fetchPoints() {
    try {
      const response = await fetch(this.stage.dataset.points, { signal: this.leaving.signal });
      if (!response.ok) throw new Error(response.statusText);
      return await response.arrayBuffer();
    } catch {
      if (this.leaving.signal.aborted) return null;
      const said = document.createElement("p");
      said.className = "without";
      said.setAttribute("role", "alert");
      said.textContent = "The points of this map cannot be read. Reload this page, or make a new map.";
      this.stage.append(said);
      return null;
    }
  }

  // Sizes and colours.

  resize() {
    this.ratio = Math.min(2, devicePixelRatio || 1);
    this.width = this.canvas.clientWidth;
    const whole = this.width * this.full.height / this.full.width; // no higher than the map is at this width
    this.canvas.style.height = `${Math.round(Math.min(whole, HIGHEST * innerHeight))}px`;
    this.height = this.canvas.clientHeight;
    this.canvas.width = Math.round(this.width * this.ratio);
    this.canvas.height = Math.round(this.height * this.ratio);
    this.fit = Math.min(this.width / this.full.width, this.height / this.full.height);
    this.readColours();
    this.moveTo(this.view);
  }

  readColours() {
    const style = getComputedStyle(this.stage);
    const read = name => style.getPropertyValue(name).trim();
    this.colours = [];
    for (let i = 0; read(`--c${i}`); i++) this.colours.push(read(`--c${i}`));
    this.ink = read("--ink");
    this.ground = read("--card");
  }

  // The map: `view` has the place in the middle of what is seen, and how much it is enlarged.

  get scale() {
    return this.fit * this.view.zoom;
  }

  moveTo({ x, y, zoom }) {
    const near = Math.min(DEEPEST, Math.max(1, zoom)), scale = this.fit * near;
    const keep = (value, extent, seen) => {
      const half = seen / scale / 2;
      return half * 2 >= extent ? extent / 2 : Math.min(extent - half, Math.max(half, value));
    };
    this.view = { x: keep(x, this.full.width, this.width), y: keep(y, this.full.height, this.height), zoom: near };
    this.stage.classList.toggle("zoomed", near > 1);
    this.requestLayer();
    this.schedule();
  }

  // Enlarges around a place of the map, which stays where it is.
  zoomBy(factor, x = this.view.x, y = this.view.y) {
    const zoom = Math.min(DEEPEST, Math.max(1, this.view.zoom * factor)), kept = this.view.zoom / zoom;
    this.moveTo({ x: x + (this.view.x - x) * kept, y: y + (this.view.y - y) * kept, zoom });
  }

  toScreen(x, y) {
    return [(x - this.view.x) * this.scale + this.width / 2, (y - this.view.y) * this.scale + this.height / 2];
  }

  toMap(event) {
    const box = this.canvas.getBoundingClientRect();
    return [
      (event.clientX - box.left - this.width / 2) / this.scale + this.view.x,
      (event.clientY - box.top - this.height / 2) / this.scale + this.view.y,
    ];
  }

  // The marks: one image is drawn at a time, for what is seen when it begins.

  requestLayer() {
    if (this.isDrawing) {
      this.isStale = true;
      return;
    }
    this.isDrawing = true;
    this.isStale = false;
    const scale = this.scale * this.ratio, size = 1 + 2 * MARGIN;
    const width = Math.round(this.width * this.ratio * size), height = Math.round(this.height * this.ratio * size);
    const smaller = Math.max(0.35, Math.min(1, (MANY / this.points.count) ** 0.25) * Math.min(1, this.fit ** 0.3));
    this.worker.postMessage({
      look: {
        width, height, scale,
        left: this.view.x - width / scale / 2, top: this.view.y - height / scale / 2,
        radius: smaller * this.view.zoom ** 0.15 * this.ratio,
        colours: this.colours, card: this.ground, hidden: this.hidden, lit: this.lit,
        classes: this.classes.map(({ colour, shape }) => ({ colour, shape: this.shapes.indexOf(shape) })),
      },
    });
  }

  takeLayer(layer) {
    this.layer?.image.close();
    this.layer = layer;
    this.isDrawing = false;
    if (this.isStale) this.requestLayer();
    this.schedule();
  }

  schedule() {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      if (!this.leaving.signal.aborted) this.draw();
    });
  }

  draw() {
    const brush = this.canvas.getContext("2d");
    brush.setTransform(1, 0, 0, 1, 0, 0);
    brush.clearRect(0, 0, this.canvas.width, this.canvas.height);
    brush.scale(this.ratio, this.ratio);
    if (this.layer) {
      const { image, left, top, scale, width, height } = this.layer, [x, y] = this.toScreen(left, top);
      brush.drawImage(image, x, y, width / scale * this.scale, height / scale * this.scale);
    }
    this.drawNames(brush);
    if (this.at >= 0 && !this.card.hidden) this.drawHalo(brush);
    this.placeCard();
  }

  drawNames(brush) {
    brush.font = `600 ${this.width < 500 ? 12 : 15}px system-ui, "Noto Sans", "DejaVu Sans", sans-serif`;
    brush.textAlign = "center";
    brush.lineJoin = "round";
    brush.lineWidth = 4;
    brush.strokeStyle = this.ground;
    brush.fillStyle = this.ink;
    const taken = [];
    for (const { name, x, y, number } of this.named ??= largestFirst(this.classes)) {
      if (this.hidden[number] || (this.lit >= 0 && number !== this.lit)) continue;
      const [left, top] = this.toScreen(x, y), half = brush.measureText(name).width / 2 + 4;
      const box = [left - half, top - 16, left + half, top + 6];
      if (box[2] < 0 || box[0] > this.width || box[3] < 0 || box[1] > this.height || taken.some(each => overlaps(each, box))) continue;
      taken.push(box);
      brush.strokeText(name, left, top);
      brush.fillText(name, left, top);
    }
  }

  drawHalo(brush) {
    const [x, y] = this.toScreen(this.points.x[this.at], this.points.y[this.at]);
    for (const [colour, width] of [[this.ground, 5], [this.ink, 2]]) {
      brush.beginPath();
      brush.arc(x, y, 10, 0, 2 * Math.PI);
      brush.strokeStyle = colour;
      brush.lineWidth = width;
      brush.stroke();
    }
  }

  // The card of an image.

  show(i, { isTapped = false } = {}) {
    if (i < 0) return this.hide();
    this.card.classList.toggle("tapped", isTapped);
    if (i !== this.at || this.card.hidden) {
      this.at = i;
      this.fillCard(i);
    }
    this.stage.classList.add("over");
    this.schedule();
  }

  fillCard(i) {
    const id = this.points.id(i), image = this.card.querySelector("img");
    this.card.querySelector("strong").textContent = this.nameOf(i);
    this.card.querySelector(".path").textContent = this.points.path(i);
    this.card.querySelector("a").href = this.stage.dataset.ask + id;
    this.card.hidden = false;
    image.removeAttribute("src"); // the one before is not this one
    clearTimeout(this.loading);
    this.loading = setTimeout(() => { image.src = this.stage.dataset.thumbnail.replace("ID", id); }, 60);
  }

  nameOf(i) {
    return this.classes[this.points.classes[i]].name || "no class";
  }

  placeCard() {
    if (this.at < 0 || this.card.hidden) return;
    const [x, y] = this.toScreen(this.points.x[this.at], this.points.y[this.at]);
    if (x < 0 || y < 0 || x > this.width || y > this.height) return this.hide();
    const { offsetWidth: width, offsetHeight: height } = this.card;
    const isAbove = y - height - 16 >= 4;
    this.card.style.left = `${Math.min(Math.max(4, x - width / 2), this.width - width - 4)}px`;
    this.card.style.top = `${isAbove ? y - height - 16 : Math.max(4, Math.min(y + 16, this.height - height - 4))}px`;
  }

  hide() {
    this.card.hidden = true;
    this.stage.classList.remove("over");
    this.schedule();
  }

  ask(i) {
    visit(this.stage.dataset.ask + this.points.id(i));
  }

  // Keys go from image to image.

  go(i) {
    if (i < 0) return;
    const [x, y] = [this.points.x[i], this.points.y[i]], [left, top] = this.toScreen(x, y);
    if (left < 0 || top < 0 || left > this.width || top > this.height) this.moveTo({ ...this.view, x, y });
    this.show(i);
    announce(`${this.nameOf(i)}: ${this.points.path(i)}`);
  }

  goFirst() {
    const known = this.at >= 0 && this.isShown(this.at);
    this.go(known ? this.at : this.points.nearest(this.view.x, this.view.y, this.full.width, this.isShown));
  }

  press(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const around = this.at >= 0 && !this.card.hidden ? [this.points.x[this.at], this.points.y[this.at]] : [];
    if (WAYS[event.key]) {
      const isThere = this.at >= 0 && this.isShown(this.at);
      if (isThere) this.go(this.points.towards(this.at, ...WAYS[event.key], this.isShown));
      else this.goFirst();
    } else if (event.key === "Enter" && this.at >= 0) this.ask(this.at);
    else if (event.key === "+" || event.key === "=") this.zoomBy(STEP, ...around);
    else if (event.key === "-") this.zoomBy(1 / STEP, ...around);
    else if (event.key === "0") this.zoomBy(0);
    else if (event.key === "Escape") this.hide();
    else return;
    event.preventDefault();
  }

  // Pointers: one moves the map or points at an image, two enlarge it.

  pointTo(event, px = NEAR_PX) {
    return this.points.nearest(...this.toMap(event), px / this.scale, this.isShown);
  }

  down(event) {
    this.held.set(event.pointerId, event);
    this.isMoved = this.held.size > 1;
    if (event.pointerType !== "touch" || this.view.zoom > 1 || this.held.size > 1) this.canvas.setPointerCapture(event.pointerId);
  }

  move(event) {
    const before = this.held.get(event.pointerId);
    if (!before) {
      if (event.pointerType !== "touch") this.show(this.pointTo(event));
      return;
    }
    const others = [...this.held.values()].filter(each => each.pointerId !== event.pointerId);
    if (others.length) this.pinch(before, event, others[0]);
    else {
      const dx = event.clientX - before.clientX, dy = event.clientY - before.clientY;
      if (!this.isMoved && Math.hypot(dx, dy) < TAP_PX) return;
      this.stage.classList.add("held");
      this.moveTo({ ...this.view, x: this.view.x - dx / this.scale, y: this.view.y - dy / this.scale });
    }
    this.isMoved = true;
    this.held.set(event.pointerId, event);
  }

  pinch(before, now, other) {
    const apart = each => Math.hypot(each.clientX - other.clientX, each.clientY - other.clientY);
    const middle = { clientX: (now.clientX + other.clientX) / 2, clientY: (now.clientY + other.clientY) / 2 };
    this.zoomBy(apart(now) / Math.max(1, apart(before)), ...this.toMap(middle));
  }

  up(event) {
    const isClick = this.held.has(event.pointerId) && !this.isMoved && event.button === 0 && event.type === "pointerup";
    this.held.delete(event.pointerId);
    if (!this.held.size) this.stage.classList.remove("held");
    if (!isClick) return;
    const isTouch = event.pointerType === "touch", i = this.pointTo(event, isTouch ? 2 * NEAR_PX : NEAR_PX);
    if (isTouch) this.show(i, { isTapped: true });
    else if (i >= 0) this.ask(i);
  }

  wheel(event) {
    if (!event.ctrlKey && this.view.zoom <= 1) return; // a page that is scrolled goes on scrolling
    event.preventDefault();
    this.zoomBy(Math.exp(-event.deltaY / 300), ...this.toMap(event));
  }

  listen() {
    const { canvas, main } = this, signal = this.leaving.signal;
    canvas.addEventListener("keydown", event => this.press(event));
    canvas.addEventListener("focus", () => { if (canvas.matches(":focus-visible")) this.goFirst(); });
    canvas.addEventListener("blur", () => { if (!this.card.classList.contains("tapped")) this.hide(); }); // its link is for taps
    canvas.addEventListener("pointerdown", event => this.down(event));
    canvas.addEventListener("pointermove", event => this.move(event));
    canvas.addEventListener("pointerup", event => this.up(event));
    canvas.addEventListener("pointercancel", event => this.up(event));
    canvas.addEventListener("pointerleave", event => { if (event.pointerType !== "touch") this.hide(); });
    canvas.addEventListener("wheel", event => this.wheel(event), { passive: false });
    main.querySelector("[data-tools]").addEventListener("click", event => {
      const factor = { in: STEP, out: 1 / STEP, whole: 0 }[event.target.dataset.do];
      if (factor !== undefined) this.zoomBy(factor);
    });
    this.listenToLegend(main.querySelector(".legend"), main.querySelector("[data-legend-tools]"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.resize(), { signal });
    this.sizes = new ResizeObserver(() => this.resize());
    this.sizes.observe(this.canvas);
  }

  listenToLegend(legend, tools) {
    const entries = [...legend.children], boxes = entries.map(each => each.querySelector("input"));
    const update = () => {
      this.hidden = boxes.map(each => !each.checked);
      this.hide();
      this.requestLayer();
    };
    legend.addEventListener("change", update);
    tools.addEventListener("click", event => {
      if (!event.target.dataset.show) return;
      for (const box of boxes) box.checked = event.target.dataset.show === "all";
      update();
    });
    const light = entry => {
      const number = entries.indexOf(entry), lit = number >= 0 && !this.hidden[number] ? number : -1;
      if (lit === this.lit) return;
      this.lit = lit;
      this.requestLayer();
      this.schedule();
    };
    legend.addEventListener("pointerover", event => light(event.target.closest("li")));
    legend.addEventListener("pointerleave", () => light(null));
    legend.addEventListener("focusin", event => light(event.target.closest("li")));
    legend.addEventListener("focusout", () => light(null));
  }
}

function readClass(entry, number) {
  const { class: name, colour, shape, x, y, count } = entry.dataset;
  return { number, name, colour: Number(colour), shape, x: Number(x), y: Number(y), count: Number(count), isNamed: "label" in entry.dataset };
}

function largestFirst(classes) {
  return classes.filter(each => each.isNamed).sort((a, b) => b.count - a.count);
}

function overlaps(a, b) {
  return a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3];
}

function makeCard() {
  const card = document.createElement("div");
  card.className = "card near";
  card.hidden = true;
  const image = document.createElement("img");
  image.alt = "";
  const name = document.createElement("strong"), path = document.createElement("span"), ask = document.createElement("a");
  path.className = "path";
  ask.textContent = "Search with this image";
  card.append(image, name, path, ask);
  return card;
}
