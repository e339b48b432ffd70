// The page around the cards and pictures: head, funnel, what was changed.

const inputs = data.counts.reduce((sum, count) => sum + count, 0);
const percent = (count) => (inputs ? `${((100 * count) / inputs).toFixed(1)} %` : "");

function makeHead() {
  document.title = `${data.title} \u00b7 report`;
  byId("title").textContent = data.title;
  byId("facts").append(...data.facts.flatMap(([label, text]) => [h("dt", {}, label), h("dd", {}, text)]));
  const tile = (name, count) => h("div", { class: `tile ${name}` },
    h("data", { value: count, "data-total": name }, whole.format(count)), h("span", {}, [name, name === "inputs" ? "" : percent(count)].join(" ")));
  byId("totals").append(tile("inputs", inputs), tile("kept", data.counts[KEPT]), tile("dropped", inputs - data.counts[KEPT]));
}

/** What was fetched: failure classes, signals, hosts. */
function makeWeb() {
  byId("web").hidden = byId("to-web").hidden = !data.tables.length;
  byId("web").append(...data.tables.flatMap(({ title, head, rows, numbers }) => {
    const line = (tag, cells) => h("tr", {}, ...cells.map((text, index) => h(tag, index >= numbers ? { class: "number" } : {}, text)));
    return [h("h3", {}, title), h("table", { class: "plain" }, h("thead", {}, line("th", head)), h("tbody", {}, ...rows.map((row) => line("td", row))))];
  }));
}

/** The cascade as a table; a rule that drops nothing is folded away until asked for. */
function makeFunnel(change) {
  const body = byId("funnel").tBodies[0];
  const parts = data.reasons.map((reason, index) => {
    const k = index + 1;
    const name = h("th", { scope: "row" }, makeSwitch(k, change));
    const part = { k, drop: h("td", { class: "number" }), left: h("td", { class: "number" }), rest: h("i"), gone: h("b") };
    const bar = h("td", { class: "bar", "aria-hidden": "true" }, h("div", {}, part.rest, part.gone));
    part.row = h("tr", { "data-reason": reason }, name, part.drop, bar, part.left);
    body.append(part.row);
    return part;
  });
  const more = byId("more");
  more.addEventListener("click", () => {
    more.setAttribute("aria-expanded", byId("funnel").classList.toggle("all"));
  });

  return ({ counts, margins, moved }) => {
    let left = inputs, zeros = 0;
    for (const { k, row, drop, left: cell, rest, gone } of parts) {
      const count = counts[k], change = count - data.counts[k];
      left -= count;
      drop.replaceChildren(h("data", { value: count, class: "dropped" }, whole.format(count)), plusMinus(margins[k]));
      if (change) drop.append(h("small", {}, `${change > 0 ? "+" : "\u2212"}${whole.format(Math.abs(change))}`));
      cell.textContent = whole.format(left);
      rest.style.width = `${inputs ? (100 * left) / inputs : 0}%`;
      gone.style.width = `${inputs ? (100 * count) / inputs : 0}%`;
      row.classList.toggle("off", !state.on[k]);
      row.classList.toggle("zero", !count && !moved.has(k));
      zeros += row.classList.contains("zero");
    }
    more.hidden = !zeros;
    more.textContent = `${zeros} ${zeros === 1 ? "rule" : "rules"} dropped nothing`;
    const dropped = counts.map((count, k) => [count, k]).filter(([count, k]) => k !== KEPT && count);
    byId("sum").textContent = [`${whole.format(inputs)} inputs = ${whole.format(counts[KEPT])} kept`,
      ...dropped.map(([count, k]) => `${whole.format(count)} ${data.reasons[k - 1]}`)].join(" + ");
  };
}

