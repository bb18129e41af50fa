// Follows the job that a view shows: takes how far it is from the server's page, and shows that page once the
// job has ended. Views call it with their <main>; what it returns ends it.
import { announce } from "./notice.js";
import { visit } from "./navigation.js";

const EVERY_MS = 1000;

export function followJob(main, { done = "The result is there." } = {}) {
  const panel = main.querySelector("[data-job]");
  if (!panel) return () => {};
  const leaving = new AbortController();
  follow(panel, leaving.signal, done);
  return () => leaving.abort();
}

async function follow(panel, signal, done) {
  for (;;) {
    await new Promise(tick => setTimeout(tick, EVERY_MS));
    if (signal.aborted) return;
    try {
      const next = await fetchPanel(signal);
      if (signal.aborted) return;
      if (next?.dataset.job !== panel.dataset.job) break;
      update(panel, next);
    } catch {
      if (signal.aborted) return; // else the server is away; it is asked again
    }
  }
  const address = location.href;
  await visit(address, { push: false, stay: true });
  if (location.href === address) announce(document.querySelector("main .problem") ? "The job failed." : done);
}

async function fetchPanel(signal) {
  const response = await fetch(location.href, { headers: { Accept: "text/html" }, signal });
  if (response.status >= 500) throw new Error(response.statusText);
  return new DOMParser().parseFromString(await response.text(), "text/html").querySelector("[data-job]");
}

function update(panel, next) {
  panel.querySelector("[data-progress-text]").textContent = next.querySelector("[data-progress-text]").textContent;
  const shown = panel.querySelector("progress"), now = next.querySelector("progress");
  if (now.hasAttribute("value")) shown.value = now.value;
  else shown.removeAttribute("value");
}
