// Sorting and searching of tables. Without this script every table is there, in its first order.
(() => {
  "use strict";

  // A table of several bodies moves each body as one: a query and its documents.
  const items = (table) => (table.tBodies.length > 1 ? [...table.tBodies] : [...table.tBodies[0].rows]);
  const cells = (item) => (item.rows ? item.rows[0] : item).cells;

  const key = (item, column) => {
    const text = cells(item)[column].dataset.value ?? cells(item)[column].textContent.trim();
    const number = Number(text.replace(/,/g, ""));
    return text === "" || Number.isNaN(number) ? text.toLowerCase() : number;
  };

  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    if (typeof a !== typeof b) return typeof a === "number" ? 1 : -1;
    return a < b ? -1 : a > b ? 1 : 0;
  };

  const sort = (table, heading) => {
    const descends = heading.getAttribute("aria-sort") !== "descending";
    const sorted = items(table).map((item) => [key(item, heading.cellIndex), item]);
    sorted.sort((a, b) => (descends ? compare(b[0], a[0]) : compare(a[0], b[0])));
    sorted.forEach(([, item]) => item.parentNode.appendChild(item));
    for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", descends ? "descending" : "ascending");
  };

  const addButtons = (table) => {
    for (const heading of table.tHead.rows[0].cells) {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...heading.childNodes);
      button.addEventListener("click", () => sort(table, heading));
      heading.append(button);
    }
  };

  const addSearch = (table) => {
    const label = document.createElement("label");
    const input = document.createElement("input");
    const count = document.createElement("output");
    const all = items(table).map((item) => [item, item.textContent.toLowerCase()]);
    const search = () => {
      const words = input.value.toLowerCase().split(/\s+/);
      const hidden = all.filter(([item, text]) => (item.hidden = !words.every((word) => text.includes(word))));
      count.textContent = `${all.length - hidden.length} of ${all.length}`;
    };
    label.className = "search";
    input.type = "search";
    input.addEventListener("input", search);
    label.append(table.dataset.search, input, count);
    table.parentNode.before(label);
    search();
  };

  document.querySelectorAll("table.sortable").forEach(addButtons);
  document.querySelectorAll("table[data-search]").forEach(addSearch);
})();
