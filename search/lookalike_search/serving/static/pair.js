// Shows two images over each other: blinking, or what differs as heat over the first one. Both are the
// server's thumbnails, so fine detail and the noise of their compression are not the files' own.
import { announce } from "./notice.js";
import { visit } from "./navigation.js";

const BLINK_MS = 700; // under three flashes a second
const NOISE = 16; // a difference, of 255, that compression makes by itself
const STRONG = 96;
const MODES = { 1: "side", 2: "blink", 3: "heat" };

export function startPair(main, pair, marks) {
  const images = [...pair.querySelectorAll(".side img")];
  const view = images.length === 2 ? new PairView(pair, images) : null;
  const press = event => pressKey(event, main, marks, view);
  document.addEventListener("keydown", press);
  return () => {
    document.removeEventListener("keydown", press);
    view?.stop();
  };
}

function pressKey(event, main, marks, view) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input:not([type=radio]), select")) return;
  const key = event.key.toLowerCase();
  const link = main.querySelector({ n: "[data-after]", p: "[data-before]" }[key] ?? ":not(*)");
  const mark = { k: "keep", d: "drop" }[key];
  if (link) visit(link.href);
  else if (mark) marks.mark(focusedField(marks), mark);
  else if (MODES[key] && view) view.show(MODES[key]);
  else return;
  event.preventDefault();
}

function focusedField(marks) {
  return marks.fields.find(field => field.closest("figure").contains(document.activeElement)) ?? marks.fields[1];
}

class PairView {
  constructor(pair, images) {
    this.pair = pair;
    this.images = images;
    this.canvas = pair.querySelector("[data-canvas]");
    this.drawn = pair.querySelector("[data-drawn]");
    this.said = pair.querySelector("[data-said]");
    this.buttons = [...pair.querySelectorAll("[data-views] button")];
    pair.querySelector("[data-views]").hidden = false;
    for (const button of this.buttons) {
      button.addEventListener("click", () => this.show(button.dataset.view));
    }
  }

  async show(mode) {
    this.stop();
    this.mode = mode;
    for (const button of this.buttons) button.setAttribute("aria-pressed", String(button.dataset.view === mode));
    if (mode === "side") {
      this.drawn.hidden = true;
      announce("Side by side");
      return;
    }
    try {
      await Promise.all(this.images.map(image => { image.loading = "eager"; return image.decode(); }));
    } catch {
      announce("An image cannot be shown, so there is nothing to compare");
      return;
    }
    if (this.mode !== mode) return;
    this.drawn.hidden = false;
    this.said.textContent = mode === "heat" ? this.drawHeat() : this.startBlinking();
    announce(this.said.textContent);
  }

  stop() {
    clearInterval(this.timer);
  }

  // Alternates; who asked for less motion changes the image by pressing again.
  startBlinking() {
    const isStill = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.shown = isStill && this.shown === 0 ? 1 : 0;
    this.drawOne(this.shown);
    if (!isStill) {
      this.timer = setInterval(() => this.drawOne(this.shown = 1 - this.shown), BLINK_MS);
      return "The two images in turn, the first one first. Side by side ends it.";
    }
    return `The ${this.shown ? "other" : "first"} image; press Blink again for the other one.`;
  }

  drawOne(place) {
    const { context, width, height } = this.prepare();
    context.drawImage(this.images[place], 0, 0, width, height);
  }

  // Both are drawn at the size of the first: the same image in another size lies over it.
  prepare() {
    const { naturalWidth: width, naturalHeight: height } = this.images[0];
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    return { context: this.canvas.getContext("2d", { willReadFrequently: true }), width, height };
  }

  pixelsOf(place) {
    const { context, width, height } = this.prepare();
    context.clearRect(0, 0, width, height);
    context.drawImage(this.images[place], 0, 0, width, height);
    return context.getImageData(0, 0, width, height);
  }

  drawHeat() {
    const first = this.pixelsOf(0), other = this.pixelsOf(1);
    const differing = heatOver(first.data, other.data);
    this.prepare().context.putImageData(first, 0, 0);
    this.canvas.setAttribute("aria-label", "The first image in grey, with what differs in orange");
    const share = 100 * differing / (first.data.length / 4);
    const text = differing === 0 ? "Nothing differs visibly" : `${share < 0.1 ? "Less than 0.1" : share.toFixed(1)} % of the area differs visibly, drawn in orange`;
    return `${text}; compared on thumbnails of up to 1,024 pixels.`;
  }
}

// Turns the pixels of the first image into faint grey with the difference over it; returns how many differ.
export function heatOver(first, other) {
  let differing = 0;
  for (let at = 0; at < first.length; at += 4) {
    const [r, g, b] = [first[at], first[at + 1], first[at + 2]];
    const difference = Math.max(Math.abs(r - other[at]), Math.abs(g - other[at + 1]), Math.abs(b - other[at + 2]));
    const heat = Math.min(1, Math.max(0, (difference - NOISE) / (STRONG - NOISE)));
    const grey = 110 + 0.5 * (0.299 * r + 0.587 * g + 0.114 * b);
    if (heat) differing += 1;
    const strength = heat ? 0.35 + 0.65 * heat : 0;
    first[at] = grey + strength * (224 - grey);
    first[at + 1] = grey + strength * (72 - grey);
    first[at + 2] = grey + strength * (0 - grey);
    first[at + 3] = 255;
  }
  return differing;
}
