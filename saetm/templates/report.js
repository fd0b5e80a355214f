"use strict";
(() => {
// ------------------------------------------------------------------ the data
// topics: {id, name, words: [[word, weight]], size, probability, coverage, n_features, x, y, near: [[index, score]], reps: [[row, text, weight]]}
// docs:   {x, y, topic, text, title}: parallel lists; x and y are 0..9999; topic is an index into topics, or -1
// tree:   {order: [topic index], merges: [[a, b, height]]} or null;  labels: [{name, values, codes}]
// thumbs: {row: "image/png;base64,..."};  notes: sentences
// groups: {name, measure, groups, n_docs, notes, topics: [{share, low, high, q, dropped}]} or null, lists of shares by group
// times:  the same by interval, with centres, and for each topic q, slope, change, change_low, change_high, before, after
const data = JSON.parse(document.getElementById("data").textContent);
const { topics, docs, labels, thumbs } = data;
const nDocs = docs.x.length, nTopics = topics.length;

// One place for what is shown. `change` is the only function that writes to it.
const state = { topic: -1, doc: -1, query: "", sort: "size", down: true, colour: -1, hover: -1, dark: false, view: "map", tested: true, byDifference: true };

// ------------------------------------------------------------------ small helpers
const $ = id => document.getElementById(id);
const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
const number = value => value.toLocaleString("en");
const percent = share => share === 0 ? "0%" : (100 * share).toFixed(share < .001 ? 2 : 1) + "%";

// Make an element. Text always goes in as text, never as markup.
function make(tag, { text, style, on, ...attributes } = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  for (const [name, value] of Object.entries(style ?? {})) element.style.setProperty(name, value);
  for (const [event, action] of Object.entries(on ?? {})) element.addEventListener(event, action);
  if (text !== undefined) element.textContent = text;
  element.append(...children.filter(child => child !== null));
  return element;
}

// ------------------------------------------------------------------ colours
// OKLCH keeps lightness and colourfulness even over all hues; steps of the golden angle keep neighbours in the list apart.
function oklch(lightness, chroma, degrees) {
  const a = chroma * Math.cos(degrees * Math.PI / 180), b = chroma * Math.sin(degrees * Math.PI / 180);
  const l = (lightness + .3963377774 * a + .2158037573 * b) ** 3;
  const m = (lightness - .1055613458 * a - .0638541728 * b) ** 3;
  const s = (lightness - .0894841775 * a - 1.291485548 * b) ** 3;
  const linear = [4.0767416621 * l - 3.3077115913 * m + .2309699292 * s,
                  -1.2684380046 * l + 2.6097574011 * m - .3413193965 * s,
                  -.0041960863 * l - .7034186147 * m + 1.707614701 * s];
  const srgb = linear.map(v => Math.round(255 * clamp(v <= .0031308 ? 12.92 * v : 1.055 * Math.max(v, 0) ** (1 / 2.4) - .055, 0, 1)));
  return `rgb(${srgb.join(" ")})`;
}
const hue = i => oklch(state.dark ? [.74, .82, .66][i % 3] : [.62, .54, .7][i % 3], .135, 28 + 137.508 * i);
const topicHue = t => t < 0 ? (state.dark ? "#6b6d72" : "#a9a89f") : hue(t);

// ------------------------------------------------------------------ search
// A term matches at the start of a word, whatever its case and accents; in scripts without spaces it matches anywhere.
const fold = text => " " + text.normalize("NFD").replace(/\p{M}/gu, "").toLowerCase().replace(/[^\p{L}\p{N}]+/gu, " ");
const unspaced = /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Khmer}\p{Script=Lao}]/u;
const termsOf = query => fold(query).split(" ").filter(Boolean).map(term => unspaced.test(term) ? term : " " + term);
const matches = (folded, terms) => terms.every(term => folded.includes(term));

const foldedDocs = [];
// Many documents take a second to fold, so it is done in the pauses after the page has opened, and what is missing when it is needed.
function foldSome(deadline) {
  const more = deadline === Infinity ? () => true : () => deadline.timeRemaining() > 2;
  while (foldedDocs.length < nDocs && more()) for (const end = Math.min(nDocs, foldedDocs.length + 200); foldedDocs.length < end;) {
    const row = foldedDocs.length;
    foldedDocs.push(fold(docs.title ? docs.title[row] + " " + docs.text[row] : docs.text[row]));
  }
  if (foldedDocs.length < nDocs) window.requestIdleCallback?.(foldSome);
}
const foldedTopics = topics.map(topic => fold(topic.name + " " + topic.words.map(([word]) => word).join(" ")));
const found = { active: false, terms: [], topics: new Set(), docs: [], isDoc: new Uint8Array(nDocs), perTopic: new Int32Array(nTopics) };

function search(query) {
  found.terms = termsOf(query);
  found.active = found.terms.length > 0;
  found.topics = new Set(); found.docs = []; found.isDoc.fill(0); found.perTopic.fill(0);
  if (!found.active) return;
  foldSome(Infinity);
  foldedTopics.forEach((text, t) => { if (matches(text, found.terms)) found.topics.add(t); });
  for (let row = 0; row < nDocs; row++) if (matches(foldedDocs[row], found.terms)) {
    found.docs.push(row); found.isDoc[row] = 1;
    if (docs.topic[row] >= 0) found.perTopic[docs.topic[row]]++;
  }
}

