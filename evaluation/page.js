"use strict";
// What a page of results gains from a script: tables that sort, filter and download, plots that tell their numbers to
// pointers, fingers and keys. Without it the page is whole: nothing is shown that only the script could have made.

const MANY_ROWS = 15;
const REACH = 30; // pixels from which a pointer catches a point

function make(kind, properties, ...children) {
  const element = Object.assign(document.createElement(kind), properties);
  element.append(...children);
  return element;
}

function watchWidth(box, hint) {
  const scroll = box.querySelector(".scroll");
  const look = () => {
    const hidden = scroll.scrollWidth - scroll.clientWidth;
    box.classList.toggle("more", hidden - scroll.scrollLeft > 2);
    hint.hidden = hidden <= 2;
    if (hidden > 2 || scroll.scrollHeight > scroll.clientHeight + 2) scroll.tabIndex = 0; // keys can scroll it
    else scroll.removeAttribute("tabindex");
  };
  scroll.addEventListener("scroll", look, { passive: true });
  new ResizeObserver(look).observe(scroll);
}

// Tables

const text = (cell) => cell.dataset.value ?? cell.textContent;

function number(written) {
  if (/^[+-]?inf$/.test(written)) return written.startsWith("-") ? -Infinity : Infinity;
  return written === "" ? NaN : Number(written);
}

function sorted(rows, column, numeric, sign) {
  const words = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" });
  const keyed = rows.map((row) => [numeric ? number(text(row.cells[column])) : text(row.cells[column]), row]);
  const empty = ([key]) => key === "" || Number.isNaN(key);
  const compare = numeric ? (a, b) => (a < b ? -1 : Number(a > b)) : words.compare;
  const full = keyed.filter((entry) => !empty(entry)).sort(([a], [b]) => sign * compare(a, b));
  return [...full, ...keyed.filter(empty)].map(([, row]) => row); // what is missing comes last, whichever way
}

function makeSortable(table) {
  const [body] = table.tBodies;
  const original = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  const order = ["ascending", "descending", null];
  heads.forEach((head, column) => {
    const button = make("button", { type: "button", title: "Sort" }, head.textContent);
    head.replaceChildren(button);
    head.classList.add("sortable");
    button.addEventListener("click", () => {
      const next = order[(order.indexOf(head.getAttribute("aria-sort")) + 1) % 3];
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      if (next) head.setAttribute("aria-sort", next);
      const sign = next === "descending" ? -1 : 1;
      const numeric = head.classList.contains("number");
      body.append(...(next ? sorted(original, column, numeric, sign) : original));
    });
  });
}

function filterBox(table) {
  const rows = [...table.tBodies[0].rows];
  const count = make("span", { role: "status" });
  const box = make("input", { type: "search", autocomplete: "off", spellcheck: false });
  box.addEventListener("input", () => {
    const wanted = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) {
      const cells = [...row.cells].map((cell) => cell.textContent).join("\t").toLowerCase();
      row.hidden = !wanted.every((word) => cells.includes(word));
    }
    count.textContent = wanted.length ? `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows` : "";
  });
  return make("div", { className: "tools" }, make("label", {}, "Filter", box), count);
}

