// The list of stacks: filtered, sorted, and drawn a hundred rows at a time.
"use strict";
(() => {
  const STEP = 100;
  const { columns, statuses, rows } = window.batchstackStacks;
  const base = document.body.dataset.base;
  const stacks = rows.map((row, order) =>
    Object.assign(Object.fromEntries(columns.map((name, i) => [name, row[i]])), { order }));
  const find = (id) => document.getElementById(id);
  const fixed = (digits, scale = 1, unit = "") => (x) => x === null ? "" : (x * scale).toFixed(digits) + unit;

  // Columns as they are shown: what is known of a stack, its head, how it is written.
  const SHOWN = [
    ["id", "stack", String],
    ["status", "state", (name) => statuses[name]],
    ["quality", "quality", fixed(4)],
    ["artefacts", "artefacts", fixed(2, 1, "\u00a0%")],
    ["confidence", "depth confidence", fixed(0, 100, "\u00a0%")],
    ["frames", "frames", String],
    ["megapixels", "MP", fixed(1)],
    ["seconds", "seconds", fixed(1)],
    ["cropped", "cropped", fixed(1, 1, "\u00a0%")],
    ["residual", "residual", fixed(2, 1, "\u00a0px")],
  ].filter(([name]) => ["id", "status"].includes(name) || stacks.some((stack) => stack[name] !== null));
  const SORTS = [["order", "worst first"], ["finished", "when finished"], ...SHOWN]
    .filter(([name]) => name !== "finished" || stacks.some((stack) => stack.finished !== null));

  // Names in their natural order; to compare them takes long, so it is done once, when it is needed.
  function giveNamesPlaces() {
    if (!stacks.length || "place" in stacks[0]) return;
    const { compare } = new Intl.Collator(undefined, { numeric: true });
    [...stacks].sort((a, b) => compare(a.id, b.id)).forEach((stack, i) => { stack.place = i; });
  }

  const rank = Object.fromEntries(Object.keys(statuses).map((name, i) => [name, i]));
  let shown = stacks;
  let drawn = 0;

  function element(tag, attributes, text) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function compare(by, a, b) {
    const [x, y] = [a[by], b[by]];
    if (x === null || y === null) return (x === null) - (y === null);
    if (by === "id") return a.place - b.place;
    if (by === "status") return rank[x] - rank[y];
    return x - y;
  }

  function update() {
    const wanted = find("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const status = find("status").value;
    const by = find("sort").value;
    const sign = find("reverse").checked ? -1 : 1;
    if (by === "id") giveNamesPlaces();
    shown = stacks.filter((stack) => {
      const text = `${stack.id} ${stack.text} ${statuses[stack.status]} ${stack.output}`.toLowerCase();
      return (!status || stack.status === status) && wanted.every((word) => text.includes(word));
    });
    // What is not known comes last whichever way.
    shown.sort((a, b) => (a[by] === null || b[by] === null)
      ? compare(by, a, b) || a.order - b.order
      : sign * compare(by, a, b) || a.order - b.order);
    for (const head of find("heads").children) {
      head.removeAttribute("aria-sort");
      if (head.dataset.by === by) head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    }
    find("count").textContent = `${shown.length} of ${stacks.length}`;
    find("stacks").setAttribute("aria-rowcount", shown.length + 1);
    find("rows").replaceChildren();
    drawn = 0;
    draw();
    remember(by);
  }

  function draw() {
    const rows = shown.slice(drawn, drawn + STEP).map((stack, i) => row(stack, drawn + i + 2));
    find("rows").append(...rows);
    drawn += rows.length;
    find("more").hidden = drawn >= shown.length;
    find("more").textContent = `Show more (${shown.length - drawn})`;
  }

  function row(stack, number) {
    const made = element("tr", { role: "row", "aria-rowindex": number });
    const address = `${base}/${stack.page}/index.html`;
    const picture = element("td", { role: "cell", class: "picture" });
    if (stack.thumb) {
      const link = element("a", { href: address, tabindex: -1, "aria-hidden": "true" });
      link.append(element("img", {
        src: `${base}/${stack.page}/thumb.jpg`, alt: "", loading: "lazy",
        width: stack.thumb[0], height: stack.thumb[1],
      }));
      picture.append(link);
    }
    made.append(picture);
    for (const [name, head, write] of SHOWN) {
      const text = write(stack[name]);
      if (name === "id") {
        const cell = element("th", { role: "rowheader", scope: "row", class: "name" });
        cell.append(element("a", { href: address }, text));
        if (stack.text) cell.append(element("span", { class: "text", title: stack.text }, stack.text));
        made.append(cell);
      } else if (name === "status") {
        const cell = element("td", { role: "cell" });
        cell.append(element("span", { class: `badge status-${stack.status}` }, text));
        made.append(cell);
      } else {
        const cell = element("td", { role: "cell", "data-label": head }, text);
        if (name === "quality" && stack.output) cell.title = `${stack.measure} of ${stack.output}`;
        made.append(cell);
      }
    }
    return made;
  }

  // The choice stands in the address, so that it is there again after a look at a stack.
  function remember(by) {
    const chosen = new URLSearchParams();
    if (find("filter").value) chosen.set("filter", find("filter").value);
    if (find("status").value) chosen.set("state", find("status").value);
    if (by !== "order") chosen.set("sort", by);
    if (find("reverse").checked) chosen.set("reversed", "1");
    const text = chosen.toString();
    if (text !== location.hash.slice(1)) history.replaceState(null, "", text ? `#${text}` : location.pathname);
  }

  function recall() {
    const chosen = new URLSearchParams(location.hash.slice(1));
    find("filter").value = chosen.get("filter") || "";
    find("status").value = chosen.get("state") || "";
    find("sort").value = chosen.get("sort") || "order";
    if (find("sort").selectedIndex < 0) find("sort").value = "order";
    find("reverse").checked = chosen.has("reversed");
  }

  find("heads").append(element("th", { role: "columnheader", scope: "col" }, "picture"));
  for (const [name, head] of SHOWN) {
    const cell = element("th", { role: "columnheader", scope: "col", "data-by": name });
    const button = element("button", { type: "button" }, head);
    button.addEventListener("click", () => {
      find("reverse").checked = find("sort").value === name && !find("reverse").checked;
      find("sort").value = name;
      update();
    });
    cell.append(button);
    find("heads").append(cell);
  }
  for (const [name, head] of SORTS) find("sort").append(element("option", { value: name }, head));
  recall();
  find("filter").form.addEventListener("submit", (event) => event.preventDefault());
  find("filter").addEventListener("input", update);
  for (const id of ["status", "sort", "reverse"]) find(id).addEventListener("change", update);
  find("more").addEventListener("click", draw);
  new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && draw(), { rootMargin: "800px" })
    .observe(find("more"));
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName)) {
      event.preventDefault();
      find("filter").focus();
    }
  });
  update();
})();
