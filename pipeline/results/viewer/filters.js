// What of the rollouts is listed, and in which order.

const WAIT = 120; // milliseconds after the last key before the list follows

const ORDERS = {
  mark: ["Verdict", (row) => Object.keys(VERDICTS).indexOf(row.verdict)],
  moment: ["When", (row) => row.place],
  problem: ["Problem", (row) => row.shownProblem],
  reward: ["Reward", (row) => row.reward ?? -Infinity],
  tokens: ["Tokens", (row) => row.tokens ?? -1],
};

/** The controls above the list. `changed()` hears when the list has to follow. */
class Filters {
  constructor(rows, changed) {
    this.all = rows;
    this.changed = changed;
    this.order = { key: "moment", down: false };
    this.verdicts = new Set();
    this.text = this.input("Problem", { type: "search", placeholder: "problem, family, set or model" });
    this.stage = this.select("Stage", rows.map((row) => row.stage));
    this.model = this.select("Model", rows.map((row) => row.model));
    this.reward = this.range("Reward", rows, "reward", "any");
    this.step = this.range("Step", rows, "step", "1");
    this.chips = this.verdictChips(rows);
    this.clear = make("button", { type: "button", class: "rv-button", on: { click: () => this.reset() } }, "Clear");
    this.count = make("span", { class: "rv-count", role: "status" });
    this.element = make(
      "form",
      { class: "rv-filters", "aria-label": "Which rollouts are listed",
        on: { submit: (event) => event.preventDefault() } },
      this.text.label,
      make("div", { class: "rv-fields" }, this.stage.label, this.model.label, this.step.box, this.reward.box),
      make("div", { class: "rv-line", role: "group", "aria-label": "Verdict" }, [...this.chips.values()]),
      make("div", { class: "rv-line rv-told" }, this.count, this.clear),
    );
    this.head = make(
      "div",
      { class: "rv-head", role: "group", "aria-label": "Order" },
      Object.entries(ORDERS).map(([key, [name]]) =>
        make("button", { type: "button", class: `rv-c-${key}`, "data-order": key, "aria-label": `Sort by ${name}`,
          on: { click: () => this.sortBy(key) } },
          make("span", { class: "rv-by" }, key === "mark" ? "" : name), make("span", { class: "rv-way" })),
      ),
    );
    this.tellOrder();
  }

  /** The rows that pass, in order; tells how many of each verdict there would be. */
  rows() {
    const words = this.text.control.value.toLowerCase().split(/\s+/).filter(Boolean);
    const [stage, model] = [this.stage.control.value, this.model.control.value];
    const others = this.all.filter(
      (row) =>
        (stage === "" || row.stage === stage) &&
        (model === "" || row.model === model) &&
        this.reward.holds(row.reward) &&
        this.step.holds(row.step) &&
        words.every((word) => row.words.includes(word)),
    );
    const counts = new Map();
    for (const row of others) counts.set(row.verdict ?? "", (counts.get(row.verdict ?? "") ?? 0) + 1);
    for (const [verdict, chip] of this.chips) {
      chip.querySelector(".rv-number").textContent = number.format(counts.get(verdict) ?? 0);
    }
    const rows = this.verdicts.size ? others.filter((row) => this.verdicts.has(row.verdict ?? "")) : others;
    this.count.textContent = `${number.format(rows.length)} of ${number.format(this.all.length)} rollouts`;
    return this.sorted(rows);
  }

  sorted(rows) {
    const value = ORDERS[this.order.key][1];
    const sign = this.order.down ? -1 : 1;
    return [...rows].sort((one, other) => {
      const [a, b] = [value(one), value(other)];
      return a < b ? -sign : a > b ? sign : one.place - other.place;
    });
  }

  sortBy(key) {
    const figures = key === "reward" || key === "tokens";
    // Of figures the largest are looked for more often.
    this.order = { key, down: this.order.key === key ? !this.order.down : figures };
    this.tellOrder();
    this.changed();
  }

  tellOrder() {
    for (const button of this.head.children) {
      const { key, down } = this.order;
      const isOrder = button.dataset.order === key;
      button.setAttribute("aria-pressed", String(isOrder));
      button.querySelector(".rv-way").textContent = isOrder ? (down ? "▾" : "▴") : "";
      const name = ORDERS[button.dataset.order][0];
      button.setAttribute("aria-label", `Sort by ${name}${isOrder ? (down ? ", falling now" : ", rising now") : ""}`);
    }
  }

  reset() {
    this.element.reset();
    this.verdicts.clear();
    for (const chip of this.chips.values()) chip.setAttribute("aria-pressed", "false");
    this.changed();
  }

  later() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.changed(), WAIT);
  }

  input(name, properties) {
    const control = make("input", { ...properties, class: "rv-input", autocomplete: "off", spellcheck: "false",
      on: { input: () => this.later() } });
    return { control, label: make("label", { class: "rv-field" }, make("span", {}, name), control) };
  }

  /** A choice among the values that rows have; nothing to see where there is no choice. */
  select(name, values) {
    const known = [...new Set(values)].filter((value) => value !== null && value !== "");
    const options = known.map((value) => {
      const option = make("option", {}, value);
      option.value = value;
      return option;
    });
    const control = make("select", { class: "rv-input", on: { change: () => this.changed() } },
      make("option", { value: "" }, "all"), options);
    const label = make("label", { class: "rv-field" }, make("span", {}, name), control);
    label.hidden = known.length < 2;
    return { control, label };
  }

  /** Least and most of a figure; nothing to see where no row has it. */
  range(name, rows, key, step) {
    const [least, most] = ["least", "most"].map((end) =>
      make("input", { type: "number", step, class: "rv-input rv-short", "aria-label": `${name}, ${end}`,
        placeholder: end, on: { input: () => this.later() } }));
    const ends = make("span", { class: "rv-ends" }, least, most);
    const box = make("div", { class: "rv-field" }, make("span", {}, name), ends);
    box.hidden = !rows.some((row) => typeof row[key] === "number");
    const holds = (value) => {
      if (least.value === "" && most.value === "") return true;
      if (typeof value !== "number") return false;
      return (least.value === "" || value >= Number(least.value)) && (most.value === "" || value <= Number(most.value));
    };
    return { box, holds };
  }

  verdictChips(rows) {
    const present = new Set(rows.map((row) => row.verdict ?? ""));
    const chips = new Map();
    for (const verdict of [...Object.keys(VERDICTS), ""].filter((one) => present.has(one))) {
      const toggle = () => {
        if (!this.verdicts.delete(verdict)) this.verdicts.add(verdict);
        chip.setAttribute("aria-pressed", String(this.verdicts.has(verdict)));
        this.changed();
      };
      const chip = make("button", { type: "button", class: `rv-chip ${verdictClass(verdict)}`, "aria-pressed": "false",
        on: { click: toggle } },
        make("span", { "aria-hidden": "true" }, verdictMark(verdict)), ` ${verdictName(verdict)} `,
        make("span", { class: "rv-number" }));
      chips.set(verdict, chip);
    }
    return chips;
  }
}