// Text with the terms of the search marked.
function marked(text) {
  const fragment = document.createDocumentFragment();
  if (!found.active) { fragment.append(text); return fragment; }
  const terms = found.terms.map(term => term.trim().replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  const pattern = new RegExp(`(?<![\\p{L}\\p{N}])(?:${terms.join("|")})|${terms.filter(t => unspaced.test(t)).join("|") || "$^"}`, "giu");
  let end = 0;
  for (const match of text.matchAll(pattern)) {
    if (!match[0]) continue;
    fragment.append(text.slice(end, match.index), make("mark", { text: match[0] }));
    end = match.index + match[0].length;
  }
  fragment.append(text.slice(end));
  return fragment;
}

// ------------------------------------------------------------------ the list of topics
const orders = {
  size: { title: "Size", by: (a, b) => (found.active ? found.perTopic[b] - found.perTopic[a] : 0) || topics[b].size - topics[a].size || a - b },
  name: { title: "Name", by: (a, b) => topics[a].name.localeCompare(topics[b].name) || a - b },
};
if (data.tree) {
  const place = new Int32Array(nTopics);
  data.tree.order.forEach((t, position) => { place[t] = position; });
  orders.related = { title: "Related", by: (a, b) => place[a] - place[b] };
}
const biggest = Math.max(1, ...topics.map(topic => topic.size));
const nameStarts = topic => topic.words.slice(0, 3).every(([word]) => fold(topic.name).includes(fold(word)));

function shownTopics() {
  const all = topics.map((_, t) => t).sort(orders[state.sort].by);
  if (!state.down) all.reverse();
  if (!found.active) return all;
  const kept = all.filter(t => found.topics.has(t) || found.perTopic[t] > 0);
  return kept.filter(t => found.topics.has(t)).concat(kept.filter(t => !found.topics.has(t)));
}

function topicRow(t) {
  const topic = topics[t], strongest = topic.words[0][1] || 1;
  const words = (nameStarts(topic) ? topic.words.slice(3) : topic.words).slice(0, 8);
  return make("li", {}, make("button", {
      class: "row", type: "button", "data-topic": t, "aria-pressed": String(t === state.topic), style: { "--hue": topicHue(t) },
      on: { click: () => change({ topic: t === state.topic ? -1 : t, doc: -1 }, "list"), pointerenter: () => point(t), pointerleave: () => point(-1) },
    },
    make("span", { class: "swatch" }),
    make("span", { class: "name" }, marked(topic.name)),
    make("span", { class: "size", text: found.active ? `${number(found.perTopic[t])} of ${number(topic.size)}` : number(topic.size) }),
    make("span", { class: "words" }, ...words.map(([word, weight]) =>
      make("span", { class: "word", style: { "--weight": (weight / strongest).toFixed(3) } }, marked(word)))),
    make("span", { class: "meter", style: { "--share": ((found.active ? found.perTopic[t] : topic.size) / biggest).toFixed(4) } })));
}

function drawList() {
  const shown = shownTopics(), asTree = state.sort === "related" && !found.active;
  const kept = document.activeElement?.dataset?.topic;
  $("topics").replaceChildren(...shown.map(topicRow));
  if (!shown.length) $("topics").append(make("li", { class: "none", text: "No topic and no document has these words." }));
  if (kept !== undefined) $("topics").querySelector(`[data-topic="${kept}"]`)?.focus({ preventScroll: true });
  $("count").textContent = found.active ? `${shown.length}/${nTopics}` : nTopics;
  $("topics").classList.toggle("tree", asTree);
  $("tree")?.remove();
  if (asTree) $("topics").before(drawTree(shown));
  for (const button of $("sorts").children) {
    const on = button.dataset.sort === state.sort;
    button.setAttribute("aria-pressed", String(on));
    button.textContent = orders[button.dataset.sort].title + (on && button.dataset.sort !== "related" ? (state.down ? " ↓" : " ↑") : "");
  }
}

// The tree of topics, one leaf a row: a merge joins two branches further left the less alike they are.
function drawTree(shown) {
  const space = "http://www.w3.org/2000/svg", row = $("topics").firstElementChild.offsetHeight, width = 56;
  const nodes = new Array(nTopics), highest = Math.max(...data.tree.merges.map(merge => merge[2])) || 1;
  shown.forEach((t, position) => { nodes[t] = { x: width, y: (position + .5) * row }; });
  let lines = "";
  for (const [a, b, height] of data.tree.merges) {
    const x = Math.round(2 + (width - 8) * (1 - Math.sqrt(Math.max(height, 0) / highest))), p = nodes[a], q = nodes[b];
    lines += `M${p.x} ${p.y}H${x}V${q.y}H${q.x}`;
    nodes.push({ x, y: (p.y + q.y) / 2 });
  }
  const tree = document.createElementNS(space, "svg"), path = document.createElementNS(space, "path");
  tree.id = "tree"; tree.setAttribute("height", row * nTopics); tree.setAttribute("aria-hidden", "true");
  path.setAttribute("d", lines); tree.append(path);
  return tree;
}

// ------------------------------------------------------------------ the panel
const stat = (name, value, note, hint) => make("div", { title: hint }, make("dt", { text: name }), make("dd", { text: value }, note ? make("small", { text: " " + note }) : null));
const meter = (share, colour) => make("span", { class: "meter", style: { "--share": share.toFixed(4), "--hue": colour } });
const bar = (label, share, value, colour) => make("li", {}, make("span", { class: "label" }, label), meter(share, colour), make("span", { class: "value", text: value }));
const snippet = row => docs.text[row];

const hasThumbs = Object.keys(thumbs).length > 0;
const picture = (row, alt) => thumbs[row] ? make("img", { src: "data:" + thumbs[row], alt, decoding: "async" }) : null;
const saidOf = row => docs.title ? docs.title[row] : docs.text[row];

// The pictures of a topic: its representative documents first, then others as they come.
function contactSheet(t, most = 24) {
  const rows = [...new Set([...topics[t].reps.map(([row]) => row), ...(byTopic[t] ?? [])])].filter(row => thumbs[row]).slice(0, most);
  if (!rows.length) return [];
  return [make("h3", { text: "Pictures" }), make("ul", { class: "sheet" }, ...rows.map(row => make("li", {}, make("button", {
    type: "button", title: saidOf(row), class: row === state.doc ? "pinned" : null, style: { "--hue": topicHue(t) }, on: { click: () => { change({ doc: row, topic: t }); flyTo(row); } } }, picture(row, saidOf(row))))))];
}

function card(row, text, source) {
  const t = docs.topic[row];
  return make("li", {}, make("button", {
      class: "card" + (row === state.doc ? " pinned" : ""), type: "button", style: { "--hue": topicHue(t) }, title: "Show on the map",
      on: { click: () => { change({ doc: row, topic: source ? t : state.topic }); flyTo(row); } },
    },
    picture(row, ""),
    docs.title ? make("strong", {}, marked(docs.title[row])) : null,
    make("span", { class: "text" }, marked(text)),
    source ? make("span", { class: "from" }, make("span", { class: "swatch" }), make("span", { class: "grow", text: t < 0 ? "no topic" : topics[t].name })) : null));
}

function chip(t, note) {
  return make("li", {}, make("button", { class: "chip", type: "button", style: { "--hue": topicHue(t) },
      on: { click: () => change({ topic: t, doc: -1 }, "panel"), pointerenter: () => point(t), pointerleave: () => point(-1) } },
    make("span", { class: "swatch" }), make("span", { class: "grow", text: topics[t].name }), make("small", { text: note })));
}

function overview() {
  const facts = make("dl", { class: "facts" });
  for (const [name, value] of data.facts) facts.append(make("dt", { text: name }), make("dd", { text: value }));
  return [make("h2", { text: "Overview" }),
    make("p", { class: "lead", text: "Each dot is a document; dots close to each other are about similar things. Choose a topic in the list or on the map to see its words and documents." }),
    ...data.notes.map(note => make("p", { class: "lead note", text: note })),
    make("h3", { text: "This run" }), facts,
    make("h3", { text: "Keys" }),
    make("ul", { class: "keys" }, ...[["/", "search"], ["Esc", "back"], ["↑ ↓", "move in the list"], ["+ − 0", "zoom the map, show all of it"], ["← → ↑ ↓", "move the map when it has the focus"]]
      .map(([key, does]) => make("li", {}, make("kbd", { text: key }), " " + does)))];
}

const isCut = docs.text.some(text => text.endsWith("…"));
function results() {
  const shown = found.docs.slice(0, 40);
  return [make("div", { class: "top" }, make("span", { class: "grow", text: "Search" }), closeButton()),
    make("h2", { text: `${number(found.docs.length)} document${found.docs.length === 1 ? "" : "s"} with “${state.query.trim()}”` }),
    make("p", { class: "lead", text: `in ${shownTopics().length} topics` + (found.topics.size ? `, ${found.topics.size} of them with the word itself among their top words` : "") + (isCut ? ". Titles and the first lines of the documents are searched." : "") }),
    make("h3", { text: found.docs.length > shown.length ? `First ${shown.length} documents` : "Documents" }),
    make("ul", { class: "cards" }, ...shown.map(row => card(row, snippet(row), true)))];
}

const closeButton = () => make("button", { class: "tool", type: "button", "aria-label": "Close", title: "Close (Esc)", text: "✕", on: { click: back } });

function step(by) {
  const shown = shownTopics(), next = shown[(shown.indexOf(state.topic) + by + shown.length) % shown.length];
  if (next !== undefined) change({ topic: next, doc: -1 }, "panel");
}

function labelShares(t, label) {
  const counts = new Map();
  let total = 0;
  for (let row = 0; row < nDocs; row++) if (docs.topic[row] === t) { total++; counts.set(label.codes[row], (counts.get(label.codes[row]) ?? 0) + 1); }
  const rows = [...counts].sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, 5);
  if (!rows.length) return [];
  return [make("h3", { text: label.name }),
    make("ul", { class: "bars" }, ...rows.map(([code, count]) => bar(label.values[code], count / total, percent(count / total), hue(code))))];
}

