"use strict";
// Markers show their image where they are pointed at, or gone to by keyboard; the map can be moved and zoomed.
const stage = document.querySelector("[data-stage]");
const map = document.querySelector("[data-map]");
const markers = [...map.querySelectorAll("use")];
const places = markers.map(marker => [marker.x.baseVal.value, marker.y.baseVal.value]);
const whole = map.viewBox.baseVal;
const full = { x: whole.x, y: whole.y, width: whole.width, height: whole.height };
let view = { ...full }, at = -1, halo = null;

for (const title of map.querySelectorAll("use > title")) {
  title.parentNode.setAttribute("aria-label", title.textContent);
  title.remove(); // the card below says it, with the image
}
const near = document.createElement("div");
near.className = "card near";
near.hidden = true;
near.innerHTML = '<img alt=""><strong></strong><br><span class="path"></span>';
stage.append(near);
const heard = document.createElement("p");
heard.className = "hidden";
heard.setAttribute("role", "status");
stage.after(heard);
const tools = document.createElement("div");
tools.className = "tools";
tools.innerHTML = '<button type="button" aria-label="Zoom in">+</button><button type="button" aria-label="Zoom out">&minus;</button><button type="button">Whole map</button><span class="faint">Point at a mark, or go to the map with Tab and on with the arrow keys; + and - zoom.</span>';
stage.after(tools);

const isShown = i => markers[i].getClientRects().length > 0;
function show(i) {
  hide();
  at = i;
  const item = document.getElementById(`p${markers[i].dataset.n}`);
  const image = item.querySelector("img"), shown = near.querySelector("img");
  shown.hidden = !image;
  if (image) shown.src = image.src; else shown.removeAttribute("src");
  near.querySelector("strong").textContent = item.dataset.class;
  near.querySelector(".path").textContent = item.querySelector(".path").textContent;
  near.hidden = false;
  halo = document.createElementNS("http://www.w3.org/2000/svg", "g");
  halo.setAttribute("transform", `translate(${places[i]})`);
  halo.innerHTML = '<circle class="halo" r="10"/>';
  map.append(halo);
  const box = markers[i].getBoundingClientRect(), frame = stage.getBoundingClientRect();
  const middle = box.left + box.width / 2 - frame.left;
  const left = Math.min(Math.max(4, middle - near.offsetWidth / 2), frame.width - near.offsetWidth - 4);
  const below = box.bottom - frame.top + 10, above = box.top - frame.top - near.offsetHeight - 10;
  near.style.left = `${left}px`;
  near.style.top = `${above >= 4 ? above : Math.min(below, frame.height - near.offsetHeight - 4)}px`;
}
function hide() {
  near.hidden = true;
  if (halo) halo.remove();
  halo = null;
}
function look(next) {
  const width = Math.min(full.width, Math.max(full.width / 40, next.width));
  const height = width * full.height / full.width;
  const x = Math.min(Math.max(full.x, next.x), full.x + full.width - width);
  const y = Math.min(Math.max(full.y, next.y), full.y + full.height - height);
  view = { x, y, width, height };
  map.setAttribute("viewBox", `${x} ${y} ${width} ${height}`);
  map.style.setProperty("--k", Math.pow(width / full.width, 0.85));
  stage.classList.toggle("zoomed", width < full.width);
  if (!near.hidden) isInView(at) ? show(at) : hide();
}
function zoom(factor, x = view.x + view.width / 2, y = view.y + view.height / 2) {
  const width = Math.min(full.width, view.width / factor), ratio = width / view.width;
  look({ x: x - (x - view.x) * ratio, y: y - (y - view.y) * ratio, width });
}
const middle = () => near.hidden ? [] : places[at]; // what is shown stays where it is
function inMap(event) {
  const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(map.getScreenCTM().inverse());
  return [point.x, point.y];
}
function nearest(x, y, allowed = () => true) {
  let best = -1, least = Infinity;
  places.forEach(([px, py], i) => {
    const distance = (px - x) ** 2 + (py - y) ** 2;
    if (distance < least && allowed(i) && isShown(i)) { least = distance; best = i; }
  });
  return best;
}
const ways = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
function neighbour([dx, dy]) { // the nearest within 45 degrees of the way
  const [x, y] = places[at];
  return nearest(x, y, i => {
    const ahead = (places[i][0] - x) * dx + (places[i][1] - y) * dy;
    const aside = Math.abs((places[i][0] - x) * dy) + Math.abs((places[i][1] - y) * dx);
    return i !== at && ahead > 0 && ahead >= aside;
  });
}
function isInView(i) {
  const [x, y] = places[i];
  return x >= view.x && y >= view.y && x <= view.x + view.width && y <= view.y + view.height;
}
function go(i) {
  if (i < 0) return;
  const [x, y] = places[i];
  if (!isInView(i)) look({ x: x - view.width / 2, y: y - view.height / 2, width: view.width });
  show(i);
  heard.textContent = markers[i].getAttribute("aria-label");
}
map.setAttribute("tabindex", "0");
map.addEventListener("focus", () => { if (map.matches(":focus-visible")) go(at >= 0 && isShown(at) ? at : nearest(view.x + view.width / 2, view.y + view.height / 2)); });
map.addEventListener("blur", hide);
map.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (ways[event.key]) go(at < 0 ? nearest(view.x + view.width / 2, view.y + view.height / 2) : neighbour(ways[event.key]));
  else if (event.key === "+" || event.key === "=") zoom(1.5, ...middle());
  else if (event.key === "-") zoom(1 / 1.5, ...middle());
  else if (event.key === "0") look(full);
  else if (event.key === "Escape") hide();
  else return;
  event.preventDefault();
});
markers.forEach((marker, i) => marker.addEventListener("pointerenter", () => show(i)));
map.addEventListener("pointerover", event => { if (!event.target.closest("use")) hide(); });
map.addEventListener("pointerleave", hide);
map.addEventListener("wheel", event => {
  if (!event.ctrlKey && !stage.classList.contains("zoomed")) return; // a page that is scrolled goes on scrolling
  event.preventDefault();
  zoom(Math.exp(-event.deltaY / 300), ...inMap(event));
}, { passive: false });
let held = null;
map.addEventListener("pointerdown", event => { if (stage.classList.contains("zoomed")) { held = inMap(event); map.setPointerCapture(event.pointerId); } });
map.addEventListener("pointermove", event => {
  if (!held) return;
  const [x, y] = inMap(event);
  look({ x: view.x + held[0] - x, y: view.y + held[1] - y, width: view.width });
});
map.addEventListener("pointerup", () => { held = null; });
map.addEventListener("pointercancel", () => { held = null; });
map.addEventListener("click", event => { const i = nearest(...inMap(event)); if (i >= 0 && !event.target.closest("use")) { const [x, y] = places[i], [a, b] = inMap(event); if (Math.hypot(x - a, y - b) < 20 * view.width / full.width) show(i); } });
map.addEventListener("dblclick", event => zoom(2, ...inMap(event)));
const [more, less, all] = tools.querySelectorAll("button");
more.addEventListener("click", () => zoom(1.5, ...middle()));
less.addEventListener("click", () => zoom(1 / 1.5, ...middle()));
all.addEventListener("click", () => look(full));
