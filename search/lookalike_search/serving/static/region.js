// Lets a part of the image be chosen: by a rectangle that is drawn with the pointer, or with the arrow keys.
import { announce } from "./notice.js";

const SVG = "http://www.w3.org/2000/svg";
const STEP = 2; // per cent of the image
const LEAST = 2;

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const round = value => Math.round(value * 10) / 10;

// `form` has the field that the rectangle fills, in per cent, and that asks.
export function startRegion(frame, form, listen) {
  const field = form.elements.region;
  const svg = frame.querySelector("svg");
  let box = read(field.value) ?? fromDrawn(svg);
  let from = null;

  frame.tabIndex = 0;
  frame.setAttribute("role", "application");
  frame.setAttribute("aria-label", "Choose a part of the image: arrow keys move a rectangle, Shift with them resizes it, Enter asks with it, Escape removes it");

  const show = next => {
    box = next;
    draw(svg, box);
    field.value = box ? box.map(value => `${round(value)}%`).join(",") : "";
  };
  const at = event => {
    const place = frame.getBoundingClientRect();
    return [
      clamp(100 * (event.clientX - place.left) / place.width, 0, 100),
      clamp(100 * (event.clientY - place.top) / place.height, 0, 100),
    ];
  };
  const submit = () => {
    if (form.reportValidity()) form.requestSubmit();
  };

  listen(frame, "pointerdown", event => {
    if (event.button || (event.pointerType === "touch" && !event.isPrimary)) return;
    from = at(event);
    frame.setPointerCapture(event.pointerId);
  });
  listen(frame, "pointermove", event => {
    if (!from) return;
    const to = at(event);
    const size = [Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1])];
    if (Math.max(...size) >= LEAST) show([Math.min(from[0], to[0]), Math.min(from[1], to[1]), ...size]);
  });
  listen(frame, "pointerup", event => {
    if (!from) return;
    const to = at(event);
    const isDrawn = Math.min(Math.abs(to[0] - from[0]), Math.abs(to[1] - from[1])) >= LEAST;
    from = null;
    if (isDrawn) submit();
    else if (box && !frame.dataset.asked) show(null);
  });
  listen(frame, "pointercancel", () => { from = null; });
  listen(frame, "keydown", event => {
    if (event.key === "Enter" && box) {
      event.preventDefault();
      submit();
      return;
    }
    if (event.key === "Escape") {
      show(null);
      announce("No part is chosen");
      return;
    }
    const [x, y] = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] }[event.key] ?? [0, 0];
    if (!x && !y) return;
    event.preventDefault();
    const [left, top, width, height] = box ?? [25, 25, 50, 50];
    if (!box) show([left, top, width, height]);
    else if (event.shiftKey) show([left, top, clamp(width + x, LEAST, 100 - left), clamp(height + y, LEAST, 100 - top)]);
    else show([clamp(left + x, 0, 100 - width), clamp(top + y, 0, 100 - height), width, height]);
    announce(`Left ${round(box[0])}, top ${round(box[1])}, width ${round(box[2])}, height ${round(box[3])} per cent`);
  });
}

function read(text) {
  const parts = text.split(",").map(part => part.trim());
  if (parts.length !== 4 || !parts.every(part => part.endsWith("%"))) return null;
  const numbers = parts.map(part => Number(part.slice(0, -1)));
  return numbers.every(Number.isFinite) ? numbers : null;
}

// The part that the server drew, which may have been given in pixels.
function fromDrawn(svg) {
  const part = svg.querySelector(".part");
  if (!part) return null;
  const { width, height } = svg.viewBox.baseVal;
  const of = (name, side) => 100 * part[name].baseVal.value / side;
  return [of("x", width), of("y", height), of("width", width), of("height", height)];
}

function draw(svg, box) {
  svg.replaceChildren();
  svg.setAttribute("viewBox", "0 0 100 100");
  if (!box) return;
  const [x, y, width, height] = box;
  const outside = document.createElementNS(SVG, "path");
  outside.setAttribute("class", "outside");
  outside.setAttribute("fill-rule", "evenodd");
  outside.setAttribute("d", `M0 0H100V100H0ZM${x} ${y}v${height}h${width}v-${height}Z`);
  const part = document.createElementNS(SVG, "rect");
  part.setAttribute("class", "part");
  for (const [name, value] of Object.entries({ x, y, width, height })) part.setAttribute(name, value);
  svg.append(outside, part);
}
