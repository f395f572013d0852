"use strict";
// A heading's button sorts its table: by number where a column holds numbers, else by word.
// A cell without a number ("-", "null") stays below, whichever way the numbers go.
const text = (row, column) => row.cells[column].textContent.trim();
const number = (value) => Number.parseFloat(value);
const blank = (value) => value === "" || value === "-" || value === "null";

function sort(table, column, direction) {
  const rows = [...table.tBodies[0].rows];
  const values = rows.map((row) => text(row, column).replace("†", ""));
  const numeric = values.every((value) => blank(value) || !Number.isNaN(number(value)));
  const compare = (a, b) => {
    const [x, y] = [text(a, column).replace("†", ""), text(b, column).replace("†", "")];
    if (blank(x) || blank(y)) return blank(x) - blank(y);
    return direction * (numeric ? number(x) - number(y) : x.localeCompare(y));
  };
  table.tBodies[0].append(...rows.sort(compare));
}

for (const table of document.querySelectorAll("table")) {
  const headings = [...table.tHead.rows[table.tHead.rows.length - 1].cells];
  headings.forEach((heading, column) => {
    heading.querySelector("button").addEventListener("click", () => {
      const up = heading.getAttribute("aria-sort") !== "ascending";
      headings.forEach((other) => other.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", up ? "ascending" : "descending");
      sort(table, column, up ? 1 : -1);
    });
  });
}
