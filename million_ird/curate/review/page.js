"use strict";
// One picture at a time, the nearest to the threshold first. All counting is the server's.

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const whole = new Intl.NumberFormat("en-US");
const digits = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 5 });
const plural = (count, word) => `${whole.format(count)} ${word}${count === 1 ? "" : "s"}`;
let view = null; // what the server said last
let busy = false; // a key that is hit while an answer is under way must not answer the next picture
let full = false;

const choice = () => data.choices[Number(byId("choice").value)];
const current = () => view?.next[0];
const pictureOf = (key, side) => `picture?key=${encodeURIComponent(key)}&side=${side}`;

function asked() {
  const { column, bound } = choice();
  return { column, bound, threshold: byId("threshold").value, precision: byId("precision").value };
}

let pending = null; // the answer under way
let asks = 0;

/** Ask the server, and show what it says; what it refuses is said and changes nothing. */
async function ask(name, body) {
  if (busy && body) return;
  const mine = ++asks;
  if (body) return (pending = send(name, body, mine));
  await pending;
  await send(name, null, mine);
}

async function send(name, body, mine) {
  if (body) busy = true;
  document.body.setAttribute("aria-busy", "true");
  try {
    const answer = body
      ? await fetch(name, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ ...body, ...asked() }) })
      : await fetch(`${name}?${new URLSearchParams(asked())}`);
    if (!answer.ok) throw new Error((await answer.text()) || "the server refuses: open the address that `mird review` printed");
    const said = await answer.json();
    if (mine !== asks) return; // it was asked again since
    view = said;
    byId("trouble").textContent = "";
    show();
  } catch (error) {
    byId("trouble").textContent = error instanceof TypeError ? "No answer: is `mird review` still running?" : error.message;
  } finally {
    if (body) busy = false;
    document.body.removeAttribute("aria-busy");
  }
}

function show() {
  const box = byId("threshold");
  if (box.value === "" || Number(box.value) !== view.threshold) box.value = view.threshold;
  byId("labels").textContent = `${plural(view.labels, "answer")} in ${data.labels}${view.last ? `; last: ${view.last.keep ? "keep" : "drop"} ${view.last.uri}` : ""}`;
  byId("counts").textContent = `It drops ${whole.format(view.dropped)} of ${plural(view.dropped + view.passing, "picture")} that no other rule drops.`;
  byId("undo").disabled = !view.undo;
  for (const id of ["keep", "drop", "skip", "zoom"]) byId(id).disabled = !current();
  showPicture();
  rows(byId("score"), view.score);
  byId("wanted").textContent = `${Math.round(100 * Number(byId("precision").value))} %`;
  byId("reached").hidden = byId("take").hidden = !view.wanted;
  byId("unreached").hidden = !!view.wanted;
  byId("unreached").textContent = view.score.right + view.score.missed
    ? "No threshold reaches it on these answers." : "Needs pictures that were dropped by hand.";
  if (view.wanted) rows(byId("reached"), view.wanted, view.wanted.threshold);
  byId("command").textContent = `mird decide ${word(data.out)} \\\n  --set ${choice().key}=${view.threshold} \\\n  --set policy.pins.file=${word(data.labels)}`;
}

const word = (text) => (/^[\w.=+,:/-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

function showPicture() {
  const next = current();
  const picture = byId("picture");
  picture.hidden = !next;
  byId("none").hidden = !!next;
  byId("none").textContent = view.labels ? "No more pictures here: every one was answered or skipped." : "No picture has a value here.";
  for (const id of ["uri", "size", "side"]) byId(id).textContent = "";
  if (!next) return picture.removeAttribute("src");
  const source = pictureOf(next.key, full ? 0 : 1600);
  if (picture.getAttribute("src") !== source) picture.src = source;
  picture.alt = next.uri;
  byId("uri").textContent = next.uri;
  byId("size").textContent = `${next.width} \u00d7 ${next.height}`;
  byId("side").textContent = `${choice().column} ${digits.format(next.value)}: ${next.dropped ? "would be dropped" : "passes"}`;
  byId("side").className = next.dropped ? "fails" : "passes";
  for (const { key } of view.next.slice(1, 4)) new Image().src = pictureOf(key, 1600);
}

/** A score as a table: shares with their 95 % intervals, and what they are shares of. */
function rows(table, score, threshold) {
  const share = (value, [low, high]) => (value === null ? "\u2013" : `${(100 * value).toFixed(1)} % (${Math.round(100 * low)}\u2013${Math.round(100 * high)})`);
  const cells = [
    ...(threshold === undefined ? [] : [["threshold", digits.format(threshold)]]),
    ["precision", share(score.precision, score.precision_range)],
    ["recall", share(score.recall, score.recall_range)],
    ["dropped, rightly", whole.format(score.right)],
    ["dropped, wrongly", whole.format(score.wrong)],
    ["missed", whole.format(score.missed)],
    ["kept, rightly", whole.format(score.agreed)],
  ];
  table.replaceChildren(...cells.map(([name, text]) => {
    const row = document.createElement("tr");
    const head = row.appendChild(document.createElement("th"));
    const cell = row.appendChild(document.createElement("td"));
    head.scope = "row";
    head.textContent = name;
    cell.textContent = text;
    return row;
  }));
}

const acts = {
  keep: () => current() && ask("answer", { key: current().key, keep: true }),
  drop: () => current() && ask("answer", { key: current().key, keep: false }),
  skip: () => current() && ask("skip", { key: current().key }),
  undo: () => view?.undo && ask("undo", {}),
  zoom: () => {
    full = !full;
    byId("frame").classList.toggle("full", full);
    byId("zoom").setAttribute("aria-pressed", full);
    if (view) showPicture();
  },
};
const keys = { k: "keep", ArrowRight: "keep", d: "drop", ArrowLeft: "drop", s: "skip", ArrowDown: "skip", u: "undo", Backspace: "undo", z: "zoom" };

for (const [name, act] of Object.entries(acts)) byId(name).addEventListener("click", act);
document.addEventListener("keydown", (event) => {
  const name = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!name || event.repeat || event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select")) return;
  event.preventDefault();
  acts[name]();
});

function choose(threshold) {
  byId("help").textContent = choice().help;
  byId("configured").hidden = choice().threshold === null;
  byId("threshold").value = threshold ?? choice().threshold ?? "";
  return ask("view");
}

byId("choice").append(...data.choices.map((one, index) => {
  const set = one.threshold === null ? "" : ` ${one.bound === "min" ? "\u2265" : "\u2264"} ${digits.format(one.threshold)}${one.enabled ? "" : " (off)"}`;
  return new Option(`${one.column}${set || (one.bound === "min" ? ", drop what is low" : ", drop what is high")}`, index);
}));
byId("choice").value = data.start;
byId("choice").addEventListener("change", () => choose());
byId("configured").addEventListener("click", () => choose());
byId("threshold").addEventListener("change", () => byId("threshold").value !== "" && ask("view"));
byId("precision").addEventListener("input", () => {
  byId("wanted").textContent = `${Math.round(100 * Number(byId("precision").value))} %`;
});
byId("precision").addEventListener("change", () => ask("view"));
byId("take").addEventListener("click", () => view?.wanted && choose(view.wanted.threshold));
byId("picture").addEventListener("error", () => {
  byId("trouble").textContent = "This picture can no longer be read; skip it.";
});
choose().then(() => document.documentElement.setAttribute("data-ready", ""));
