// Where values lie on a plot, and which values a pointer or a key can choose.

/** 1, 2 or 5 times a power of ten, at least `width`. */
function round125(width) {
  const power = 10 ** Math.floor(Math.log10(width));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= width * (1 - 1e-9));
}

/** Where values lie on a plot of equal bins between two slots for what lies outside; all places are 0 to 1. */
class Axis {
  static OUTER = 1.6; // an outer slot and its gap, in bins

  constructor({ log, edges, all, kept }) {
    Object.assign(this, { log, all: unpack(Float64Array, all), kept: unpack(Float64Array, kept) });
    this.edges = unpack(Float32Array, edges);
    this.bins = this.edges.length - 1;
    this.width = this.bins + 2 * Axis.OUTER;
    [this.low, this.high] = [this.edges[0], this.edges[this.bins]];
    [this.from, this.to] = log ? [Math.log(this.low), Math.log(this.high)] : [this.low, this.high];
  }

  place(value) {
    if (value < this.low) return 0.5 / this.width;
    if (value > this.high) return 1 - 0.5 / this.width;
    const share = ((this.log ? Math.log(value) : value) - this.from) / (this.to - this.from);
    return (Axis.OUTER + share * this.bins) / this.width;
  }

  value(place) {
    const share = Math.min(1, Math.max(0, (place * this.width - Axis.OUTER) / this.bins));
    const value = this.from + share * (this.to - this.from);
    return this.log ? Math.exp(value) : value;
  }

  /** The slot that counts a value: 0 = below the axis, bins + 1 = from its end on. */
  slot(value) {
    let [below, above] = [0, this.edges.length];
    while (below < above) {
      const middle = (below + above) >> 1;
      if (this.edges[middle] <= value) below = middle + 1; else above = middle;
    }
    return below;
  }

  left(slot) {
    return slot === 0 ? 0 : slot > this.bins ? this.width - 1 : Axis.OUTER + slot - 1;
  }

  slotAt(place) {
    const x = place * this.width;
    if (x < Axis.OUTER) return 0;
    return Math.min(this.bins + 1, Math.floor(x - Axis.OUTER) + 1);
  }

  /** The next value by `steps` of the keyboard. */
  step(value, steps, integral) {
    const from = Math.min(this.high, Math.max(this.low, value));
    if (this.log) {
      const next = from * Math.exp((steps * (this.to - this.from)) / 200);
      const tidy = integral ? Math.round(next) : Number(next.toPrecision(3));
      return tidy === value ? value + Math.sign(steps) : tidy;
    }
    const unit = round125((this.high - this.low) / 200);
    return integral ? Math.round(from + steps * Math.max(1, Math.round(unit))) : Number((from + steps * unit).toPrecision(7));
  }

  /** A value under the pointer, with no more digits than the pointer can tell. */
  pick(place) {
    const value = this.value(place);
    if (this.log) return Number(value.toPrecision(3));
    const unit = round125((this.high - this.low) / 1000);
    return Number((Math.round(value / unit) * unit).toPrecision(7));
  }

  ticks() {
    const out = [];
    if (this.log) {
      const decades = Math.log10(this.high / this.low);
      const factors = decades > 2.5 ? [1] : decades > 1.4 ? [1, 3] : [1, 2, 5];
      for (let e = Math.floor(Math.log10(this.low)); 10 ** e <= this.high; e++) out.push(...factors.map((f) => f * 10 ** e));
    } else {
      const unit = round125((this.high - this.low) / 6);
      for (let i = Math.ceil(this.low / unit); i * unit <= this.high; i++) out.push(i * unit);
    }
    const inside = out.filter((value) => value >= this.low && value <= this.high);
    return inside.filter((_, i) => i % Math.ceil(inside.length / 6) === 0);
  }
}

/** Bars of the counts as one path, heights 0 to 100 from the top. */
function bars(axis, counts, height) {
  let path = "";
  counts.forEach((count, slot) => {
    if (count > 0) path += `M${axis.left(slot) + 0.06} 100V${100 - height(count)}h0.88V100Z`;
  });
  return path;
}
