// Makes the views of duplicates livelier: marks that are remembered and keys for them, and what differs
// between two images. `start` is called when a view is shown; what it returns, when it is left.
import { followJob } from "./job.js";
import { applyAtOnce } from "./job_options.js";
import { Marks, startKeys } from "./marks.js";
import { startPair } from "./pair.js";
import { goToTarget } from "./target.js";

export function start(main) {
  const stopFollowing = followJob(main, { done: "The duplicates are found." });
  applyAtOnce(main);
  if (!main.querySelector("form.marks")) return stopFollowing;
  for (const each of main.querySelectorAll("[data-keys]")) each.hidden = false;
  const marks = new Marks(main, DELETING);
  const pair = main.querySelector("[data-pair]");
  const stopKeys = pair ? startPair(main, pair, marks) : startKeys(main, marks, ".hit", { k: "keep", d: "drop" });
  goToTarget(main);
  return () => {
    stopFollowing();
    stopKeys();
  };
}

const DELETING = {
  listed: "drop",
  total: (files, bytes) => `${files} ${files === 1 ? "file" : "files"} to delete, which would free ${sizeOf(bytes)}.`,
  file: as => as === "nul" ? "delete.nul" : "delete.txt",
  unchanged: "Nothing was deleted.",
};

// As the templates write sizes.
function sizeOf(bytes) {
  if (bytes === 1) return "1 Byte";
  if (bytes < 1000) return `${Math.max(0, bytes)} Bytes`;
  const power = Math.min(4, Math.floor(Math.log10(bytes) / 3));
  return `${(bytes / 1000 ** power).toFixed(1)} ${["", "kB", "MB", "GB", "TB"][power]}`;
}
