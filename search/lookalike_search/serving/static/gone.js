// Says in the place of a thumbnail that it cannot be shown: its file is gone, or has changed since the ingest.
const NOTE = "not shown: the file is gone or has changed";

export function sayWhatIsGone(main) {
  main.addEventListener("error", event => sayGone(event.target), true);
  for (const image of main.querySelectorAll("img")) if (image.complete && !image.naturalWidth) sayGone(image);
}

function sayGone(image) {
  if (image.tagName !== "IMG" || !image.src.includes("/thumbnail?")) return;
  const gone = document.createElement("span"), note = document.createElement("span");
  gone.className = image.classList.contains("p") ? "p gone" : "gone";
  gone.setAttribute("role", "img");
  gone.setAttribute("aria-label", image.alt ? `${image.alt}: ${NOTE}` : NOTE);
  note.textContent = NOTE;
  note.setAttribute("aria-hidden", "true");
  gone.append(note);
  image.replaceWith(gone);
}
