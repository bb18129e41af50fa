// Follows the job of the view `/evaluation`. `start` is called when it is shown; what it returns, when it is left.
import { followJob } from "./job.js";
import { applyAtOnce } from "./job_options.js";
import { goToTarget } from "./target.js";

export function start(main) {
  goToTarget(main);
  applyAtOnce(main);
  return followJob(main, { done: "The evaluation is there." });
}
