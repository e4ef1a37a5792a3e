// The viewer: a list of rollouts, and a pane in which one is read.

const KEYS = [
  ["j or ↓", "next rollout in the list"],
  ["k or ↑", "previous rollout"],
  ["n", "the same problem at the next step or model"],
  ["p", "the same problem at the previous step or model"],
  ["v", "pin this rollout, to read others beside it; again: unpin"],
  ["c", "colour tokens in the next way"],
  ["f or /", "go to the filters; Escape goes back to the list"],
  ["?", "this help"],
];

/** The light rows with what the list and the filters ask of them again and again. */
function prepared(index) {
  return index.map((row, place) => {
    const when = isFigure(row.step) ? `step ${row.step}` : row.model;
    return {
      ...row,
      place,
      moment: [row.stage, row.step, row.model, row.set].map((part) => part ?? "").join("\u0000"),
      when: when || row.stage,
      shownMoment: shown(when ? `${row.stage} · ${when}` : row.stage),
      shownProblem: shown(row.problem),
      words: [row.problem, row.family, row.model, row.set].join("\n").toLowerCase(),
    };
  });
}

/** By problem the moments at which it was asked, each with its rollouts. What one model was asked in several ways, as
 * with several efforts, are moments of their own, which are told apart by the name of the set. */
function momentsOf(rows) {
  const problems = new Map();
  for (const row of rows) {
    if (!problems.has(row.problem)) problems.set(row.problem, new Map());
    const moments = problems.get(row.problem);
    if (!moments.has(row.moment)) {
      const short = isFigure(row.step) ? String(row.step) : row.when;
      moments.set(row.moment, { key: row.moment, label: row.shownMoment, short, rows: [] });
    }
    moments.get(row.moment).rows.push(row);
  }
  for (const moments of problems.values()) {
    const labels = [...moments.values()].map((one) => one.label);
    for (const one of moments.values()) {
      const isOne = labels.filter((label) => label === one.label).length === 1;
      if (!isOne) one.label = `${one.label} · ${shown(one.rows[0].set ?? "")}`;
    }
  }
  return problems;
}

/** Show the rollouts of a source inside an element. `focus` puts the keyboard there, `first` is the id of the rollout
 * that is read first, and `chosen(id)` hears of each that is read. */
function mountViewer(root, source, { focus = false, first = "", chosen = () => {} } = {}) {
  return new Viewer(root, source, { focus, first, chosen });
}

class Viewer {
  constructor(root, source, { focus, first, chosen }) {
    this.source = source;
    this.first = first;
    this.chosen = chosen;
    const rows = prepared(source.index);
    this.problems = momentsOf(rows);
    this.row = null; // the light row that is read
    this.whole = null; // all of it, when it has come
    this.pinned = null;
    this.colour = "plain";
    this.list = new RolloutList((row) => this.choose(row));
    this.filters = new Filters(rows, () => this.follow());
    this.reading = make("div", { class: "rv-reading", role: "region", tabindex: "0", "aria-label": "The rollout" });
    this.help = this.helpDialog();
    this.root = root;
    root.classList.add("rv");
    root.tabIndex = -1; // a click beside a control keeps the keys working
    root.replaceChildren(
      make("div", { class: "rv-side-list" }, this.filters.element, this.filters.head, this.list.element, this.told()),
      this.reading, this.help);
    root.addEventListener("keydown", (event) => this.key(event));
    this.follow();
    if (focus) this.list.element.focus();
  }

  /** What is not here, and the way to the help. */
  told() {
    const { notHere, leftOut } = this.source;
    const parts = [];
    if (notHere) parts.push(`${number.format(notHere)} more did not fit into this page; retort look shows them`);
    if (leftOut) parts.push(`${number.format(leftOut)} torn or foreign rows left out`);
    return make("div", { class: "rv-foot" }, make("span", {}, parts.join(" · ")),
      make("button", { type: "button", class: "rv-button", on: { click: () => this.help.showModal() } }, "Keys ?"));
  }

  helpDialog() {
    const close = make("button", { type: "button", class: "rv-button" }, "Close");
    const dialog = make("dialog", { class: "rv-help", "aria-label": "Keys" }, make("h3", {}, "Keys"),
      make("dl", {}, KEYS.map(([key, told]) => [make("dt", {}, key), make("dd", {}, told)])), close);
    close.addEventListener("click", () => dialog.close());
    return dialog;
  }

  /** List what the filters let pass. */
  follow() {
    this.listed = this.filters.rows();
    this.list.element.scrollTop = 0;
    const stays = this.row !== null && this.listed.includes(this.row);
    this.list.show(this.listed, stays ? this.row.id : undefined);
    if (stays) return;
    const first = this.row === null ? this.listed.find((row) => row.id === this.first) : undefined;
    if (this.row === null || this.listed.length) this.choose(first ?? this.listed[0]);
  }

  async choose(row) {
    if (row === undefined) {
      this.reading.replaceChildren(nothing("No rollout passes these filters."));
      return;
    }
    this.row = row;
    this.chosen(row.id);
    this.list.select(row.id);
    this.reading.setAttribute("aria-busy", "true");
    try {
      const whole = await this.source.row(row.id);
      if (this.row !== row) return; // another one was chosen meanwhile
      this.whole = whole;
      this.read();
    } catch (error) {
      if (this.row !== row) return;
      this.reading.replaceChildren(nothing(`This rollout could not be read (${error.message}). Load the page again.`));
    } finally {
      if (this.row === row) this.reading.removeAttribute("aria-busy");
    }
  }

