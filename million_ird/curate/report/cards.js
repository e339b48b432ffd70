// A measurement as a card: its histogram, and its thresholds as lines to drag, to step by keys or to type.

const whole = new Intl.NumberFormat("en-US");
const short = new Intl.NumberFormat("en-US", { notation: "compact", maximumSignificantDigits: 3 });
const value5 = new Intl.NumberFormat("en-US", { maximumSignificantDigits: 5 });
const show = (value) => (Number.isFinite(value) ? value5.format(value) : "not set");

const byId = (id) => document.getElementById(id);

/** An element; `on...` attributes are listeners, false leaves an attribute out, strings become text. */
function h(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children);
  return node;
}

function svg(tag, attributes = {}) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

/** One measurement; `update(result)` draws the present state. */
class Card {
  constructor(column, index, change) {
    Object.assign(this, { column, index, latest: null });
    this.axes = column.scales.map((scale) => new Axis(scale));
    this.axis = this.axes[0];
    this.all = svg("path", { class: "all" });
    this.kept = svg("path", { class: "kept" });
    this.picture = svg("svg", { preserveAspectRatio: "none", "aria-hidden": "true" });
    this.picture.append(this.all, this.kept);
    this.ticks = h("div", { class: "ticks", "aria-hidden": "true" });
    this.readout = h("p", { class: "readout" });
    this.plot = h("div", { class: "plot", onpointermove: (event) => this.point(event), onpointerleave: () => this.rest() }, this.picture);
    this.thresholds = [...lines.keys()].filter((l) => lines[l].column === index).map((l) => new Threshold(l, this, change));
    this.plot.append(...this.thresholds.flatMap(({ shade, handle }) => [shade, handle]));
    this.scaleButton = h("button", { type: "button", class: "quiet", onclick: () => this.nextAxis() });
    this.element = h("article", { class: "card", "data-column": column.name },
      h("header", {}, h("h3", {}, column.name), this.axes.length > 1 ? this.scaleButton : ""),
      h("p", { class: "help" }, column.help), this.plot, this.ticks, this.readout,
      ...this.thresholds.map((threshold) => threshold.controls));
    this.drawAxis();
  }

  /** What is said while the pointer is elsewhere. */
  rest() {
    const known = this.axis.all.reduce((sum, count) => sum + count, 0);
    const nulls = this.column.nulls ? `; ${whole.format(this.column.nulls)} without a value` : "";
    this.readout.textContent = known ? `${whole.format(known)} rows${nulls}` : "No row has a value.";
  }

  /** What is said of the bar under the pointer. */
  point(event) {
    const { axis } = this;
    const box = this.plot.getBoundingClientRect();
    const slot = axis.slotAt((event.clientX - box.left) / box.width);
    const range = slot === 0 ? `below ${show(axis.low)}` : slot > axis.bins ? `from ${show(axis.high)}`
      : `${show(axis.edges[slot - 1])} to ${show(axis.edges[slot])}`;
    const kept = Math.round(this.alive()[slot]);
    this.readout.textContent = `${range}: ${whole.format(axis.all[slot])} rows, ${whole.format(kept)} kept`;
  }

  /** Kept rows by slot: as decided, and what changed since. */
  alive() {
    const counts = this.axis.kept.slice();
    const values = rows.values[this.index];
    for (const i of this.latest.changed) {
      const gain = (this.latest.codes[i] === KEPT) - (before[i] === KEPT);
      if (gain && !Number.isNaN(values[i])) counts[this.axis.slot(values[i])] += gain * rows.weight[i];
    }
    return counts.map((count) => Math.max(0, count));
  }

  nextAxis() {
    this.axis = this.axes[(this.axes.indexOf(this.axis) + 1) % this.axes.length];
    this.drawAxis();
    this.update(this.latest);
  }

  drawAxis() {
    this.scaleButton.textContent = this.axis.log ? "linear axis" : "log axis";
    this.picture.setAttribute("viewBox", `0 0 ${this.axis.width} 100`);
    this.ticks.replaceChildren(...this.axis.ticks().map((tick) => {
      const label = h("span", {}, short.format(tick));
      label.style.left = `${100 * this.axis.place(tick)}%`;
      return label;
    }));
    this.rest();
  }

  update(result) {
    this.latest = result;
    const root = byId("root").checked ? Math.sqrt : (count) => count;
    const top = root(Math.max(1, ...this.axis.all));
    const height = (count) => Math.max(0.8, (100 * root(count)) / top); // a single row can still be seen
    this.all.setAttribute("d", bars(this.axis, this.axis.all, height));
    this.kept.setAttribute("d", bars(this.axis, this.alive(), height));
    for (const threshold of this.thresholds) threshold.update(result);
  }
}

