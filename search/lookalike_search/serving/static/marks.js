// Remembers the marks of images in this tab, by the job that found them: what differs from the defaults. The
// server makes the list of what is marked.
import { announce, showNotice } from "./notice.js";

const PREFIX = "lookalike-marks-";

// The marks of a page: `form` is the form `marks`, the fieldsets with `data-mark` are one image each. `listed` is the
// mark that puts an image on the list; `total` returns how many are on it, in words, `file` the name of the list that
// a button saves, and `unchanged` what else happens: nothing.
export class Marks {
  constructor(main, { listed, total, file, unchanged }) {
    this.listed = listed;
    this.total = total;
    this.file = file;
    this.unchanged = unchanged;
    this.form = main.querySelector("form.marks");
    this.fields = [...main.querySelectorAll("[data-mark]")];
    this.key = PREFIX + this.form.dataset.jobId;
    this.changed = read(this.key);
    this.fields.forEach(field => this.show(field));
    this.listen();
    this.showTotal();
  }

  listen() {
    for (const field of this.fields) {
      field.addEventListener("change", event => this.mark(field, event.target.value));
    }
    this.form.addEventListener("submit", event => {
      event.preventDefault();
      this.save(event.submitter);
    });
    for (const [name, act] of [["copy", () => this.copy()], ["reset", () => this.reset()]]) {
      const button = this.form.querySelector(`[data-${name}]`);
      if (!button) continue;
      button.hidden = false;
      button.addEventListener("click", act);
    }
  }

  markOf(field) {
    return this.changed[field.dataset.mark]?.mark ?? field.dataset.default;
  }

  // Shows the mark of an image as it is remembered.
  show(field) {
    optionOf(field, this.markOf(field)).checked = true;
  }

  mark(field, mark) {
    const { mark: id, default: usual, weight, defaultWeight } = field.dataset;
    if (mark === usual) delete this.changed[id];
    else this.changed[id] = { mark, weight: Number(usual === this.listed ? defaultWeight : weight) };
    this.show(field);
    this.keep();
    const named = field.querySelector("legend").textContent, words = optionOf(field, mark).nextElementSibling.textContent;
    announce(`${words}: ${named}. ${this.showTotal()}`);
  }

  reset() {
    this.changed = {};
    this.fields.forEach(field => this.show(field));
    this.keep();
    announce(`The marks are reset. ${this.showTotal()}`);
  }

  keep() {
    try {
      if (Object.keys(this.changed).length) sessionStorage.setItem(this.key, JSON.stringify(this.changed));
      else sessionStorage.removeItem(this.key);
    } catch {
      showNotice("This browser does not let the page remember marks; they are lost when it is left.");
    }
  }

  // Says how many images are listed on all pages; those of the default are counted by the server.
  showTotal() {
    let count = Number(this.form.dataset.count), weight = Number(this.form.dataset.weight);
    for (const each of Object.values(this.changed)) {
      const sign = each.mark === this.listed ? 1 : -1;
      count += sign;
      weight += sign * each.weight;
    }
    const text = this.total(count, weight);
    this.form.querySelector("[data-total]").textContent = text;
    return text;
  }

  async list(button) {
    const body = new URLSearchParams(button?.name ? { [button.name]: button.value } : {});
    for (const [id, { mark }] of Object.entries(this.changed)) body.append(`mark-${id}`, mark);
    const response = await fetch(this.form.action, { method: "POST", body, headers: { Accept: "text/html" } });
    if (response.ok) return response.blob();
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    throw new Error(page.querySelector(".problem p")?.textContent ?? "The list cannot be made.");
  }

  async save(button) {
    await this.attempt(async () => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(await this.list(button));
      link.download = this.file(button?.value);
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
      announce(`The list is saved. ${this.unchanged}`);
    });
  }

  async copy() {
    await this.attempt(async () => {
      await navigator.clipboard.writeText(await (await this.list()).text());
      announce(`The list is copied. ${this.unchanged}`);
      const button = this.form.querySelector("[data-copy]");
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy the list"; }, 2000);
    });
  }

  async attempt(act) {
    try {
      await act();
    } catch (error) {
      showNotice(error instanceof TypeError ? "The server does not answer; try again." : error.message);
    }
  }
}

// Keys that mark the image which has the focus, in an element of the selector `within`, and go on to the next one;
// J goes on without a mark. Returns what ends them.
export function startKeys(main, marks, within, keys) {
  const press = event => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const key = event.key.toLowerCase(), mark = keys[key];
    const field = document.activeElement?.closest(within)?.querySelector("[data-mark]");
    if (!field || !(mark || key === "j")) return;
    event.preventDefault();
    if (mark) marks.mark(field, mark);
    const next = marks.fields[marks.fields.indexOf(field) + 1] ?? field;
    next.querySelector(":checked").focus();
  };
  main.addEventListener("keydown", press);
  return () => main.removeEventListener("keydown", press);
}

function optionOf(field, mark) {
  return field.querySelector(`[value="${mark}"]`);
}

function read(key) {
  try {
    return JSON.parse(sessionStorage.getItem(key)) ?? {};
  } catch {
    return {}; // there is no storage, or another program wrote there
  }
}