function details(t) {
  const topic = topics[t], strongest = topic.words[0][1] || 1, colour = topicHue(t);
  const stats = [stat("Documents", number(topic.size), `(${percent(topic.size / nDocs)})`, "documents whose strongest topic this is")];
  if (topic.coverage !== null) stats.push(stat("Coverage", percent(topic.coverage), "of documents", "share of the documents in which the topic appears at all"));
  if (topic.probability !== null) stats.push(stat("Probability", percent(topic.probability), "", "share of the whole corpus, counting every document's mixture"));
  if (topic.n_features !== null) stats.push(stat("Features", number(topic.n_features), "merged", "features of the autoencoder that were merged into the topic"));
  const matching = found.active ? found.docs.filter(row => docs.topic[row] === t).slice(0, 20) : [];
  const pinned = state.doc >= 0 && !matching.includes(state.doc) && !topic.reps.some(([row]) => row === state.doc) ? [state.doc] : [];
  const parts = [make("div", { class: "top", style: { "--hue": colour } },
      make("span", { class: "swatch" }), make("span", { class: "grow", text: `Topic ${topic.id}` }),
      make("button", { class: "tool", type: "button", "aria-label": "Previous topic", title: "Previous topic", text: "‹", on: { click: () => step(-1) } }),
      make("button", { class: "tool", type: "button", "aria-label": "Next topic", title: "Next topic", text: "›", on: { click: () => step(1) } }),
      closeButton()),
    make("h2", {}, marked(topic.name)),
    make("dl", { class: "stats" }, ...stats),
    make("div", { class: "actions" }, make("button", { class: "tool", type: "button", text: "Zoom to the topic", disabled: topic.size === 0, on: { click: () => flyToTopic(t) } }))];
  if (pinned.length) parts.push(make("h3", { text: "The chosen document" }), make("ul", { class: "cards" }, ...pinned.map(row => card(row, snippet(row), false))));
  if (matching.length) parts.push(make("h3", { text: `Documents with “${state.query.trim()}”` }), make("ul", { class: "cards" }, ...matching.map(row => card(row, snippet(row), false))));
  parts.push(...contactSheet(t), make("h3", { text: "Words" }),
    make("ul", { class: "bars" }, ...topic.words.map(([word, weight]) => bar(marked(word), weight / strongest, weight.toPrecision(2), colour))));
  if (topic.reps.length) parts.push(make("h3", { text: "Representative documents" }), make("ul", { class: "cards" }, ...topic.reps.slice(0, 5).map(([row, text]) => card(row, text, false))));
  if (data.groups) parts.push(make("h3", { text: `Share by ${data.groups.name.toLowerCase()}` }), ...groupRows(t));
  if (data.times) parts.push(make("h3", { text: "Share over time" }), ...timeChart(t));
  if (topic.near.length) parts.push(make("h3", { text: data.nearest_by }), make("ul", { class: "chips" }, ...topic.near.map(([other, score]) => chip(other, score === null ? "" : score.toFixed(2)))));
  for (const label of labels) if (label.name !== data.groups?.name) parts.push(...labelShares(t, label));
  return parts;
}

function loneDocument(row) {
  return [make("div", { class: "top" }, make("span", { class: "grow", text: "Document" }), closeButton()),
    make("h2", { text: docs.title ? docs.title[row] : `Document ${row}` }),
    make("p", { class: "lead" }, marked(snippet(row))), make("p", { class: "lead", text: "It has no active feature, and so no topic." })];
}

function drawPanel() {
  const shows = state.topic >= 0 ? "topic" : state.doc >= 0 ? "document" : found.active ? "results" : "overview";
  document.body.dataset.shows = shows;
  $("panel").replaceChildren(...{ topic: () => details(state.topic), document: () => loneDocument(state.doc), results, overview }[shows]());
}

// ------------------------------------------------------------------ groups and time
const measured = { largest: "whose strongest topic it is", active: "in which the topic appears", share: "that the topic makes up" };
const interval = (low, high) => `${(100 * low).toFixed(1)}–${percent(high)}`;
const chance = q => q === null ? "" : q < .001 ? "q < 0.001" : `q = ${q.toPrecision(2)}`;

// For each group a dot at its share, on a line from the lower to the upper end of its interval; each topic has its own scale.
function groupRows(t) {
  const entry = data.groups.topics[t], most = Math.max(...entry.high, 1e-9), place = value => (100 * value / most).toFixed(2) + "%";
  const many = data.groups.groups.length > 40, all = data.groups.groups.map((_, g) => g);   // of many groups, those with the largest shares
  const shown = many ? all.sort((a, b) => entry.share[b] - entry.share[a]).slice(0, 12) : all, name = g => data.groups.groups[g];
  return [make("ul", { class: "ranges" }, ...shown.map(g => [g, name(g)]).map(([g, group]) => make("li", { title: `${group}: ${percent(entry.share[g])} (${interval(entry.low[g], entry.high[g])}) of ${number(data.groups.n_docs[g])} documents` },
    make("span", { class: "label", text: group }),
    make("span", { class: "range", style: { "--hue": topicHue(t), "--at": place(entry.share[g]), "--low": place(entry.low[g]), "--high": place(entry.high[g]) } }),
    make("span", { class: "value", text: percent(entry.share[g]) })))), ...(many ? [make("p", { class: "said", text: `and ${number(all.length - shown.length)} with smaller shares` })] : [])];
}

