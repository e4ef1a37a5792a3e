// The tokens of a completion, coloured by what was measured of each.

const FIRST_TOKENS = 3000; // tokens that are shown at once
const EXPERT_COLOURS = 16;

/** How likely the policy found a token: the class of the first bound that is not above it. */
const LOGPROBS = [
  [-0.1, "90% and more"],
  [-0.7, "50%"],
  [-1.6, "20%"],
  [-3, "5%"],
  [-4.6, "1%"],
  [-Infinity, "less"],
];

/** By how much the policy found it likelier than the engine that drew it, in nats. */
const DIVERGENCES = [
  [-0.5, "−0.5 and less"],
  [-0.1, "−0.1"],
  [-0.02, "−0.02"],
  [0.02, "the same"],
  [0.1, "+0.02"],
  [0.5, "+0.1"],
  [Infinity, "+0.5 and more"],
];

const COLOURS = {
  plain: { name: "Plain", has: () => true },
  logprob: {
    name: "Log-probability",
    has: (row) => Boolean(row.logprobs),
    of: (row, place) => row.logprobs[place],
    shade: (value) => `rv-lp${LOGPROBS.findIndex(([least]) => value >= least)}`,
    legend: () => LOGPROBS.map(([, told], at) => [`rv-lp${at}`, told]),
    about: "How likely the policy found each token.",
  },
  divergence: {
    name: "Divergence",
    has: (row) => Boolean(row.logprobs && row.sampler_logprobs),
    of: (row, place) => {
      const [policy, sampler] = [row.logprobs[place], row.sampler_logprobs[place]];
      return policy === null || sampler === null ? null : policy - sampler;
    },
    shade: (value) => `rv-dv${DIVERGENCES.findIndex(([most]) => value <= most)}`,
    legend: () => DIVERGENCES.map(([, told], at) => [`rv-dv${at}`, told]),
    about: "The policy’s log-probability minus that of the engine that drew the token.",
  },
  expert: {
    name: "Expert",
    has: (row) => Boolean(row.experts),
    of: (row, place) => row.experts[place],
    shade: (value) => `rv-ex rv-ex${value % EXPERT_COLOURS}`,
    legend: (row) =>
      [...new Set(row.experts.filter(isFigure))].sort((a, b) => a - b).slice(0, EXPERT_COLOURS).map((expert) =>
        [`rv-ex rv-ex${expert % EXPERT_COLOURS}`, String(expert)]),
    about: "The first expert that each token took in the last layer with experts; colours come again after 16.",
  },
};

/** The ways in which the tokens of any of these rows can be coloured. */
function coloursOf(rows) {
  return Object.keys(COLOURS).filter((key) => rows.some((row) => COLOURS[key].has(row)));
}

/** The tokens of a row in this colouring, what each colour means, and what was measured of the token one points at. */
function tokenStrip(row, key) {
  const colour = COLOURS[key];
  const strip = make("div", { class: "rv-text rv-tokens", role: "listbox", tabindex: "0", "data-keep": "tokens",
    "aria-label": `Tokens by ${colour.name}; left and right arrow go from one to the next` });
  const told = make("output", { class: "rv-measured" }, "Point at a token, or go through them with the arrow keys.");
  let shownTokens = 0;
  let current = -1;

  const more = (most) => {
    const part = document.createDocumentFragment();
    const to = Math.min(row.pieces.length, shownTokens + most);
    for (; shownTokens < to; shownTokens += 1) part.append(token(row, colour, shownTokens));
    strip.append(part);
  };
  const point = (place) => {
    if (!(place >= 0 && place < shownTokens)) return;
    strip.children[current]?.removeAttribute("aria-selected");
    current = place;
    const node = strip.children[place];
    node.setAttribute("aria-selected", "true");
    node.id ||= unique("rv-token");
    strip.setAttribute("aria-activedescendant", node.id);
    told.replaceChildren(...measured(row, place));
    return node;
  };
  strip.addEventListener("mouseover", (event) => {
    if (event.target.dataset.token) point(Number(event.target.dataset.token));
  });
  strip.addEventListener("keydown", (event) => {
    const way = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!way || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    point(Math.max(0, current + way))?.scrollIntoView({ block: "nearest" });
  });

  more(FIRST_TOKENS);
  const box = make("div", { class: "rv-long" }, legend(row, colour), told, strip);
  if (shownTokens < row.pieces.length) {
    const rest = make("button", { type: "button", class: "rv-button", on: { click: () => {
      more(FIRST_TOKENS);
      if (shownTokens === row.pieces.length) rest.remove();
    } } }, `Show ${number.format(FIRST_TOKENS)} more of ${number.format(row.pieces.length)} tokens`);
    box.append(rest);
  }
  return box;
}

function token(row, colour, place) {
  const value = colour.of(row, place);
  const shade = value === null || value === undefined ? "" : colour.shade(value);
  const node = make("span", { class: `rv-token ${shade}`, role: "option", "data-token": place });
  const piece = row.pieces[place].slice(0, FIRST_CUT);
  // A token that is nothing but line breaks would have no place that one can point at.
  node.textContent = shown(piece).replaceAll("\n", "↵\n");
  return node;
}

function legend(row, colour) {
  return make("div", { class: "rv-legend" }, make("span", { class: "rv-about" }, colour.about),
    colour.legend(row).map(([shade, told]) => make("span", { class: `rv-swatch ${shade}` }, told)));
}

/** What was measured of one token, in words. */
function measured(row, place) {
  const parts = [make("code", {}, JSON.stringify(row.pieces[place].slice(0, 200))),
    ` token ${place + 1} of ${row.pieces.length}`];
  const logprob = row.logprobs?.[place];
  const sampler = row.sampler_logprobs?.[place];
  if (isFigure(logprob)) parts.push(` · log-probability ${signed(logprob, 3)} (${percent(Math.exp(logprob))})`);
  if (isFigure(sampler)) parts.push(` · of the engine that drew ${signed(sampler, 3)}`);
  if (isFigure(logprob) && isFigure(sampler)) parts.push(` · divergence ${signed(logprob - sampler, 3)}`);
  if (isFigure(row.experts?.[place])) parts.push(` · expert ${row.experts[place]}`);
  return parts;
}

function isFigure(value) {
  return typeof value === "number";
}

function signed(value, digits = 2) {
  const rounded = Math.abs(value).toFixed(digits);
  return Number(rounded) === 0 ? rounded : `${value < 0 ? "−" : "+"}${rounded}`;
}

function percent(share) {
  return `${(100 * share).toFixed(share < 0.1 ? 1 : 0)}%`;
}
