// Shows what is there for options as soon as one is chosen: a result, or how far its job is. Nothing starts.
import { visit } from "./navigation.js";

export function applyAtOnce(main) {
  const form = main.querySelector("form[data-options]");
  form?.addEventListener("change", event => {
    // a number changes when it is left, maybe for the button, which must not be replaced under the pointer
    if (event.target.type === "number" && form.querySelector("button")) return;
    if (!form.reportValidity()) return;
    const given = [...new FormData(form)].filter(([, value]) => value !== "");
    visit(`${form.action}?${new URLSearchParams(given)}`, { stay: true });
  });
}