// A line over time with its interval as a band; a dashed line where the topic changed. The pointer asks for one interval of time.
function timeChart(t) {
  const entry = data.times.topics[t], { groups, centres, n_docs } = data.times, wide = 320, high = 84, left = 5, right = 5, top = 6, bottom = 4;
  const most = Math.max(...entry.high, 1e-9), first = centres[0], last = centres[centres.length - 1];
  const x = time => left + (wide - left - right) * (last > first ? (time - first) / (last - first) : .5), y = share => top + (high - top - bottom) * (1 - share / most);
  const space = "http://www.w3.org/2000/svg";
  const draw = (tag, attributes) => { const e = document.createElementNS(space, tag); for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value); return e; };
  const points = values => values.map((value, i) => `${x(centres[i]).toFixed(1)} ${y(value).toFixed(1)}`);
  const said = make("p", { class: "said" }), mark = draw("path", { d: "", class: "mark" });
  const svg = draw("svg", { viewBox: `0 0 ${wide} ${high}`, preserveAspectRatio: "none", class: "chart", role: "img", "aria-label": `${topics[t].name}: ${percent(entry.share[0])} in ${groups[0]}, ${percent(entry.share.at(-1))} in ${groups.at(-1)}` });
  svg.style.setProperty("--hue", topicHue(t));
  svg.append(...[0, most].map(share => draw("line", { x1: 0, x2: wide, y1: y(share), y2: y(share), class: "axis" })),
    draw("path", { d: `M${[...points(entry.high), ...points(entry.low).reverse()].join("L")}Z`, class: "band" }),
    draw("path", { d: `M${points(entry.share).join("L")}`, class: "line" }));
  if (centres.length <= 45) svg.append(draw("path", { d: points(entry.share).map(point => `M${point}h0`).join(""), class: "points" }));
  if (entry.change !== null) svg.append(draw("line", { x1: x(entry.change), x2: x(entry.change), y1: 2, y2: y(0), class: "change" }));
  svg.append(mark);
  const about = entry.change !== null ? `${moment(entry.change)} (${moment(entry.change_low)}–${moment(entry.change_high)}): from ${percent(entry.before)} to ${percent(entry.after)}`
    : entry.dropped ? entry.dropped : entry.q !== null && entry.q < .05 ? (entry.slope > 0 ? "rises over the whole time" : "falls over the whole time") : "no change found";
  const rest = () => { said.textContent = about; mark.setAttribute("d", ""); };
  svg.addEventListener("pointermove", event => {
    const box = svg.getBoundingClientRect(), here = (event.clientX - box.left) / box.width * wide;
    const i = centres.reduce((best, time, j) => Math.abs(x(time) - here) < Math.abs(x(centres[best]) - here) ? j : best, 0);
    said.textContent = `${groups[i]}: ${percent(entry.share[i])} (${interval(entry.low[i], entry.high[i])}) of ${number(n_docs[i])} documents`;
    mark.setAttribute("d", `M${x(centres[i])} ${y(entry.share[i])}h0`);
  });
  svg.addEventListener("pointerleave", rest);
  rest();
  return [make("div", { class: "plot" }, make("span", { class: "most", text: percent(most) }), svg), make("div", { class: "ends" }, make("span", { text: groups[0] }), make("span", { text: groups.at(-1) })), said];
}
// Times are years with a fraction, dates become a year and month; others, such as the numbers of eras, stay what they are.
function moment(time) {
  const names = data.times.groups;
  if (data.times.eras) return names[clamp(Math.round(time), 0, names.length - 1)];
  if (time < 1000 || time > 3000 || Number.isInteger(time)) return String(Math.round(100 * time) / 100);
  const year = Math.floor(time), [from, to] = [Date.UTC(year, 0, 1), Date.UTC(year + 1, 0, 1)];
  return new Date(from + Math.round((time - year) * (to - from) / 864e5) * 864e5).toISOString().slice(0, 7);
}

const views = { map: "Map", ...(data.groups ? { groups: "Groups" } : {}), ...(data.times ? { timeline: "Timeline" } : {}) };
const isFound = { groups: t => data.groups.topics[t].q !== null && data.groups.topics[t].q < .05,
  timeline: t => data.times.topics[t].q !== null && data.times.topics[t].q < .05 };
const spread = values => Math.max(...values) - Math.min(...values);
const difference = { groups: t => { const { share } = data.groups.topics[t], mean = share.reduce((a, b) => a + b, 0) / share.length; return share.reduce((a, b) => a + (b - mean) ** 2, 0); },
  timeline: t => data.times.topics[t].change !== null ? 1 + Math.abs(data.times.topics[t].after - data.times.topics[t].before) : isFound.timeline(t) ? spread(data.times.topics[t].share) : spread(data.times.topics[t].share) - 1 };

// One card a topic, in the view that is shown.
function drawView() {
  for (const button of $("tabs").children) { const on = button.dataset.view === state.view; button.setAttribute("aria-selected", String(on)); button.tabIndex = on ? 0 : -1; }
  for (const name of ["map", "groups", "timeline"]) $(name).hidden = name !== state.view;
  document.body.dataset.view = state.view;
  const place = $(state.view);
  if (state.view === "map") { for (const name of ["groups", "timeline"]) $(name).replaceChildren(); return; }
  const name = state.view, part = name === "groups" ? data.groups : data.times, kept = place.scrollTop;
  const live = topics.map((_, t) => t).filter(t => !found.active || found.topics.has(t) || found.perTopic[t] > 0), good = live.filter(isFound[name]);
  const tested = state.tested && good.length > 0, shown = (tested ? good : live).sort((a, b) => (state.byDifference ? difference[name](b) - difference[name](a) : 0) || topics[b].size - topics[a].size || a - b);
  const choice = (label, options) => make("div", { class: "segments", role: "group", "aria-label": label }, ...options.map(([text, on, what]) =>
    make("button", { type: "button", "aria-pressed": String(on), disabled: what === null, text, on: { click: () => change(what, "view") } })));
  const each = name === "groups" ? `Share of the documents of each ${part.name.toLowerCase()}` : "Share of the documents of each interval of time";
  place.replaceChildren(make("div", { class: "about" },
      make("p", { text: `${each} ${measured[part.measure] ?? ""}, with 95% intervals. Each topic has its own scale; q is corrected for the number of topics.` }),
      make("div", { class: "choices" },
        choice("Which topics", [[name === "groups" ? `Different (${good.length})` : `Changed (${good.length})`, tested, good.length ? { tested: true } : null], [`All (${live.length})`, !tested, { tested: false }]]),
        choice("Order", [[name === "groups" ? "By difference" : "By change", state.byDifference, { byDifference: true }], ["By size", !state.byDifference, { byDifference: false }]])),
      ...(!good.length && !found.active ? [make("p", { class: "note", text: name === "groups" ? "No topic differs between the groups by more than chance would have it." : "No topic changes by more than chance would have it." })] : []),
      ...part.notes.map(note => make("p", { class: "note", text: note }))),
    make("ul", { class: "grid" }, ...shown.map(t => make("li", { class: "tile" + (t === state.topic ? " chosen" : ""), "data-tile": t, style: { "--hue": topicHue(t) } },
      make("button", { class: "chip", type: "button", on: { click: () => change({ topic: t, doc: -1 }, "view") } }, make("span", { class: "swatch" }), make("span", { class: "grow" }, marked(topics[t].name)),
        make("small", { text: part.topics[t].dropped ? "not tested" : chance(part.topics[t].q) })),
      ...(name === "groups" ? groupRows(t) : timeChart(t)),
      name === "groups" && part.topics[t].dropped ? make("p", { class: "said", text: part.topics[t].dropped }) : null))));
  if (!shown.length) place.append(make("p", { class: "none", text: "No topic and no document has these words." }));
  place.scrollTop = kept;
}

