"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.firstChild.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const each of heads) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const keyed = [...body.rows].map((row) => [row.cells[column], row]);
    const value = (cell) => cell.dataset.v === "" ? -Infinity : Number(cell.dataset.v);
    const numbers = keyed.every(([cell]) => cell.dataset.v !== undefined);
    const compare = numbers
      ? (a, b) => value(a) < value(b) ? -1 : value(a) > value(b) ? 1 : 0
      : (a, b) => a.textContent.localeCompare(b.textContent, "en", { numeric: true });
    keyed.sort((a, b) => (down ? -1 : 1) * compare(a[0], b[0]));
    body.append(...keyed.map(([, row]) => row));
  }));
}
const graph = document.querySelector("svg.graph");
if (graph) {
  const mark = (node, on) => {
    const index = node.dataset.node;
    const edges = graph.querySelectorAll(`[data-from="${index}"], [data-to="${index}"]`);
    for (const edge of edges) {
      edge.classList.toggle("near", on);
      const other = edge.dataset.from === index ? edge.dataset.to : edge.dataset.from;
      const box = graph.querySelector(`[data-node="${other}"]`);
      if (box) box.classList.toggle("near", on);
    }
  };
  for (const node of graph.querySelectorAll("[data-node]")) {
    for (const name of ["mouseenter", "focus"]) node.addEventListener(name, () => mark(node, true));
    for (const name of ["mouseleave", "blur"]) node.addEventListener(name, () => mark(node, false));
  }
}