/** A number as YAML 1.1 reads it: an exponent needs a decimal point before it. */
const yamlNumber = (value) => String(value).replace(/^(-?\d+)e/, "$1.0e");
const yamlKey = (key) => (/^[A-Za-z_][\w-]*$/.test(key) ? key : JSON.stringify(key));
const shellWord = (word) => (/^[\w.=+,:/-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`);

/** What differs from the configuration of the run, as [path, value text]. */
function settings() {
  const out = lines.flatMap((line, l) => (
    state.limits[l] === given.limits[l] ? [] : [[line.key.split("."), yamlNumber(state.limits[l])]]));
  state.on.forEach((on, k) => {
    if (on !== given.on[k]) out.push([["policy", data.reasons[k - 1], "enabled"], String(on)]);
  });
  return out;
}

function asYaml(pairs) {
  const tree = new Map();
  for (const [path, value] of pairs) {
    let node = tree;
    for (const key of path.slice(0, -1)) node = node.get(key) ?? node.set(key, new Map()).get(key);
    node.set(path.at(-1), value);
  }
  const write = (node, pad) => [...node].map(([key, value]) => (
    value instanceof Map ? `${pad}${yamlKey(key)}:\n${write(value, `${pad}  `)}` : `${pad}${yamlKey(key)}: ${value}\n`)).join("");
  return write(tree, "");
}

const asSets = (pairs) => pairs.map(([path, value]) => `--set ${shellWord(`${path.join(".")}=${value}`)}`).join(" ");

async function copy(source, button) {
  try {
    await navigator.clipboard.writeText(source.textContent);
  } catch { // no permission or no clipboard on this address: the older way, by selection
    getSelection().selectAllChildren(source);
    document.execCommand("copy");
  }
  const label = button.textContent;
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = label; }, 1200);
}

/** The bar at the foot of the window, there while something is moved. */
function makeDock(change) {
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", () => copy(byId(button.dataset.copy), button));
  }
  byId("reset").addEventListener("click", () => {
    Object.assign(state, { limits: [...given.limits], on: [...given.on] });
    change();
  });
  return ({ counts, margins, moved }) => {
    const pairs = settings();
    const gain = counts[KEPT] - data.counts[KEPT];
    byId("dock").hidden = !moved.size;
    byId("now").replaceChildren(
      h("data", { value: counts[KEPT], "data-margin": margins[KEPT] }, whole.format(counts[KEPT])),
      `${plusMinus(margins[KEPT])} kept, ${gain < 0 ? "\u2212" : "+"}${whole.format(Math.abs(gain))}`);
    byId("yaml").textContent = asYaml(pairs);
    byId("sets").textContent = asSets(pairs);
  };
}

function start() {
  let pending = 0;
  const views = [];
  const change = () => { pending ||= requestAnimationFrame(update); };
  function update() {
    pending = 0;
    const result = outcome();
    for (const view of views) view(result);
    for (const box of document.querySelectorAll("[data-switch]")) box.checked = state.on[box.dataset.switch];
  }
  makeHead();
  makeWeb();
  views.push(makeFunnel(change), makeDock(change));
  const ruled = (index) => lines.some((line) => line.column === index);
  const order = [...data.columns.keys()].sort((a, b) => ruled(b) - ruled(a)); // those with a line come first
  const cards = order.map((index) => new Card(data.columns[index], index, change));
  byId("cards").append(...cards.map((card) => card.element));
  views.push((result) => cards.forEach((card) => card.update(result)));
  makeGallery();
  byId("root").addEventListener("change", change);
  byId("zoom").addEventListener("click", (event) => { // the button, or outside the picture
    if (event.target.id === "zoom" || event.target.id === "close") byId("zoom").close();
  });
  byId("config-text").textContent = data.config;
  byId("sampled").textContent = rows.exact ? "" : `This run is large: where a line is moved, counts are estimated from ${
    whole.format(rows.count)} rows, drawn by decision; \u00b1 is the 95 % margin, and who is kept of near duplicates stays as decided. `;
  byId("unexplained").textContent = unexplained < 0.5 ? "" : `The lines alone do not explain ${
    whole.format(Math.round(unexplained))} decisions; they count as decided. `;
  update();
  document.documentElement.dataset.ready = "";
}

start();
