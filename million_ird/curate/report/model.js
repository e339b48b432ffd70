"use strict";
// The decision, again: the rows of the page against lines that may have moved. Nothing here knows of the document.

const data = JSON.parse(document.getElementById("data").textContent);
const KEPT = 0; // the code of no reason; code k stands for data.reasons[k - 1]
const CODES = data.reasons.length + 1;

/** Base64 of little-endian numbers as a typed array. */
function unpack(Type, base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return new Type(bytes.buffer);
}

const rows = (() => {
  const { exact, strata, values, fixed, clusters, role } = data.rows;
  const count = strata.reduce((sum, [, , taken]) => sum + taken, 0);
  const weight = new Float64Array(count); // how many rows of the run each row of the page stands for
  const stratum = new Uint16Array(count);
  let start = 0;
  strata.forEach(([, size, taken], index) => {
    weight.fill(size / taken, start, start + taken);
    stratum.fill(index, start, (start += taken));
  });
  return {
    exact, strata, count, weight, stratum,
    values: values.map((text) => unpack(Float32Array, text)),
    fixed: unpack(Uint16Array, fixed),
    role: unpack(Uint8Array, role),
    clusters: clusters && {
      members: unpack(Uint32Array, clusters.members),
      starts: unpack(Uint32Array, clusters.starts),
      pixels: unpack(Float64Array, clusters.pixels),
    },
  };
})();

const lines = data.lines.map((line) => ({
  ...line,
  value: line.value ?? (line.bound === "min" ? -Infinity : Infinity), // a bound that is not set: nothing fails
}));

/** What can be changed on the page: a limit for each line, a switch for each code (a rule without lines is on). */
const given = {
  limits: lines.map((line) => line.value),
  on: data.counts.map((_, k) => {
    const own = lines.filter((line) => line.rule === k);
    return own.length === 0 || own.some((line) => line.on);
  }),
};
const state = { limits: [...given.limits], on: [...given.on] };

/** Compared in float32, like the measurements, so that a value that prints like the limit passes. */
function fails(line, value, limit) {
  return line.bound === "min" ? value < Math.fround(limit) : value > Math.fround(limit);
}

/** The first failing line's rule for each row (0 = none), lines being in cascade order. */
function judge(limits, on) {
  const own = new Uint16Array(rows.count);
  for (let l = lines.length - 1; l >= 0; l--) { // backwards: the earliest has the last word
    const { rule, column, bound } = lines[l];
    if (!on[rule]) continue;
    const values = rows.values[column];
    const limit = Math.fround(limits[l]);
    if (bound === "min") for (let i = 0; i < values.length; i++) { if (values[i] < limit) own[i] = rule; }
    else for (let i = 0; i < values.length; i++) { if (values[i] > limit) own[i] = rule; }
  }
  return own;
}

/**
 * Who is kept of each cluster: 0 = alone or the keeper, 1 = a smaller member, 2 = a member of at least its size.
 * The keeper is the best member that fails no line, or the best of all where each fails one.
 */
function roles(own) {
  if (!rows.clusters) return rows.role; // a sample cuts clusters apart: keepers stay as decided
  const { members, starts, pixels } = rows.clusters;
  const role = rows.role.slice(); // clusters that a pinned row leads are not among `clusters`
  for (let c = 0; c + 1 < starts.length; c++) {
    let keeper = starts[c];
    while (keeper < starts[c + 1] && own[members[keeper]]) keeper++;
    if (keeper === starts[c + 1]) keeper = starts[c];
    for (let m = starts[c]; m < starts[c + 1]; m++) {
      role[members[m]] = m === keeper ? 0 : pixels[m] >= pixels[keeper] ? 2 : 1;
    }
  }
  return role;
}

/** The code of each row: resolution, then what no line changes, then near duplicates, then the other lines. */
function decide({ limits, on }) {
  const codes = judge(limits, on);
  const role = data.near && on[data.near] ? roles(codes) : null;
  for (let i = 0; i < codes.length; i++) {
    if (codes[i] && codes[i] === data.resolution) continue;
    if (rows.fixed[i]) codes[i] = rows.fixed[i];
    else if (role && (role[i] === 1 || (role[i] === 2 && !codes[i]))) codes[i] = data.near;
  }
  return codes;
}

const before = decide(given);
const unexplained = before.reduce((sum, code, i) => sum + (code !== rows.strata[rows.stratum[i]][0] ? rows.weight[i] : 0), 0);

/** Rules whose lines or switch are not as given. */
function movedRules() {
  const moved = new Set(lines.filter((line, l) => state.limits[l] !== given.limits[l]).map((line) => line.rule));
  given.on.forEach((on, k) => { if (on !== state.on[k]) moved.add(k); });
  return moved;
}

/**
 * The counts at the present state: those decided, which are exact, plus what changed among the rows of the page.
 *
 * Returns `counts` and `margins` by code (0 = kept), `changed` (places of the rows whose code changed), `codes`,
 * `failing` by line, and `moved`.
 */
function outcome() {
  const moved = movedRules();
  const codes = moved.size ? decide(state) : before;
  const changed = [];
  const shift = new Float64Array(CODES);
  const traffic = rows.strata.map(() => new Uint32Array(CODES)); // rows of a stratum that entered or left a code
  for (let i = 0; i < codes.length; i++) {
    if (codes[i] === before[i]) continue;
    changed.push(i);
    shift[codes[i]] += rows.weight[i];
    shift[before[i]] -= rows.weight[i];
    traffic[rows.stratum[i]][codes[i]]++;
    traffic[rows.stratum[i]][before[i]]++;
  }
  const counts = data.counts.map((count, k) => (k === KEPT ? 0 : Math.max(0, count + Math.round(shift[k]))));
  const inputs = data.counts.reduce((sum, count) => sum + count, 0);
  counts[KEPT] = inputs - counts.reduce((sum, count) => sum + count, 0); // the sum holds whatever was rounded
  const margins = data.counts.map((_, k) => margin(k, traffic, moved));
  const failing = lines.map((line, l) => Math.round(line.failing + newlyFailing(l)));
  return { counts, margins, changed, codes, failing, moved };
}

/** How many rows more than as given fail one line, whatever else they fail. */
function newlyFailing(l) {
  const line = lines[l], values = rows.values[line.column];
  if (state.limits[l] === given.limits[l]) return 0;
  let sum = 0;
  for (let i = 0; i < values.length; i++) {
    sum += rows.weight[i] * (fails(line, values[i], state.limits[l]) - fails(line, values[i], given.limits[l]));
  }
  return sum;
}

/**
 * Half the 95 % interval of one count, from the strata of which not all rows are on the page (Agresti & Coull 1998:
 * two changed and two unchanged rows are added, so that a change too rare to be met in the sample is not called 0).
 */
function margin(k, traffic, moved) {
  let variance = 0;
  rows.strata.forEach(([code, size, taken], s) => {
    if (taken === size || !reachable(code, k, moved)) return;
    const share = (traffic[s][k] + 2) / (taken + 4);
    variance += size * size * (1 - taken / size) * (share * (1 - share)) / (taken + 4);
  });
  return Math.round(1.96 * Math.sqrt(variance));
}

/** Whether the moved rules can take a row decided as `from` into the code `to`, or out of it where both are one. */
function reachable(from, to, moved) {
  if (moved.has(from)) return from === to || to === KEPT || to > from || to === data.near;
  const before = [...moved].filter((rule) => from === KEPT || rule < from);
  return from === to ? before.length > 0 : before.includes(to);
}
