// Goes to the part of a view that the address leads to, as browsers do in a new document.
export function goToTarget(main) {
  const id = decodeURIComponent(location.hash.slice(1));
  const target = id && main.querySelector(`#${CSS.escape(id)}`);
  if (target) requestAnimationFrame(() => target.scrollIntoView());
}
