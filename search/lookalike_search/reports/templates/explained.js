// Pointing at a cell of one image, or going there by keyboard, colours the other by what that cell matches.
export function start(root) {
  for (const section of root.querySelectorAll(".section")) showMatches(section);
}

function showMatches(section) {
  const [query, neighbour] = section.querySelectorAll("svg.image");
  const told = section.querySelector("[data-told]");
  const source = section.querySelector("[data-parts]");
  const parts = source.dataset.parts.split(";").map(row => row.split(" ").map(Number));
  const whole = Number(source.dataset.whole) * 1e6;
  const hint = "Point at a cell, or go to an image with Tab and move with the arrow keys, to see what it matches in the other.";
  const sides = [
    { svg: query, other: neighbour, part: (cell, match) => parts[cell][match] },
    { svg: neighbour, other: query, part: (cell, match) => parts[match][cell] },
  ];
  for (const side of sides) {
    side.cells = [...side.svg.querySelectorAll(".cell")];
    side.columns = Number(side.svg.dataset.columns);
    side.at = Math.floor(side.cells.length / 2);
  }
  const place = (side, cell) => `row ${Math.floor(cell / side.columns) + 1}, column ${cell % side.columns + 1}`;
  const share = value => whole > 0 ? `${(100 * value / whole).toFixed(2)}\u00a0%` : (value / 1e6).toFixed(4);
  const clear = () => {
    for (const side of sides) {
      side.cells.forEach(cell => cell.style.removeProperty("--heat-of"));
      side.svg.querySelectorAll(".ring").forEach(ring => ring.remove());
    }
    told.textContent = hint;
  };
  const ring = (side, cell, colour) => {
    for (const [width, stroke] of [[6, "#000"], [3, colour]]) {
      const made = side.cells[cell].cloneNode();
      made.setAttribute("class", "ring");
      made.style.cssText = `stroke:${stroke};stroke-width:${width}`;
      side.svg.append(made);
    }
  };
  const show = (side, cell) => {
    clear();
    const other = sides.find(each => each !== side);
    const values = other.cells.map((_, match) => side.part(cell, match));
    const low = Math.min(...values), high = Math.max(...values);
    values.forEach((value, i) => other.cells[i].style.setProperty("--heat-of", high > low ? (value - low) / (high - low) : 0.5));
    const best = values.map((_, i) => i).sort((a, b) => values[b] - values[a]).slice(0, 3);
    ring(side, cell, "#fff");
    best.forEach(match => ring(other, match, "#ffd400"));
    const sum = values.reduce((total, value) => total + value, 0);
    const names = best.map(match => `${place(other, match)} (${share(values[match])})`);
    const role = side.svg.dataset.role, otherRole = other.svg.dataset.role;
    told.textContent = `The ${role}'s ${place(side, cell)} brings ${share(sum)}. It matches best the ${otherRole}'s ${names.join("; ")}.`;
  };
  for (const side of sides) {
    side.svg.setAttribute("tabindex", "0");
    side.cells.forEach((cell, i) => {
      cell.addEventListener("pointerenter", () => { side.at = i; show(side, i); });
      cell.addEventListener("click", () => { side.at = i; show(side, i); });
    });
    side.svg.addEventListener("pointerleave", event => { if (event.pointerType === "mouse") clear(); });
    side.svg.addEventListener("focus", () => { if (side.svg.matches(":focus-visible")) show(side, side.at); });
    side.svg.addEventListener("blur", clear);
    side.svg.addEventListener("keydown", event => {
      const rows = side.cells.length / side.columns;
      let row = Math.floor(side.at / side.columns), column = side.at % side.columns;
      if (event.key === "ArrowLeft") column = Math.max(0, column - 1);
      else if (event.key === "ArrowRight") column = Math.min(side.columns - 1, column + 1);
      else if (event.key === "ArrowUp") row = Math.max(0, row - 1);
      else if (event.key === "ArrowDown") row = Math.min(rows - 1, row + 1);
      else if (event.key === "Escape") { clear(); return; }
      else return;
      event.preventDefault();
      side.at = row * side.columns + column;
      show(side, side.at);
    });
  }
  clear();
}
