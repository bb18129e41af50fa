// Makes the view `/` livelier: images that are dropped, pasted or chosen are asked with at once, filters act
// when they change, and a rectangle drawn on the image asks with that part.
import { start as startExplanation } from "./explained.js";
import { announce } from "./notice.js";
import { visit } from "./navigation.js";
import { startRegion } from "./region.js";

const PAUSE_MS = 5000; // before the same upload is sent again: it may be that the server cannot keep it
const files = new Map(); // uploads of this document by their ids, to be sent again when the server forgot them
let again = { id: "", until: 0 };
const opened = new Map(); // the folds of the filters that were opened or closed, by their ids
let explained = "";

export function start(main) {
  const ending = new AbortController();
  const listen = (target, kind, act) => target.addEventListener(kind, act, { signal: ending.signal });
  main.classList.add("is-live");
  startUploads(main, listen);
  startFilters(main, listen);
  const frame = main.querySelector("[data-frame]");
  if (frame) startRegion(frame, main.querySelector("form[data-region]"), listen);
  startPanels(main, listen);
  say(main);
  sendAgain(main);
  return () => ending.abort();
}

function startUploads(main, listen) {
  for (const form of main.querySelectorAll("form[data-upload]")) {
    const input = form.querySelector("input");
    listen(input, "change", () => { if (input.files.length) ask(main, input.files[0]); });
  }
  let depth = 0, isOwn = false, veil = null; // what is dragged from this page is no new image
  const unveil = () => { depth = 0; veil?.remove(); veil = null; };
  listen(document, "dragstart", () => { isOwn = true; });
  listen(document, "dragend", () => { isOwn = false; });
  listen(document, "dragenter", event => {
    if (isOwn || !event.dataTransfer?.types.includes("Files")) return;
    depth += 1;
    if (!veil) {
      veil = document.createElement("div");
      veil.className = "dropping";
      veil.textContent = "Drop the image to search with it";
      document.body.append(veil);
    }
  });
  listen(document, "dragleave", () => { if (veil && --depth <= 0) unveil(); });
  listen(document, "dragover", event => { if (!isOwn) event.preventDefault(); });
  listen(document, "drop", event => {
    if (isOwn) return;
    event.preventDefault();
    unveil();
    askWithOne(main, event.dataTransfer);
  });
  listen(document, "paste", event => askWithOne(main, event.clipboardData, event));
}

function askWithOne(main, data, event) {
  const found = [...(data?.files ?? [])];
  const file = found.find(each => each.type.startsWith("image/")) ?? found[0];
  if (!file) return;
  event?.preventDefault();
  ask(main, file);
}

// Uploads an image, and shows its answer, whose address has the id of the upload.
async function ask(main, file, address = main.querySelector("form[data-upload]").action) {
  announce("Asking with the image");
  const before = uploadShown();
  const body = new FormData();
  body.append("image", file, file.name || "pasted image");
  await visit(address, { body });
  const id = uploadShown();
  if (id && id !== before) files.set(id, file); // else something else was shown meanwhile
}

function uploadShown() {
  return new URL(location.href).searchParams.get("upload");
}

// An upload that the server forgot is sent again, if this document still has it.
function sendAgain(main) {
  if (!main.querySelector("[data-forgotten]")) return;
  const id = uploadShown(), file = files.get(id);
  if (!file || (id === again.id && Date.now() < again.until)) return;
  again = { id, until: Date.now() + PAUSE_MS };
  ask(main, file);
}

function startFilters(main, listen) {
  const form = main.querySelector("form[data-live]");
  if (!form) return;
  listen(form, "change", () => form.requestSubmit());
  for (const fold of form.querySelectorAll("details")) {
    if (opened.has(fold.id)) fold.open = opened.get(fold.id);
    listen(fold, "toggle", () => { opened.set(fold.id, fold.open); });
  }
}

function startPanels(main, listen) {
  const panel = main.querySelector("#explanation");
  const asked = new URL(location.href).searchParams.get("explain") ?? "";
  if (panel) {
    startExplanation(panel);
    if (asked !== explained) panel.focus();
  }
  explained = asked;
  const large = main.querySelector("dialog.large");
  if (!large) return;
  const focused = document.activeElement;
  large.open = false;
  large.showModal();
  if (large.contains(focused)) focused.focus();
  listen(large, "cancel", event => {
    event.preventDefault();
    visit(large.dataset.close, { stay: true });
  });
}

function say(main) {
  const said = main.querySelector("[data-said]");
  if (said) announce(said.textContent.trim());
}
