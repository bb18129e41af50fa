// Makes the view `/browse` livelier: classes are found while typing, and the grid of images is as long as all of
// them, but holds only those near what is seen. The server's pages have the tiles; a few of them are kept.
import { visit } from "./navigation.js";
import { announce } from "./notice.js";

const AHEAD = 0.6; // of what is seen, above and below it
const KEPT_PAGES = 12;
const AT_ONCE = 2;
const TILES_PER_FRAME = 40; // more of them at once are a long task
const TYPING_MS = 250;

export function start(main) {
  const find = main.querySelector("#find-class");
  const list = main.querySelector("[data-tiles]");
  const stops = [find && findWhileTyping(find), list && new Tiles(main, list).start()];
  return () => stops.forEach(stop => stop?.());
}

// Takes the list of the server's page for what is typed; the field stays as it is, since typing goes on.
function findWhileTyping(field) {
  let timer = 0, request = null;
  field.addEventListener("input", () => {
    clearTimeout(timer);
    request?.abort();
    request = new AbortController();
    timer = setTimeout(showFound, TYPING_MS, field.form, request.signal);
  });
  return () => {
    clearTimeout(timer);
    request?.abort();
  };
}

async function showFound(form, signal) {
  const fields = [...new FormData(form)].filter(([, value]) => value !== "");
  const address = `${form.action}?${new URLSearchParams(fields)}`;
  try {
    const response = await fetch(address, { headers: { Accept: "text/html" }, signal });
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const found = document.adoptNode(page.querySelector("[data-found]"));
    if (signal.aborted) return;
    form.parentElement.querySelector("[data-found]").replaceWith(found);
    history.replaceState(history.state, "", address);
    announce(found.querySelector(".found").textContent);
  } catch {
    if (!signal.aborted) visit(address, { push: false, stay: true }); // which says what is wrong
  }
}

class Tiles {
  constructor(main, list) {
    this.list = list;
    this.place = main.querySelector("[data-place]");
    this.total = Number(list.dataset.total);
    this.perPage = Number(list.dataset.perPage);
    this.pages = new Map(); // number -> its tiles; the one that was used last comes last
    this.loading = new Set();
    this.wanted = [];
    this.shown = new Map(); // place -> its tile, or what stands in for it
    this.current = Number(list.dataset.offset);
    this.leaving = new AbortController();
    list.tabIndex = -1; // it takes the focus of a tile that is scrolled away
    main.querySelector("[data-turn]")?.remove();
    main.querySelector("[data-keys]").hidden = false;
  }

  start() {
    const offset = this.current;
    if (offset % this.perPage === 0) this.pages.set(offset / this.perPage, [...this.list.children]);
    this.list.replaceChildren();
    const signal = this.leaving.signal;
    addEventListener("scroll", () => this.schedule(), { passive: true, signal });
    this.list.addEventListener("keydown", event => this.move(event));
    this.list.addEventListener("focusin", event => this.setCurrent(placeOf(event.target.closest("li"))));
    const watched = new ResizeObserver(() => this.resize());
    watched.observe(this.list);
    this.measure();
    this.restore(offset);
    this.draw();
    return () => {
      watched.disconnect();
      this.leaving.abort();
    };
  }

  // Back and reload show the place that was left; an address with a place begins there.
  restore(offset) {
    const scroll = history.state?.scroll;
    if (scroll) scrollTo(0, scroll);
    else if (offset) scrollTo(0, this.top() + this.rowOf(offset) * this.step - this.place.offsetHeight);
  }

  top() {
    return this.list.getBoundingClientRect().top + scrollY;
  }

  rowOf(place) {
    return Math.floor(place / this.columns);
  }

  measure() {
    const style = getComputedStyle(this.list);
    const columns = style.gridTemplateColumns.split(" ").map(parseFloat);
    this.columns = columns.length;
    this.step = columns[0] + parseFloat(style.rowGap);
    this.width = this.list.clientWidth;
    this.rows = Math.ceil(this.total / this.columns);
    this.list.style.height = `${this.rows * this.step - parseFloat(style.rowGap)}px`;
    this.list.style.alignContent = "start";
  }

