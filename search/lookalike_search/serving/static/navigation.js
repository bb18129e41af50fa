// Goes from view to view without a new document: the server's page is fetched, and its <main> takes the
// place of the shown one. Without this module the same links and forms work as in any page.
import { announce, hideNotice, showNotice } from "./notice.js";

const RETRY_MS = 1500;
const SCROLLING_MS = 150;
let request = null; // of the visit that is under way, until its view has started
let scrolling = 0;
let onShown = () => {};

export function whenShown(callback) {
  onShown = callback;
}

// Shows the page of an address. `stay` keeps the scroll position and the focus, as for a changed filter.
export async function visit(url, { push = true, stay = false, scroll = 0, body = undefined } = {}) {
  request?.abort();
  const mine = request = new AbortController();
  const main = document.getElementById("main");
  main.setAttribute("aria-busy", "true");
  let response, text;
  try {
    response = await fetch(url, {
      method: body ? "POST" : "GET", body, headers: { Accept: "text/html" }, signal: mine.signal,
    });
    text = await response.text();
  } catch (error) {
    if (mine.signal.aborted) return;
    main.removeAttribute("aria-busy");
    showNotice("The server does not answer. Is search serve still running? This page tries again until it answers.");
    if (await isBack(mine.signal)) {
      hideNotice();
      await visit(url, { push, stay, scroll, body });
    }
    return;
  }
  if (mine.signal.aborted) return;
  hideNotice();
  const page = new DOMParser().parseFromString(text, "text/html");
  const next = page.getElementById("main");
  if (!next?.dataset.view && next?.dataset.view !== "") {
    location.assign(response.url); // another kind of page, such as the login
    return;
  }
  if (push && response.url !== location.href) {
    history.replaceState({ scroll: scrollY }, "");
    history.pushState({ scroll: 0 }, "", response.url);
  }
  try {
    await show(page, next, { stay, scroll });
  } finally {
    if (request === mine) request = null;
  }
}

function show(page, next, { stay, scroll }) {
  const focused = stay ? document.activeElement?.id : "";
  document.title = page.title;
  document.getElementById("main").replaceWith(document.adoptNode(next));
  document.querySelector("nav.site")?.replaceWith(document.adoptNode(page.querySelector("nav.site")));
  const started = onShown(next);
  if (stay) {
    const again = focused && document.getElementById(focused);
    (again || next).focus({ preventScroll: true });
  } else {
    next.focus({ preventScroll: true });
    scrollTo(0, scroll);
    announce(page.title);
  }
  return started;
}

async function isBack(signal) {
  while (!signal.aborted) {
    await new Promise(done => setTimeout(done, RETRY_MS));
    try {
      if ((await fetch("/readyz", { signal })).ok) return true;
    } catch {
      // it is still away
    }
  }
  return false;
}

function isOurs(url) {
  return url.origin === location.origin && !url.pathname.startsWith("/api/") && url.pathname !== "/login";
}

function followLink(event) {
  const link = event.target.closest?.("a[href]");
  if (!link || event.defaultPrevented || event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  const url = new URL(link.href, location.href);
  const isHere = url.hash && url.pathname === location.pathname && url.search === location.search;
  if (link.target || link.hasAttribute("download") || !isOurs(url) || isHere) return;
  event.preventDefault();
  visit(url.href, { stay: "stay" in link.dataset });
}

function sendForm(event) {
  const form = event.target;
  const action = event.submitter?.hasAttribute("formaction") ? event.submitter.formAction : form.action;
  const url = new URL(action, location.href);
  if (event.defaultPrevented || !isOurs(url)) return;
  event.preventDefault();
  const data = new FormData(form, event.submitter);
  const stay = "stay" in form.dataset;
  if (form.method === "post") {
    visit(url.href, { body: data, stay });
    return;
  }
  url.search = new URLSearchParams([...data].filter(([, value]) => value !== "")).toString();
  visit(url.href, { stay });
}

// Once it stops: what is replaced while a document is left does not last through a reload. During a visit the
// entry of the history may be another page's already, or its view may not have its height yet.
function rememberScroll() {
  clearTimeout(scrolling);
  scrolling = setTimeout(() => {
    if (!request) history.replaceState({ ...history.state, scroll: scrollY }, "");
  }, SCROLLING_MS);
}

// A reload shows the place that was left, as going back does; browsers would restore it before a view has its height.
export function restoreScroll() {
  if (history.state?.scroll) scrollTo(0, history.state.scroll);
}

export function startNavigation() {
  history.scrollRestoration = "manual";
  document.addEventListener("click", followLink);
  document.addEventListener("submit", sendForm);
  addEventListener("scroll", rememberScroll, { passive: true });
  addEventListener("popstate", event => visit(location.href, { push: false, scroll: event.state?.scroll ?? 0 }));
}