// ------------------------------------------------------------------ the map
const canvas = $("canvas"), pen = canvas.getContext("2d", { alpha: false });
const view = { scale: 1, x: 0, y: 0, whole: 1, width: 0, height: 0 };   // screen = scale * position + offset
const byTopic = Array.from({ length: nTopics + 1 }, () => []);             // rows of each topic; the last list has no topic
docs.topic.forEach((t, row) => byTopic[t < 0 ? nTopics : t].push(row));
const largest = values => values.reduce((a, b) => Math.max(a, b), 1);
const extent = { width: largest(docs.x), height: largest(docs.y) };

// Rows by square of a 64 x 64 grid, so that the dot under the pointer is found without looking at all of them.
const squares = 64, square = 10000 / squares, grid = new Map();
const squareOf = (x, y) => Math.floor(x / square) * 1000 + Math.floor(y / square);
for (let row = 0; row < nDocs; row++) {
  const key = squareOf(docs.x[row], docs.y[row]);
  if (grid.has(key)) grid.get(key).push(row); else grid.set(key, [row]);
}

// What is emphasised: a topic, the documents found, both at once, or everything.
const isEmphasised = row => (state.topic < 0 || docs.topic[row] === state.topic) && (!found.active || found.isDoc[row] === 1);
const somethingChosen = () => state.topic >= 0 || found.active;
const radius = () => clamp(130 / Math.sqrt(nDocs), 1.7, 5) * clamp((view.scale / view.whole) ** .45, .8, 3);

// Dots are drawn by hand into the pixels of the page, which takes a tenth of the time that as many circles take, on any machine and
// without a graphics card. A dot is a stamp: which pixels it covers, and by how much, for 16 places of its centre within a pixel.
const raster = { image: null, pixels: null, wide: 0, high: 0, pad: 0 }, stamps = {};
const colours = { key: "", ofRow: new Uint32Array(nDocs) }, emphasised = new Uint8Array(nDocs);
let nEmphasised = 0;