  // Another width has other rows; the image in the first of them stays there.
  resize() {
    if (this.list.clientWidth === this.width) return;
    const first = Math.max(0, this.rowOf0()) * this.columns;
    const isAbove = this.rowOf0() <= 0;
    this.measure();
    if (!isAbove) scrollTo(0, this.top() + this.rowOf(first) * this.step);
    this.draw();
  }

  rowOf0() {
    return Math.floor((scrollY - this.top()) / this.step);
  }

  schedule() {
    if (this.frame) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      if (!this.leaving.signal.aborted) this.draw();
    });
  }

  draw() {
    const { above, seen, first, rows } = this.look(), more = Math.ceil(AHEAD * seen);
    const from = Math.max(0, Math.min(above - more, this.rows - 1)) * this.columns;
    const to = Math.min(this.total, Math.max(above + seen + more + 1, seen) * this.columns);
    const middle = (above + seen / 2) * this.columns;
    this.fetchFor(from, to, middle);
    const padding = `${this.rowOf(from) * this.step}px`;
    if (this.list.style.paddingTop !== padding) this.list.style.paddingTop = padding;
    this.fill(from, to);
    if (!this.shown.has(this.current) || this.isEmpty(this.current)) this.offerFirst(from, to, above);
    this.describe(first, rows);
  }

  // Returns which rows are seen: `above` is the first, also behind the line that says which, and `first` the first
  // below it. All is asked of the browser before anything is changed, or it would lay out the page twice.
  look() {
    const top = this.top(), bar = this.place.offsetHeight, height = innerHeight, scroll = scrollY;
    const first = Math.max(0, Math.round((scroll + bar - top) / this.step));
    return {
      above: Math.floor((scroll - top) / this.step),
      seen: Math.ceil(height / this.step),
      first,
      rows: Math.max(1, Math.round((scroll + height - top) / this.step) - first),
    };
  }

  // Puts the tiles of places into the list and takes all others out, but for the one with the focus. Of many new
  // tiles some wait for the next frames.
  fill(from, to) {
    let left = TILES_PER_FRAME;
    const focused = placeOf(document.activeElement?.closest?.(".tile"));
    for (const [place, tile] of this.shown) {
      if (place >= from && place < to) continue;
      if (place === focused) this.list.focus({ preventScroll: true });
      tile.remove();
      this.shown.delete(place);
    }
    let before = this.list.firstChild;
    for (let place = from; place < to; place++) {
      const tile = this.tileOf(place), there = this.shown.get(place);
      if (there === tile || (there && tile === null)) {
        before = there.nextSibling;
        continue;
      }
      const isLater = tile !== null && left-- <= 0;
      if (isLater) this.schedule();
      if (isLater && there) {
        before = there.nextSibling;
        continue;
      }
      const next = isLater ? makeEmpty() : tile ?? makeEmpty();
      if (there) there.replaceWith(next);
      else this.list.insertBefore(next, before);
      before = next.nextSibling;
      this.shown.set(place, next);
      if (next === tile) tile.firstElementChild.tabIndex = place === this.current ? 0 : -1;
    }
  }

  // One tile can be reached by Tab, and the others from there by arrow keys.
  offerFirst(from, to, above) {
    const first = Math.max(from, Math.min(to - 1, Math.max(0, above) * this.columns));
    if (this.shown.has(first) && !this.isEmpty(first)) this.setCurrent(first);
  }

  isEmpty(place) {
    return this.shown.get(place)?.classList.contains("empty") ?? true;
  }

  setCurrent(place) {
    if (place < 0 || place === this.current && this.shown.get(place)?.firstElementChild?.tabIndex === 0) return;
    const before = this.shown.get(this.current)?.firstElementChild, now = this.shown.get(place)?.firstElementChild;
    if (before) before.tabIndex = -1;
    if (now) now.tabIndex = 0;
    this.current = place;
  }

  tileOf(place) {
    const tiles = this.pages.get(Math.floor(place / this.perPage));
    return tiles ? tiles[place % this.perPage] ?? null : null;
  }

  // Says which images are seen below the line that says it.
  describe(first, rows) {
    const from = Math.min(first * this.columns, this.total - 1);
    const to = Math.min(this.total, from + rows * this.columns);
    const name = "namesClass" in this.place.dataset ? this.tileOf(from)?.dataset.class : undefined;
    const of = name === undefined ? "" : ` · ${name || "no class"}`;
    const text = `${(from + 1).toLocaleString("en")} to ${to.toLocaleString("en")} of ${this.total.toLocaleString("en")} images${of}`;
    if (this.place.textContent !== text) this.place.textContent = text;
  }

  fetchFor(from, to, middle) {
    const first = Math.floor(from / this.perPage), last = Math.floor((to - 1) / this.perPage);
    const here = middle / this.perPage - 0.5;
    this.wanted = Array.from({ length: last - first + 1 }, (_, i) => first + i)
      .sort((a, b) => Math.abs(a - here) - Math.abs(b - here));
    for (const page of this.wanted) {
      if (!this.pages.has(page)) continue;
      const tiles = this.pages.get(page); // used now, so it is kept longest
      this.pages.delete(page);
      this.pages.set(page, tiles);
    }
    this.fetchNext();
  }

  fetchNext() {
    for (const page of this.wanted) {
      if (this.loading.size >= AT_ONCE) return;
      if (!this.pages.has(page) && !this.loading.has(page)) this.fetchPage(page);
    }
  }

  async fetchPage(page) {
    const signal = this.leaving.signal;
    this.loading.add(page);
    try {
      const address = `${this.list.dataset.address}&offset=${page * this.perPage}`;
      const response = await fetch(address, { headers: { Accept: "text/html" }, signal });
      if (!response.ok) throw new Error(response.statusText);
      const found = new DOMParser().parseFromString(await response.text(), "text/html");
      this.pages.set(page, [...found.querySelectorAll(".tile")].map(tile => document.adoptNode(tile)));
      this.forget();
    } catch {
      if (!signal.aborted) await new Promise(done => setTimeout(done, 1500)); // it is asked again while it is wanted
    }
    this.loading.delete(page);
    if (!signal.aborted) this.schedule();
  }

  forget() {
    for (const page of this.pages.keys()) {
      if (this.pages.size <= KEPT_PAGES) return;
      if (!this.wanted.includes(page)) this.pages.delete(page);
    }
  }

  move(event) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.shiftKey) return;
    const page = Math.max(1, Math.floor(innerHeight / this.step) - 1) * this.columns;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -this.columns, ArrowDown: this.columns, PageUp: -page, PageDown: page };
    const ends = { Home: 0, End: this.total - 1 };
    const to = event.key in ends ? ends[event.key] : this.current + steps[event.key];
    if (!(to >= 0 && to < this.total)) return;
    event.preventDefault();
    this.goTo(to);
  }

  // Shows a place and gives it the focus, once its tile is there.
  async goTo(place) {
    const top = this.top() + this.rowOf(place) * this.step, bar = this.place.offsetHeight;
    if (top < scrollY + bar) scrollTo(0, top - bar);
    else if (top + this.step > scrollY + innerHeight) scrollTo(0, top + this.step - innerHeight);
    this.setCurrent(place);
    this.going = place;
    this.draw();
    while (this.isEmpty(place)) {
      await new Promise(done => requestAnimationFrame(done));
      if (this.leaving.signal.aborted || this.going !== place) return;
    }
    this.shown.get(place).firstElementChild.focus({ preventScroll: true });
  }
}

function placeOf(tile) {
  return tile ? Number(tile.getAttribute("aria-posinset")) - 1 : -1;
}

function makeEmpty() {
  const tile = document.createElement("li");
  tile.className = "tile empty";
  tile.setAttribute("aria-hidden", "true");
  return tile;
}
