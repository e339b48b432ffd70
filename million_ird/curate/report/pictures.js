// The pictures: each is in the page once, and decoded when it is near.

/** Pictures wait for the window to come near before they are decoded; on paper all are there. */
const waiting = new Set();
const approach = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) load(entry.target);
}, { rootMargin: "600px" });
function load(image) {
  image.src = data.pictures.table[image.dataset.picture].src;
  waiting.delete(image);
  approach.unobserve(image);
}
addEventListener("beforeprint", () => waiting.forEach(load));

/** The end of a long name, where pictures of one folder or site differ. */
function ending(name) {
  const letters = [...name];
  return letters.length > 30 ? `\u2026${letters.slice(-29).join("")}` : name;
}

const reasonOf = (picture) => (picture.code === KEPT ? "kept" : data.reasons[picture.code - 1]);

function makeFigure(place, caption) {
  const picture = data.pictures.table[place];
  const image = h("img", { alt: picture.name, "data-picture": place, class: picture.thumb && "thumb" });
  waiting.add(image);
  approach.observe(image);
  const open = h("button", { type: "button", onclick: () => enlarge(picture) }, image);
  return h("figure", {}, open, h("figcaption", {}, h("bdi", { title: picture.name }, ending(picture.name)),
    h("span", {}, [caption, picture.thumb ? "16\u00d716 thumb" : ""].filter(Boolean).join(" \u00b7 "))));
}

function enlarge(picture) {
  const values = data.columns.map((column, c) => [column.name, picture.values[c]]).filter(([, value]) => value !== null);
  byId("large").replaceChildren(
    h("img", { src: picture.src, alt: "", class: picture.thumb && "thumb" }),
    h("h3", {}, h("bdi", {}, picture.name)),
    h("p", {}, reasonOf(picture), picture.thumb ? " \u00b7 the file could not be read again; this is its 16\u00d716 thumb" : ""),
    h("table", {}, ...values.map(([name, value]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", { class: "number" }, show(value))))));
  byId("zoom").showModal();
}

const valueAt = (line, place) => `${data.columns[line.column].name} ${show(data.pictures.table[place].values[line.column])}`;

/** What a dropped row failed: the first line of its rule that its values fail. */
function cause(place) {
  const { code, values } = data.pictures.table[place];
  const line = lines.find((each) => each.rule === code && values[each.column] !== null && fails(each, values[each.column], each.value));
  return line ? valueAt(line, place) : "";
}

function strip(figures) {
  return figures.length ? h("div", { class: "strip" }, ...figures) : h("p", { class: "none" }, "none");
}

function makeGallery() {
  const { kept, reasons, lines: sides } = data.pictures;
  const atLine = (line, l) => {
    const side = (name) => h("div", {}, h("h4", {}, `just ${name}`),
      strip(sides[l][name].map((place) => makeFigure(place, valueAt(line, place)))));
    const title = `${data.columns[line.column].name} ${line.bound === "min" ? "at least" : "at most"} ${show(line.value)}`;
    return h("section", { "data-at": l }, h("h3", {}, title, h("code", {}, line.key), line.on ? "" : h("small", {}, "off")),
      h("div", { class: "sides" }, side("failing"), side("passing")));
  };
  const ofReason = (places, index) => {
    const figures = index + 1 === data.near ? pairs(places) : places.map((place) => makeFigure(place, cause(place)));
    const count = `${whole.format(data.counts[index + 1])} dropped`;
    return h("section", { "data-of": data.reasons[index] }, h("h3", {}, data.reasons[index], h("small", {}, count)), strip(figures));
  };
  byId("at-lines").append(...lines.map(atLine));
  byId("at-lines").hidden = !lines.length;
  byId("by-reason").append(...reasons.map((places, index) => (places.length ? ofReason(places, index) : "")));
  byId("kept").append(strip(kept.map((place) => makeFigure(place, ""))));
}

function pairs(places) {
  return places.flatMap((place, i) => (i % 2 ? [] : [h("div", { class: "pair" },
    makeFigure(place, "dropped"), makeFigure(places[i + 1], `judged against: ${reasonOf(data.pictures.table[places[i + 1]])}`))]));
}
