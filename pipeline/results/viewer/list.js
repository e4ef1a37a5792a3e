// The list of rollouts. Only the rows that can be seen are in the page, however many there are.

const ROW_HEIGHT = 30; // as in viewer.css
const ID_END = 8; // characters
const BEYOND = 6; // rows above and below what is seen

const VERDICTS = {
  correct: ["✓", "correct"],
  wrong: ["✗", "wrong"],
  no_answer: ["○", "no answer"],
  truncated: ["…", "cut short"],
  ungradable: ["?", "ungradable"],
};

/** The class of a verdict; what is no verdict of ours has none of its own. */
function verdictClass(verdict) {
  return verdict in VERDICTS ? `rv-v-${verdict}` : "rv-v-unknown";
}

function verdictMark(verdict) {
  return VERDICTS[verdict]?.[0] ?? "·";
}

function verdictName(verdict) {
  return VERDICTS[verdict]?.[1] ?? "no verdict";
}

function figure(value, digits = 2) {
  return value === null || value === undefined ? "" : value.toFixed(digits);
}

/** A list of light rows; `chosen(row)` hears of a row that is clicked. */
class RolloutList {
  constructor(chosen) {
    this.rows = [];
    this.selected = -1;
    this.nodes = [];
    this.canvas = make("div", { class: "rv-canvas", role: "presentation" });
    this.element = make(
      "div",
      { class: "rv-list", role: "listbox", tabindex: "0", "aria-label": "Rollouts", id: unique("rv-list") },
      this.canvas,
    );
    this.element.addEventListener("scroll", () => this.draw(), { passive: true });
    this.element.addEventListener("click", (event) => {
      const node = event.target.closest("[data-place]");
      if (node) chosen(this.rows[Number(node.dataset.place)]);
    });
    new ResizeObserver(() => this.draw()).observe(this.element);
  }

  /** Show other rows, in this order, with this one selected. */
  show(rows, id) {
    this.rows = rows;
    this.canvas.style.height = `${rows.length * ROW_HEIGHT}px`;
    for (const node of this.nodes) node.dataset.place = "";
    this.select(id);
  }

  /** Select a row and bring it into view. */
  select(id) {
    this.selected = this.rows.findIndex((row) => row.id === id);
    if (this.selected >= 0) {
      const top = this.selected * ROW_HEIGHT;
      const seen = this.element.clientHeight;
      if (top < this.element.scrollTop) this.element.scrollTop = top;
      else if (top + ROW_HEIGHT > this.element.scrollTop + seen) this.element.scrollTop = top + ROW_HEIGHT - seen;
    }
    this.draw();
  }

  draw() {
    const seen = Math.ceil(this.element.clientHeight / ROW_HEIGHT) + 2 * BEYOND;
    const first = Math.max(0, Math.floor(this.element.scrollTop / ROW_HEIGHT) - BEYOND);
    while (this.nodes.length < Math.min(seen, this.rows.length)) this.nodes.push(this.newNode());
    while (this.nodes.length > seen) this.nodes.pop().remove();
    // A row keeps its element while it is in view, so that scrolling by one row draws one row.
    const count = this.nodes.length;
    for (let place = first; place < first + count; place += 1) this.drawRow(this.nodes[place % count], place);
    if (this.selected >= first && this.selected < first + count) {
      this.element.setAttribute("aria-activedescendant", this.nodes[this.selected % count].id);
    } else {
      this.element.removeAttribute("aria-activedescendant");
    }
  }

  newNode() {
    const columns = ["mark", "moment", "problem", "reward", "tokens"];
    const parts = columns.map((column) => make("span", { class: `rv-c-${column}` }));
    parts[2].append(make("span"), make("span"));
    const node = make("div", { class: "rv-row", role: "option", id: unique("rv-option") }, parts);
    this.canvas.append(node);
    return node;
  }

  drawRow(node, place) {
    const row = this.rows[place];
    node.hidden = row === undefined;
    if (row === undefined) return;
    const isSelected = place === this.selected;
    node.setAttribute("aria-selected", String(isSelected));
    if (node.dataset.place === String(place)) return;
    node.dataset.place = place;
    node.style.transform = `translateY(${place * ROW_HEIGHT}px)`;
    node.setAttribute("aria-posinset", place + 1);
    node.setAttribute("aria-setsize", this.rows.length);
    const [mark, moment, problem, reward, tokens] = node.children;
    mark.className = `rv-c-mark ${verdictClass(row.verdict)}`;
    mark.textContent = verdictMark(row.verdict);
    moment.textContent = row.shownMoment;
    // The end of an id tells problems apart, and is seen however narrow the list is.
    problem.firstChild.textContent = row.shownProblem.slice(0, -ID_END);
    problem.lastChild.textContent = row.shownProblem.slice(-ID_END);
    problem.title = row.shownProblem;
    reward.textContent = figure(row.reward);
    tokens.textContent = row.tokens ?? "";
    const said = [verdictName(row.verdict), row.shownMoment, row.shownProblem];
    if (reward.textContent) said.push(`reward ${reward.textContent}`);
    if (tokens.textContent) said.push(`${tokens.textContent} tokens`);
    node.setAttribute("aria-label", said.join(", "));
  }
}

let lastUnique = 0;

/** An id that no other element of the page has, also where two viewers are in it. */
function unique(name) {
  lastUnique += 1;
  return `${name}-${lastUnique}`;
}