  /** Draw the reading pane again, with the focus and the scrolling where they were. */
  read() {
    const kept = this.reading.contains(document.activeElement) ? document.activeElement.dataset.keep : null;
    this.reading.replaceChildren(
      make("header", { class: "rv-title" },
        make("div", {}, make("h2", {}, this.row.problem), this.facts(this.row, this.whole)),
        make("div", { class: "rv-line" }, this.colours(), this.pin())),
      this.learned(),
      ...rolloutView(this.whole, this.pinned, this.colour));
    this.reading.querySelector(".rv-moment[aria-current]")?.scrollIntoView({ block: "nearest", inline: "nearest" });
    if (kept) this.reading.querySelector(`[data-keep="${kept}"]`)?.focus({ preventScroll: true });
  }

  /** The problem through the run, and the rollouts that were drawn together with this one. */
  learned() {
    const moments = this.moments();
    const at = moments.findIndex((one) => one.key === this.row.moment);
    const here = moments[at];
    const step = (way, name, key) => make("button", { type: "button", class: "rv-button", "data-keep": name,
      disabled: !moments[at + way], title: `key ${key}`, on: { click: () => this.goTo(moments[at + way]) } },
      way < 0 ? "← before" : "after →");
    const isOnce = moments.length === 1;
    const told = isOnce ? here.label : `moment ${at + 1} of ${moments.length}: ${here.label}`;
    return make("section", { class: "rv-learned", "aria-label": "How it learned this one" },
      make("div", { class: "rv-line" }, make("h3", {}, isOnce ? "Asked once" : "How it learned this one"),
        isOnce ? null : [step(-1, "before", "p"), step(1, "after", "n")],
        make("span", { class: "rv-muted" }, told)),
      isOnce ? null : wayOf(moments, this.row, (one) => this.goTo(one)),
      here.rows.length > 1 ? groupOf(here, this.row, (one) => this.choose(one)) : null);
  }

  /** The moments at which the problem was asked, in their order. */
  moments() {
    return [...this.problems.get(this.row.problem).values()];
  }

  facts(row, whole) {
    const cut = whole.finished === false ? ", cut by the token budget" : "";
    const told = new Set([row.family, row.set, whenOf(row), `rollout ${row.rollout ?? 0}`,
      isFigure(row.tokens) ? `${number.format(row.tokens)} tokens${cut}` : null]);
    return make("p", { class: "rv-muted" }, [...told].filter(Boolean).join(" · "));
  }

  colours() {
    const possible = coloursOf([this.whole]);
    const button = (key, name) => make("button", { type: "button", "data-keep": `colour-${key}`,
      "aria-pressed": String(key === this.colour), disabled: !possible.includes(key),
      title: possible.includes(key) ? null : "not kept of this rollout",
      on: { click: () => this.colourBy(key) } }, name);
    return make("div", { class: "rv-choice", role: "group", "aria-label": "Colour of tokens (key c)" },
      Object.entries(COLOURS).map(([key, { name }]) => button(key, name)));
  }

  pin() {
    const told = this.pinned ? "Unpin" : "Compare";
    return make("button", { type: "button", class: "rv-button", "data-keep": "pin",
      "aria-pressed": String(this.pinned !== null),
      title: "keep this rollout, to read others beside it (key v)", on: { click: () => this.togglePin() } }, told);
  }

  togglePin() {
    this.pinned = this.pinned ? null : this.whole;
    const moments = this.moments();
    const at = moments.findIndex((one) => one.key === this.row.moment);
    // Nothing is to be seen beside itself: the other end of the problem's way is what one compares with.
    const other = moments[at === moments.length - 1 ? 0 : moments.length - 1];
    if (this.pinned && other.key !== this.row.moment) this.goTo(other);
    else this.read();
  }

  colourBy(key) {
    this.colour = key;
    this.read();
  }

  /** Another moment of the problem, at the rollout of the same number where there is one. */
  goTo(moment) {
    if (!moment) return;
    this.choose(moment.rows.find((one) => one.rollout === this.row.rollout) ?? moment.rows[0]);
  }

  goBy(way) {
    const at = this.listed.indexOf(this.row);
    const next = this.listed[at < 0 ? 0 : at + way];
    if (next) this.choose(next);
  }

  goAlong(way) {
    const moments = this.moments();
    this.goTo(moments[moments.findIndex((one) => one.key === this.row.moment) + way]);
  }

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented || this.help.open) return;
    if (event.target.matches("input, select, textarea")) {
      if (event.key === "Escape") this.list.element.focus();
      return;
    }
    const act = {
      j: () => this.goBy(1),
      k: () => this.goBy(-1),
      n: () => this.goAlong(1),
      p: () => this.goAlong(-1),
      v: () => this.togglePin(),
      c: () => this.nextColour(),
      f: () => this.filters.text.control.focus(),
      "/": () => this.filters.text.control.focus(),
      "?": () => this.help.showModal(),
      ...(event.target === this.list.element ? {
        ArrowDown: () => this.goBy(1),
        ArrowUp: () => this.goBy(-1),
        Home: () => this.choose(this.listed[0]),
        End: () => this.choose(this.listed.at(-1)),
      } : {}),
    }[event.key];
    if (!act || (this.whole === null && "npvc".includes(event.key))) return;
    event.preventDefault();
    act();
  }

  nextColour() {
    const possible = coloursOf([this.whole]);
    this.colourBy(possible[(possible.indexOf(this.colour) + 1) % possible.length]);
  }
}