function packed(colour) {   // "#rgb", "#rrggbb" or "rgb(...)" as a pixel, opaque
  const hex = colour[0] !== "#" ? null : colour.length === 4 ? colour.replace(/[^#]/g, "$&$&") : colour;
  const [r, g, b] = hex ? [1, 3, 5].map(at => parseInt(hex.slice(at, at + 2), 16)) : colour.match(/\d+/g).map(Number);
  return (255 << 24 | b << 16 | g << 8 | r) >>> 0;
}

function colourDots() {
  const key = `${state.dark} ${state.colour}`;
  if (colours.key === key) return;
  const label = labels[state.colour], codes = label ? label.codes : docs.topic, n = label ? label.values.length : nTopics;
  const palette = Uint32Array.from({ length: n + 1 }, (_, i) => packed(label ? hue(i) : topicHue(i === n ? -1 : i)));
  for (let row = 0; row < nDocs; row++) colours.ofRow[row] = palette[codes[row] < 0 ? n : codes[row]];
  colours.key = key;
}

function emphasise() {
  nEmphasised = 0;
  for (let row = 0; row < nDocs; row++) nEmphasised += emphasised[row] = isEmphasised(row) ? 1 : 0;
}

function stampsOf(size) {
  const key = `${size.toFixed(2)} ${raster.wide}`;
  if (stamps[key]) return stamps[key];
  if (Object.keys(stamps).length > 40) for (const old of Object.keys(stamps)) delete stamps[old];
  const reach = Math.ceil(size + 1);
  return stamps[key] = Array.from({ length: 16 }, (_, place) => {
    const cx = (place % 4 + .5) / 4 - .5, cy = ((place >> 2) + .5) / 4 - .5, at = [], cover = [];
    for (let y = -reach; y <= reach; y++) for (let x = -reach; x <= reach; x++) {
      const share = clamp(size + .5 - Math.hypot(x - cx, y - cy), 0, 1);
      if (share > .02) { at.push(y * raster.wide + x); cover.push(Math.round(256 * share)); }
    }
    return [Int32Array.from(at), Int32Array.from(cover)];
  });
}

// Stamp the rows that are (or are not) emphasised; two channels of a pixel are mixed in one multiplication.
function stampDots(want, size, alpha, colour) {
  const all = stampsOf(size), { pixels, wide, high, pad } = raster, { x: xs, y: ys } = docs, dense = canvas.width / view.width;
  const scale = view.scale * dense, left = view.x * dense + pad, top = view.y * dense + pad, edge = Math.ceil(size + 2);
  for (let row = 0; row < nDocs; row++) {
    if (want >= 0 && emphasised[row] !== want) continue;
    const x = scale * xs[row] + left, y = scale * ys[row] + top, px = Math.floor(x), py = Math.floor(y);
    if (px < edge || py < edge || px >= wide - edge || py >= high - edge) continue;
    const [offsets, cover] = all[(Math.floor(4 * (y - py)) << 2) + Math.floor(4 * (x - px))], at = py * wide + px;
    const ink = colour ?? colours.ofRow[row], redBlue = ink & 0xff00ff, green = ink & 0xff00;
    for (let k = 0; k < offsets.length; k++) {
      const i = at + offsets[k], below = pixels[i], a = cover[k] * alpha >> 8, rb = below & 0xff00ff, g = below & 0xff00;
      pixels[i] = 0xff000000 | ((Math.imul(redBlue - rb, a) >> 8) + rb) & 0xff00ff | ((Math.imul(green - g, a) >> 8) + g) & 0xff00;
    }
  }
}

function drawDots() {
  const dense = canvas.width / view.width, size = radius() * dense, chosen = somethingChosen(), few = chosen && nEmphasised < 200;
  const steps = value => Math.round(value * 4) / 4, pad = Math.ceil(size * 1.7 + 8);
  if (raster.wide !== canvas.width + 2 * raster.pad || raster.high !== canvas.height + 2 * raster.pad || pad > raster.pad) {
    raster.pad = Math.max(pad, 24); raster.wide = canvas.width + 2 * raster.pad; raster.high = canvas.height + 2 * raster.pad;
    raster.image = new ImageData(raster.wide, raster.high);
    raster.pixels = new Uint32Array(raster.image.data.buffer);
  }
  colourDots();
  raster.pixels.fill(packed(state.dark ? "#131417" : "#f6f6f3"));
  if (chosen) stampDots(0, steps(size * .9), state.dark ? 128 : 154, packed(state.dark ? "#4a4e57" : "#cfcec6"));
  stampDots(chosen ? 1 : -1, steps(size * (few ? 1.7 : chosen ? 1.25 : 1)), chosen ? 230 : 184);
  pen.putImageData(raster.image, -raster.pad, -raster.pad, raster.pad, raster.pad, canvas.width, canvas.height);
}

// Close up, documents with a picture show it.
const loaded = new Map();
function drawPictures() {
  if (!hasThumbs || view.scale < view.whole * 3) return;
  const rows = [], [left, right] = [-view.x / view.scale, (view.width - view.x) / view.scale], [top, bottom] = [-view.y / view.scale, (view.height - view.y) / view.scale];
  for (let sx = Math.floor(left / square); sx <= right / square; sx++) for (let sy = Math.floor(top / square); sy <= bottom / square; sy++)
    for (const row of grid.get(sx * 1000 + sy) ?? []) if (thumbs[row] && emphasised[row] && docs.x[row] >= left && docs.x[row] <= right && docs.y[row] >= top && docs.y[row] <= bottom) rows.push(row);
  if (!rows.length) return;
  const size = clamp(Math.sqrt(view.width * view.height / rows.length) * .55, 0, 56);
  if (size < 18) return;
  for (const row of rows.slice(0, 400)) {
    if (!loaded.has(row)) { const image = new Image(); image.onload = redraw; image.src = "data:" + thumbs[row]; loaded.set(row, image); }
    const image = loaded.get(row);
    if (!image.complete || !image.naturalWidth) continue;
    const ratio = size / Math.max(image.naturalWidth, image.naturalHeight), w = image.naturalWidth * ratio, h = image.naturalHeight * ratio;
    pen.fillStyle = "#fff"; pen.strokeStyle = topicHue(docs.topic[row]); pen.lineWidth = 2;
    pen.beginPath(); pen.roundRect(view.scale * docs.x[row] + view.x - size / 2 - 2, view.scale * docs.y[row] + view.y - size / 2 - 2, size + 4, size + 4, 5); pen.fill(); pen.stroke();
    pen.drawImage(image, view.scale * docs.x[row] + view.x - w / 2, view.scale * docs.y[row] + view.y - h / 2, w, h);
  }
}

function drawMap() {
  if (!view.width || state.view !== "map") return;
  const dense = canvas.width / view.width, size = radius();
  drawDots();
  pen.setTransform(dense, 0, 0, dense, 0, 0);
  drawPictures();
  for (const row of [state.hover, state.doc]) if (row >= 0) {
    const x = view.scale * docs.x[row] + view.x, y = view.scale * docs.y[row] + view.y;
    pen.beginPath(); pen.arc(x, y, size + 1, 0, 6.2832);
    pen.fillStyle = topicHue(docs.topic[row]); if (!thumbs[row] || view.scale < view.whole * 3) pen.fill();
    pen.beginPath(); pen.arc(x, y, size + 3.5, 0, 6.2832);
    pen.lineWidth = 2; pen.strokeStyle = state.dark ? "#fff" : "#1d1d1b"; pen.stroke();
  }
  drawLabels();
}

// Names at the centres of their topics, large topics first; a name that would cover another waits until there is room.
let boxes = [];
function short(name, longest = 26) {
  if (name.length <= longest) return name;
  const comma = name.lastIndexOf(",", longest), space = name.lastIndexOf(" ", longest - 1);
  return comma > 4 ? name.slice(0, comma) : name.slice(0, space > 8 ? space : longest - 1) + "…";
}
function drawLabels() {
  const first = t => (t === state.topic ? 4 : 0) + (t === pointed ? 2 : 0) + (found.topics.has(t) ? 1 : 0);
  const order = topics.map((_, t) => t).filter(t => topics[t].x !== null).sort((a, b) => first(b) - first(a) || topics[b].size - topics[a].size);
  const most = Math.max(4, view.width * view.height / 14000);   // more names than this would hide the dots
  boxes = [{ t: -1, left: view.width - 58, right: view.width, top: view.height - 142, bottom: view.height }];   // the zoom buttons
  const family = getComputedStyle(document.body).fontFamily;
  pen.textBaseline = "middle"; pen.textAlign = "center"; pen.lineJoin = "round";
  for (const t of order) {
    if (boxes.length > most) break;
    const strong = t === state.topic || t === pointed, high = 20;
    if (found.active && !strong && !found.topics.has(t)) continue;
    if (state.topic >= 0 && !strong && !found.active) continue;
    pen.font = `${strong ? 700 : 600} ${strong ? 13.5 : 12}px ${family}`;
    const text = short(topics[t].name), wide = pen.measureText(text).width + 14;
    const middle = view.scale * topics[t].x + view.x, y = view.scale * topics[t].y + view.y;
    if (middle < -20 || middle > view.width + 20 || y < -10 || y > view.height + 10) continue;
    const x = clamp(middle, wide / 2 + 4, Math.max(wide / 2 + 4, view.width - wide / 2 - 4));
    for (const shift of [0, -14, 14, -26, 26]) {
      const box = { t, left: x - wide / 2, right: x + wide / 2, top: y + shift - high / 2, bottom: y + shift + high / 2 };
      if (!strong && boxes.some(other => box.left < other.right && other.left < box.right && box.top < other.bottom && other.top < box.bottom)) continue;
      boxes.push(box);
      pen.lineWidth = 4; pen.strokeStyle = state.dark ? "rgb(19 20 23 / .88)" : "rgb(246 246 243 / .9)"; pen.strokeText(text, x, y + shift);
      pen.fillStyle = state.dark ? "#f2f2f0" : "#1d1d1b"; pen.fillText(text, x, y + shift);
      break;
    }
  }
}

let waiting = false;
function redraw() {
  if (waiting) return;
  waiting = true;
  requestAnimationFrame(() => { waiting = false; drawMap(); });
}

function fit() {
  const room = 34;
  view.whole = Math.max(1e-4, Math.min((view.width - 2 * room) / extent.width, (view.height - 2 * room) / extent.height));
  view.scale = view.whole;
  view.x = (view.width - view.scale * extent.width) / 2; view.y = (view.height - view.scale * extent.height) / 2;
}

function resize() {
  const box = canvas.getBoundingClientRect(), dense = Math.min(window.devicePixelRatio || 1, Math.sqrt(6e6 / Math.max(1, box.width * box.height)));
  if (!box.width || !box.height) return;
  const untouched = view.scale === view.whole;
  canvas.width = Math.round(box.width * dense); canvas.height = Math.round(box.height * dense);
  view.x += (box.width - view.width) / 2; view.y += (box.height - view.height) / 2;
  view.width = box.width; view.height = box.height;
  if (untouched) fit();
  drawMap();
}

function zoom(by, x = view.width / 2, y = view.height / 2) {
  const scale = clamp(view.scale * by, view.whole * .7, view.whole * 60), ratio = scale / view.scale;
  view.x = x - (x - view.x) * ratio; view.y = y - (y - view.y) * ratio; view.scale = scale;
  hideTooltip(); redraw();
}

// Move the view to a target in a third of a second, or at once for readers who want no motion.
let flight = 0;
function fly(target) {
  cancelAnimationFrame(flight);
  const from = { ...view }, start = performance.now(), long = matchMedia("(prefers-reduced-motion: reduce)").matches ? 0 : 340;
  const move = now => {
    const t = long ? clamp((now - start) / long, 0, 1) : 1, ease = 1 - (1 - t) ** 3;
    for (const key of ["scale", "x", "y"]) view[key] = from[key] + (target[key] - from[key]) * ease;
    drawMap();
    if (t < 1) flight = requestAnimationFrame(move);
  };
  flight = requestAnimationFrame(move);
}
const centred = (x, y, scale) => ({ scale, x: view.width / 2 - scale * x, y: view.height / 2 - scale * y });
function toMap() { if (state.view !== "map") { change({ view: "map" }); resize(); } }
function flyTo(row) { toMap(); fly(centred(docs.x[row], docs.y[row], Math.max(view.scale, view.whole * 3))); }
function flyToTopic(t) {
  toMap();
  const middle = values => { const sorted = [...values].sort((a, b) => a - b); return [sorted[Math.floor(.1 * (sorted.length - 1))], sorted[Math.ceil(.9 * (sorted.length - 1))]]; };
  const [left, right] = middle(byTopic[t].map(row => docs.x[row])), [top, bottom] = middle(byTopic[t].map(row => docs.y[row]));
  const scale = Math.min(view.width / (right - left + 300), view.height / (bottom - top + 300)) * .85;
  fly(centred((left + right) / 2, (top + bottom) / 2, clamp(scale, view.whole, view.whole * 12)));
}

function nearestDot(x, y, reach = 14) {
  const px = (x - view.x) / view.scale, py = (y - view.y) / view.scale, far = reach / view.scale, chosen = somethingChosen();
  let best = -1, least = reach;
  for (let sx = Math.floor((px - far) / square); sx <= (px + far) / square; sx++)
    for (let sy = Math.floor((py - far) / square); sy <= (py + far) / square; sy++)
      for (const row of grid.get(sx * 1000 + sy) ?? []) {
        const gap = view.scale * Math.hypot(docs.x[row] - px, docs.y[row] - py) + (chosen && !isEmphasised(row) ? 7 : 0);
        if (gap < least) { least = gap; best = row; }
      }
  return best;
}

function showTooltip(row, x, y) {
  const t = docs.topic[row], tip = $("tooltip");
  tip.replaceChildren(...[picture(row, ""), docs.title ? make("strong", { text: docs.title[row] }) : null, make("div", { class: "text", text: snippet(row) }),
    make("div", { class: "from", style: { "--hue": topicHue(t) } }, make("span", { class: "swatch" }), make("span", { class: "grow", text: t < 0 ? "no topic" : topics[t].name })),
    ...labels.map(label => make("div", { class: "text", text: `${label.name}: ${label.values[label.codes[row]]}` }))].filter(Boolean));
  tip.hidden = false;
  const wide = tip.offsetWidth, high = tip.offsetHeight;
  tip.style.left = clamp(x + 16 + wide > view.width ? x - wide - 16 : x + 16, 8, Math.max(8, view.width - wide - 8)) + "px";
  tip.style.top = clamp(y + 16 + high > view.height ? y - high - 12 : y + 16, 8, Math.max(8, view.height - high - 8)) + "px";
}
function hideTooltip() { $("tooltip").hidden = true; state.hover = -1; }

let pointed = -1;   // the topic under the pointer in the list
function point(t) { if (pointed !== t) { pointed = t; redraw(); } }

const touching = new Map();
let moved = 0;
canvas.addEventListener("pointerdown", event => {
  cancelAnimationFrame(flight);
  canvas.setPointerCapture(event.pointerId);
  touching.set(event.pointerId, [event.offsetX, event.offsetY]);
  moved = 0;
});
canvas.addEventListener("pointermove", event => {
  const here = [event.offsetX, event.offsetY], before = touching.get(event.pointerId);
  if (!before) {
    const row = nearestDot(...here);
    canvas.classList.toggle("pointing", row >= 0);
    if (row >= 0) showTooltip(row, ...here); else hideTooltip();
    if (row !== state.hover || row < 0) { state.hover = row; redraw(); }
    return;
  }
  const other = [...touching].find(([id]) => id !== event.pointerId)?.[1];
  if (other) zoom(Math.hypot(here[0] - other[0], here[1] - other[1]) / Math.max(1, Math.hypot(before[0] - other[0], before[1] - other[1])), (here[0] + other[0]) / 2, (here[1] + other[1]) / 2);
  else { view.x += here[0] - before[0]; view.y += here[1] - before[1]; }
  moved += Math.hypot(here[0] - before[0], here[1] - before[1]);
  touching.set(event.pointerId, here);
  if (moved > 4) { canvas.classList.add("dragging"); hideTooltip(); }
  redraw();
});
canvas.addEventListener("pointerup", event => {
  touching.delete(event.pointerId);
  canvas.classList.remove("dragging");
  if (moved > 4) return;
  const [x, y] = [event.offsetX, event.offsetY];
  const box = boxes.find(b => b.t >= 0 && x > b.left && x < b.right && y > b.top && y < b.bottom), row = nearestDot(x, y);
  if (box && (row < 0 || box.t !== docs.topic[row])) change({ topic: box.t, doc: -1 });
  else change({ topic: row < 0 ? -1 : docs.topic[row], doc: row });
});
canvas.addEventListener("pointercancel", event => { touching.delete(event.pointerId); canvas.classList.remove("dragging"); });
canvas.addEventListener("pointerleave", () => { hideTooltip(); redraw(); });
canvas.addEventListener("wheel", event => { event.preventDefault(); zoom(Math.exp(-clamp(event.deltaY, -120, 120) * .0022), event.offsetX, event.offsetY); }, { passive: false });
canvas.addEventListener("dblclick", event => zoom(2, event.offsetX, event.offsetY));
canvas.addEventListener("keydown", event => {
  const by = { ArrowLeft: [60, 0], ArrowRight: [-60, 0], ArrowUp: [0, 60], ArrowDown: [0, -60] }[event.key];
  if (!by) return;
  event.preventDefault();
  view.x += by[0]; view.y += by[1]; redraw();
});
const showWhole = () => { const before = { ...view }; fit(); const target = { ...view }; Object.assign(view, before); fly(target); };
$("closer").addEventListener("click", () => zoom(1.5));
$("further").addEventListener("click", () => zoom(1 / 1.5));
$("whole").addEventListener("click", showWhole);

// ------------------------------------------------------------------ changes
function change(what, from) {
  Object.assign(state, what);
  if ("query" in what) { search(state.query); pointed = -1; }
  if ("view" in what) hideTooltip();
  emphasise(); drawList(); drawPanel(); drawLegend(); drawView(); redraw(); writeAddress();
  if ("topic" in what || "doc" in what) {
    $("panel").scrollTop = 0;
    if (state.topic >= 0 && from !== "view" && state.view !== "map") $(state.view).querySelector(`[data-tile="${state.topic}"]`)?.scrollIntoView({ block: "nearest" });
    if (state.topic >= 0 && from !== "list") $("topics").querySelector(`[data-topic="${state.topic}"]`)?.scrollIntoView({ block: "nearest" });
    if (state.topic >= 0 && matchMedia("(max-width: 720px)").matches && from) $("panel").scrollIntoView();
  }
  $("status").textContent = state.topic >= 0 ? `Topic ${topics[state.topic].name}, ${topics[state.topic].size} documents`
    : found.active ? `${found.docs.length} documents, ${shownTopics().length} topics` : "";
}

// One step back: from a topic to the search, from the search to everything.
function back() {
  if (state.topic >= 0 || state.doc >= 0) change({ topic: -1, doc: -1 });
  else if (state.query) { $("search").value = ""; change({ query: "" }); }
}

function drawLegend() {
  const legend = $("colours").querySelector(".legend");
  legend?.remove();
  if (state.colour < 0) return;
  $("colours").prepend(make("ul", { class: "legend" }, ...labels[state.colour].values.map((value, code) =>
    make("li", { style: { "--hue": hue(code) } }, make("span", { class: "swatch" }), make("span", { text: value })))));
}

function setTheme(dark) {
  state.dark = dark;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
}

// The address keeps what is shown: #topic=3&search=space&sort=name&theme=dark
let chosenTheme = null;
function readAddress() {
  const asked = new URLSearchParams(location.hash.slice(1));
  chosenTheme = ["dark", "light"].includes(asked.get("theme")) ? asked.get("theme") : null;
  setTheme(chosenTheme ? chosenTheme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  const topic = asked.has("topic") ? topics.findIndex(one => String(one.id) === asked.get("topic")) : -1;
  $("search").value = asked.get("search") ?? "";
  change({ topic, doc: -1, query: asked.get("search") ?? "", sort: orders[asked.get("sort")] ? asked.get("sort") : "size", view: Object.hasOwn(views, asked.get("view") ?? "") ? asked.get("view") : "map" });
}
function writeAddress() {
  const parts = new URLSearchParams();
  if (state.topic >= 0) parts.set("topic", topics[state.topic].id);
  if (state.query.trim()) parts.set("search", state.query.trim());
  if (state.sort !== "size") parts.set("sort", state.sort);
  if (state.view !== "map") parts.set("view", state.view);
  if (chosenTheme) parts.set("theme", chosenTheme);
  const hash = parts.toString() ? "#" + parts : "";
  if (hash !== location.hash) history.replaceState(null, "", hash || location.pathname + location.search);
}

// ------------------------------------------------------------------ start
for (const [name, order] of Object.entries(orders)) $("sorts").append(make("button", { type: "button", "data-sort": name, text: order.title,
  on: { click: () => change({ sort: name, down: name === state.sort && name !== "related" ? !state.down : true }) } }));
$("tabs").hidden = Object.keys(views).length < 2;
for (const [name, title] of Object.entries(views)) $("tabs").append(make("button", { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": name, "data-view": name, text: title, on: { click: () => change({ view: name }) } }));
$("tabs").addEventListener("keydown", event => {
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key], names = Object.keys(views);
  if (!by) return;
  event.preventDefault();
  change({ view: names[(names.indexOf(state.view) + by + names.length) % names.length] });
  $(`tab-${state.view}`).focus();
});
if (labels.length) $("colours").append(make("select", { "aria-label": "Colour the dots by", on: { change: event => change({ colour: Number(event.target.value) }) } },
  make("option", { value: -1, text: "Colour by topic" }), ...labels.map((label, i) => make("option", { value: i, text: `Colour by ${label.name.toLowerCase()}` }))));
canvas.setAttribute("aria-label", `Map of ${number(nDocs)} documents in ${nTopics} topics. The list of topics has the same content as text.`);

let typing = 0;
$("search").addEventListener("input", event => { clearTimeout(typing); typing = setTimeout(() => change({ query: event.target.value, topic: -1, doc: -1 }), 90); });
$("theme").addEventListener("click", () => { chosenTheme = state.dark ? "light" : "dark"; setTheme(!state.dark); change({}); });
$("topics").addEventListener("keydown", event => {
  if (!["ArrowDown", "ArrowUp", "Home", "End"].includes(event.key)) return;
  const rows = [...$("topics").querySelectorAll(".row")], here = rows.indexOf(document.activeElement);
  const next = { ArrowDown: here + 1, ArrowUp: here - 1, Home: 0, End: rows.length - 1 }[event.key];
  if (rows[next]) { event.preventDefault(); rows[next].focus(); }
});
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const writing = event.target === $("search");
  if (event.key === "Escape") { if (writing && !state.query) event.target.blur(); back(); }
  else if (writing) { if (event.key === "ArrowDown") { event.preventDefault(); $("topics").querySelector(".row")?.focus(); } }
  else if (event.key === "/") { event.preventDefault(); $("search").focus(); $("search").select(); }
  else if (event.key === "+" || event.key === "=") zoom(1.5);
  else if (event.key === "-") zoom(1 / 1.5);
  else if (event.key === "0") showWhole();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", event => { if (!chosenTheme) { setTheme(event.matches); change({}); } });
window.addEventListener("hashchange", readAddress);
new ResizeObserver(resize).observe(canvas);
readAddress();
resize();
window.requestIdleCallback?.(foldSome);
document.documentElement.dataset.ready = "yes";
})();
