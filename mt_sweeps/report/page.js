"use strict";
// An extra: a trial that is pointed at, in a figure or in the table, is marked in all of them, with its row beside it.
document.getElementById("without-script").remove();
const rows = new Map([...document.querySelectorAll("tr[data-t]")].map((row) => [row.dataset.t, row]));
const pointed = document.createElement("div");
pointed.id = "pointed";
pointed.hidden = true;
pointed.setAttribute("aria-hidden", "true"); // the table has the same
document.body.append(pointed);
let marked = "";

function described(row) {
  const names = row.closest("table").tHead.rows[0].cells;
  const cells = [...row.cells].map((cell, i) => [names[i].textContent, cell.textContent]);
  return cells.filter(([, text]) => text).map(([name, text]) => `${name} ${text}`).join("\n");
}

function mark(trial) {
  if (trial === marked) return;
  for (const one of document.querySelectorAll("[data-t].on")) one.classList.remove("on");
  if (trial) for (const one of document.querySelectorAll(`[data-t="${trial}"]`)) one.classList.add("on");
  marked = trial;
}

addEventListener("pointerover", (event) => {
  const one = event.target.closest("[data-t]");
  const trial = one ? one.dataset.t : "";
  mark(trial);
  const row = one && one.closest("svg") && rows.get(trial);
  pointed.hidden = !row;
  if (!row) return;
  pointed.textContent = described(row);
  pointed.style.left = `${Math.max(0, Math.min(event.pageX + 14, document.body.clientWidth - pointed.offsetWidth - 8))}px`;
  pointed.style.top = `${event.pageY + 14}px`;
});

addEventListener("beforeprint", () => {
  for (const one of document.querySelectorAll("details")) one.open = true;
});
