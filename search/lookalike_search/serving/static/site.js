// Starts the page: navigation without a new document, and the module of the view that is shown.
import { sayWhatIsGone } from "./gone.js";
import { restoreScroll, startNavigation, whenShown } from "./navigation.js";

const VIEWS = {
  ask: () => import("./ask.js"),
  browse: () => import("./browse.js"),
  map: () => import("./map.js"),
  duplicates: () => import("./duplicates.js"),
  evaluation: () => import("./evaluation.js"),
  audit: () => import("./audit.js"),
};
let stop = null;

async function startView(main) {
  stop?.();
  stop = null;
  sayWhatIsGone(main);
  const view = await VIEWS[main.dataset.view]?.();
  if (view && main.isConnected) stop = view.start(main) ?? null;
  main.classList.add("is-live");
}

whenShown(startView);
startNavigation();
startView(document.getElementById("main")).then(restoreScroll);
