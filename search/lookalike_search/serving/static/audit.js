// Makes the view `/audit` livelier: its job is followed, and the marks of suspects are remembered, with keys for
// them. `start` is called when the view is shown; what it returns, when it is left.
import { followJob } from "./job.js";
import { applyAtOnce } from "./job_options.js";
import { Marks, startKeys } from "./marks.js";

const CHANGING = {
  listed: "change",
  total: count => `${count} ${count === 1 ? "class" : "classes"} to change.`,
  file: () => "labels.csv",
  unchanged: "Nothing was changed.",
};

export function start(main) {
  const stopFollowing = followJob(main, { done: "The audit is there." });
  applyAtOnce(main);
  if (!main.querySelector("form.marks")) return stopFollowing;
  for (const each of main.querySelectorAll("[data-keys]")) each.hidden = false;
  const stopKeys = startKeys(main, new Marks(main, CHANGING), ".card", { c: "change", k: "keep" });
  return () => {
    stopFollowing();
    stopKeys();
  };
}
