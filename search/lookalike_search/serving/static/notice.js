// Says things: a notice that is seen until it no longer holds, and words that only screen readers say.
const notice = document.getElementById("notice");
const spoken = document.createElement("p");
spoken.className = "hidden";
spoken.setAttribute("role", "status");
document.body.append(spoken);

export function showNotice(text) {
  notice.textContent = text;
  notice.hidden = false;
}

export function hideNotice() {
  notice.hidden = true;
  notice.textContent = "";
}

export function announce(text) {
  spoken.textContent = text;
}