/** One line: a slider on the plot, a number box and the rule's switch, all showing `state`. */
class Threshold {
  constructor(l, card, change) {
    const { rule, bound, key } = lines[l];
    Object.assign(this, { l, card, change, rule, bound, integral: card.column.whole });
    this.half = this.integral ? (bound === "min" ? -0.5 : 0.5) : 0; // drawn between the integers that pass and fail
    this.flag = h("span", { class: "flag" });
    this.handle = h("div", {
      class: "line", role: "slider", tabindex: "0", "data-line": l, "aria-label": key, "aria-orientation": "horizontal",
      onkeydown: (event) => this.press(event), onpointerdown: (event) => this.grab(event), onpointermove: (event) => this.drag(event),
    }, this.flag);
    this.shade = h("div", { class: `shade ${bound}` });
    this.box = h("input", {
      type: "number", step: "any", "aria-label": key, "data-line": l, oninput: () => this.type(), onchange: () => this.settle(),
    });
    this.note = h("span", { class: "note" });
    this.controls = h("div", { class: "rule" }, makeSwitch(rule, change),
      h("label", {}, bound === "min" ? "at least " : "at most ", this.box), this.note);
  }

  get limit() {
    return state.limits[this.l];
  }

  set limit(value) {
    state.limits[this.l] = value;
    this.change();
  }

  press(event) {
    const { axis } = this.card;
    const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 }[event.key];
    if (steps) this.limit = axis.step(this.limit, steps * (event.shiftKey ? 10 : 1), this.integral);
    else if (event.key === "Home") this.limit = this.integral ? Math.ceil(axis.low) : Number(axis.low.toPrecision(7));
    else if (event.key === "End") this.limit = this.integral ? Math.floor(axis.high) : Number(axis.high.toPrecision(7));
    else return;
    event.preventDefault();
  }

  grab(event) {
    this.handle.setPointerCapture(event.pointerId);
    this.handle.focus({ preventScroll: true });
    event.preventDefault();
  }

  drag(event) {
    if (!this.handle.hasPointerCapture(event.pointerId)) return;
    const area = this.card.plot.getBoundingClientRect();
    const value = this.card.axis.pick((event.clientX - area.left) / area.width);
    this.limit = this.integral ? Math.round(value - this.half) : value;
  }

  type() {
    if (Number.isFinite(this.box.valueAsNumber)) this.limit = this.box.valueAsNumber;
  }

  settle() { // an empty or unreadable box shows the limit again
    this.box.value = Number.isFinite(this.limit) ? this.limit : "";
  }

  update({ counts, failing, margins }) {
    const { l, rule, limit, handle, shade, controls } = this;
    const { axis } = this.card;
    const place = 100 * axis.place(limit + this.half);
    handle.style.left = `${place}%`;
    shade.style.width = `${this.bound === "min" ? place : 100 - place}%`;
    for (const node of [handle, shade, controls]) node.classList.toggle("off", !state.on[rule]);
    controls.classList.toggle("moved", limit !== given.limits[l]);
    handle.classList.toggle("far", place > 50);
    this.flag.textContent = show(limit);
    if (document.activeElement !== this.box) this.settle();
    const drops = `${data.reasons[rule - 1]} drops ${whole.format(counts[rule])}${plusMinus(margins[rule])}`;
    handle.setAttribute("aria-valuemin", Math.min(axis.low, limit));
    handle.setAttribute("aria-valuemax", Math.max(axis.high, limit));
    handle.setAttribute("aria-valuenow", limit);
    handle.setAttribute("aria-valuetext", `${show(limit)}; ${drops}`);
    const about = rows.exact || limit === given.limits[l] ? "" : "about ";
    this.note.replaceChildren(state.on[rule] ? drops : "off", " \u00b7 ",
      h("data", { class: "failing", value: failing[l] }, `${about}${short.format(failing[l])} fail this line`));
  }
}

/** A rule's name, with its checkbox where the configuration has a switch for it; there may be several of one rule. */
function makeSwitch(rule, change) {
  const section = `policy.${data.reasons[rule - 1]}.`; // rules on third-party meters stand elsewhere, without a switch
  const switchable = rule === data.near || lines.some((line) => line.rule === rule && line.key.startsWith(section));
  if (!switchable) return h("span", { class: "name" }, data.reasons[rule - 1]);
  const box = h("input", { type: "checkbox", "data-switch": rule, onchange: () => { state.on[rule] = box.checked; change(); } });
  return h("label", { class: "switch" }, box, " ", data.reasons[rule - 1]);
}

const plusMinus = (margin) => (margin ? ` \u00b1 ${short.format(margin)}` : "");