function csv(table) {
  const quoted = (value) => (/[",\n\r]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  const lines = [...table.rows].filter((row) => !row.hidden).map((row) => [...row.cells].map(text).map(quoted).join(","));
  return lines.join("\r\n") + "\r\n";
}

function downloadButton(table, name) {
  const button = make("button", { type: "button", className: "download" }, "Download CSV");
  button.addEventListener("click", () => {
    const url = URL.createObjectURL(new Blob([csv(table)], { type: "text/csv" }));
    make("a", { href: url, download: `${name}.csv` }).click();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  });
  return button;
}

function enhanceTable(box) {
  const table = box.querySelector("table");
  const hint = make("span", { className: "hint", hidden: true }, "Scroll sideways for more columns \u2192");
  makeSortable(table);
  if (table.tBodies[0].rows.length > MANY_ROWS) box.before(filterBox(table));
  box.after(make("div", { className: "tools" }, hint, downloadButton(table, box.dataset.name)));
  watchWidth(box, hint);
}

// Plots

const tip = make("div", { id: "tip", hidden: true });
let shown = null;

function hide() {
  shown?.classList.remove("lit");
  shown = null;
  tip.hidden = true;
}

function place() {
  const at = shown.getBoundingClientRect();
  const size = tip.getBoundingClientRect();
  const left = at.left + at.width / 2 - size.width / 2;
  const above = at.top - size.height - 8;
  tip.style.left = `${Math.max(4, Math.min(left, document.documentElement.clientWidth - size.width - 4))}px`;
  tip.style.top = `${above > 4 ? above : at.bottom + 8}px`;
}

function show(target) {
  if (target === shown) return;
  hide();
  shown = target;
  target.classList.add("lit");
  tip.textContent = target.dataset.text;
  tip.hidden = false;
  place();
}

const middle = (target) => {
  const box = target.getBBox();
  return [box.x + box.width / 2, box.y + box.height / 2];
};

function under(event, svg, targets) {
  const direct = event.target.closest("rect.target");
  if (direct) return direct;
  const matrix = svg.getScreenCTM();
  const point = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
  const distance = ({ place: [x, y] }) => Math.hypot(x - point.x, y - point.y) * matrix.a;
  const circles = targets.filter(({ target }) => target.localName === "circle");
  if (!circles.length) return null;
  const nearest = circles.reduce((best, other) => (distance(other) < distance(best) ? other : best));
  return distance(nearest) < REACH ? nearest.target : null;
}

// Left and right go along a curve, up and down to the same place of its neighbours.
function neighbour(targets, target, key) {
  const i = targets.findIndex((entry) => entry.target === target);
  const [x, y] = targets[i].place;
  const along = { ArrowRight: i + 1, ArrowLeft: i - 1, Home: 0, End: targets.length - 1 }[key];
  if (along !== undefined) return targets[along]?.target;
  const sign = { ArrowDown: 1, ArrowUp: -1 }[key];
  const beyond = sign ? targets.filter(({ place }) => sign * (place[1] - y) > 0.01) : [];
  const far = ({ place }) => 4 * Math.abs(place[0] - x) + Math.abs(place[1] - y);
  return beyond.sort((a, b) => far(a) - far(b))[0]?.target;
}

function followPointer(svg, targets) {
  const look = (event) => {
    const target = under(event, svg, targets);
    if (target) show(target);
    else hide();
  };
  svg.addEventListener("pointermove", look);
  svg.addEventListener("click", look); // a tap
  svg.addEventListener("pointerleave", (event) => event.pointerType === "touch" || hide());
}

function followKeys(svg, targets) {
  targets[0].target.setAttribute("tabindex", "0"); // one stop on the way through the page; arrows go on from there
  svg.addEventListener("focusin", (event) => event.target.matches(".target") && show(event.target));
  svg.addEventListener("focusout", hide);
  svg.addEventListener("keydown", (event) => {
    const next = event.target.matches(".target") && neighbour(targets, event.target, event.key);
    if (!next) return;
    event.preventDefault();
    event.target.setAttribute("tabindex", "-1");
    next.setAttribute("tabindex", "0");
    next.focus();
  });
}

function followLegend(svg) {
  const keys = [...svg.querySelectorAll(".key:has(text)")];
  let pinned = null;
  const light = (series) => {
    for (const part of svg.querySelectorAll(".series, .key")) {
      part.classList.toggle("dim", series !== null && part.dataset.series !== series);
    }
  };
  for (const key of keys) {
    const { x, y, width, height } = key.getBBox();
    const area = document.createElementNS(svg.namespaceURI, "rect"); // the sample of the line left of the name counts
    const sides = { x: x - 30, y: y - 3, width: width + 34, height: height + 6, fill: "none", "pointer-events": "all" };
    Object.entries(sides).forEach(([side, value]) => area.setAttribute(side, value));
    key.prepend(area);
    const name = key.textContent.trim();
    const states = { role: "button", tabindex: 0, "aria-pressed": false, "aria-label": `Highlight ${name}` };
    Object.entries(states).forEach(([state, value]) => key.setAttribute(state, value));
    const toggle = () => {
      pinned = pinned === key.dataset.series ? null : key.dataset.series;
      keys.forEach((other) => other.setAttribute("aria-pressed", other.dataset.series === pinned));
      light(pinned);
    };
    key.addEventListener("click", toggle);
    key.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      toggle();
    });
    for (const kind of ["pointerenter", "focus"]) key.addEventListener(kind, () => light(key.dataset.series));
    for (const kind of ["pointerleave", "blur"]) key.addEventListener(kind, () => light(pinned));
  }
}

function enhancePlot(box) {
  const svg = box.querySelector("svg");
  const hint = make("div", { className: "tools hint", hidden: true }, "Scroll sideways for all of the plot \u2192");
  box.after(hint);
  watchWidth(box, hint);
  const targets = [...svg.querySelectorAll(".target")].map((target) => ({ target, place: middle(target) }));
  if (!targets.length) return;
  svg.setAttribute("role", "group"); // an image would hide its parts from screen readers
  for (const { target } of targets) {
    target.dataset.text = target.textContent;
    target.setAttribute("role", "img");
    target.setAttribute("aria-label", target.textContent.replaceAll("\n", ", "));
    target.setAttribute("tabindex", "-1");
    target.replaceChildren(); // or browsers would show their tooltip beside ours
  }
  followPointer(svg, targets);
  followKeys(svg, targets);
  followLegend(svg);
}

document.body.append(tip);
document.querySelectorAll(".table").forEach(enhanceTable);
document.querySelectorAll(".plot").forEach(enhancePlot);
document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
document.addEventListener("pointerdown", (event) => event.target.closest(".plot") || hide());
const follow = () => shown && (shown === document.activeElement ? place() : hide());
addEventListener("scroll", follow, { passive: true, capture: true });
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => (part.open = true)));
