// The reading pane: one rollout, or two of them side by side, and the way of its problem through the run.

/** One rollout or two: what the grader said, what it was worth, and what was written. */
function rolloutView(row, pinned, colour) {
  const rows = pinned ? [pinned, row] : [row];
  const oncePrompt = rows.every((one) => one.prompt === row.prompt);
  const parts = [];
  if (pinned && oncePrompt && row.prompt) parts.push(pane("Prompt", longText(row.prompt, "prompt"), "rv-prompt"));
  const names = pinned ? ["The pinned rollout", "This rollout"] : ["Rollout"];
  const sides = rows.map((one, at) =>
    make("section", { class: "rv-side", "aria-label": names[at] },
      pinned ? make("h3", { class: "rv-which" }, make("span", { class: "rv-tag" }, at ? "this" : "pinned"),
        ` ${whenOf(one)}, rollout ${one.rollout ?? 0}`) : null,
      make("div", { class: "rv-cards" }, verdictCard(one), rewardCard(one), pinned ? null : loadCard(one)),
      texts(one, colour, pinned && oncePrompt),
      // Where the parts do not hold the text, such as tags in wrong places, the text itself explains the verdict.
      colour === "plain" ? make("details", { class: "rv-whole" },
        make("summary", {}, "The completion as it was written"), longText(one.text, "completion")) : null));
  parts.push(make("div", { class: pinned ? "rv-sides rv-two" : "rv-sides" }, sides));
  return parts;
}

function whenOf(row) {
  const when = isFigure(row.step) ? `step ${row.step}` : row.model;
  return [row.stage, when].filter(Boolean).join(" · ");
}

function texts(row, wanted, withoutPrompt) {
  const colour = COLOURS[wanted].has(row) ? wanted : "plain";
  const panes = [];
  if (row.prompt && !withoutPrompt) panes.push(pane("Prompt", longText(row.prompt, "prompt")));
  if (colour === "plain") {
    if (row.observations?.length) panes.push(pane("Calls of tools", turns(row), "rv-wide"));
    panes.push(pane("Thinking", row.thinking ? longText(row.thinking, "thinking") : nothing("It wrote no thinking.")));
    panes.push(pane("Answer", row.answer ? longText(row.answer, "answer") : nothing("It came to no answer.")));
  } else {
    panes.push(pane("Completion", tokenStrip(row, colour), "rv-wide"));
  }
  return make("div", { class: "rv-texts" }, panes);
}

/** The completion in turns: what the model wrote up to a call, and what the tool said. */
function turns(row) {
  const characters = Array.from(row.text); // as they are counted in the file, where JavaScript counts halves of some
  const parts = [];
  let from = 0;
  for (const [begin, end] of row.observations) {
    parts.push(turn("The model calls", "completion", characters.slice(from, begin)));
    parts.push(turn("The tool says", "observation", characters.slice(begin, end)));
    from = end;
  }
  if (from < characters.length) parts.push(turn("The model goes on", "completion", characters.slice(from)));
  return make("div", { class: "rv-turns" }, parts);
}

function turn(who, what, characters) {
  return make("div", { class: what === "observation" ? "rv-turn rv-said" : "rv-turn" },
    make("span", { class: "rv-tag" }, who), longText(characters.join(""), what));
}

function pane(name, body, kind = "") {
  return make("section", { class: `rv-pane ${kind}`, "aria-label": name }, make("h3", {}, name), body);
}

function nothing(told) {
  return make("p", { class: "rv-nothing" }, told);
}

function facts(pairs) {
  const given = pairs.filter(([, value]) => value !== undefined && value !== null && value !== "");
  if (given.length === 0) return null;
  return make("dl", { class: "rv-facts" },
    given.map(([name, value]) => [make("dt", {}, name), make("dd", {}, excerpt(value))]));
}

/** The beginning of a text that is usually a line; the whole of it stands in a pane. */
function excerpt(value) {
  const text = String(value);
  return text.length <= 600 ? text : `${text.slice(0, 600)} …`;
}

function badge(verdict) {
  return make("span", { class: `rv-badge ${verdictClass(verdict)}` },
    make("span", { "aria-hidden": "true" }, verdictMark(verdict)), ` ${verdictName(verdict)}`);
}

/** Why the grader said so. */
function verdictCard(row) {
  const cut = row.finished === false && row.verdict !== "truncated";
  return make("div", { class: "rv-card" },
    make("div", { class: "rv-line" }, make("h3", {}, "Verdict"), badge(row.verdict),
      cut ? make("span", { class: "rv-tag" }, "token budget ended") : null),
    facts([["Why", row.reason], ["Expected", row.expected], ["Read as answer", row.extracted],
      ["A solution", row.solution]]));
}

function rewardCard(row) {
  const parts = Object.entries(row.parts ?? {});
  if (!isFigure(row.reward) && !isFigure(row.advantage) && parts.length === 0) return null;
  const most = Math.max(1e-9, ...parts.map(([, value]) => Math.abs(value)));
  return make("div", { class: "rv-card" },
    make("div", { class: "rv-line" }, make("h3", {}, "Reward"),
      isFigure(row.reward) ? make("strong", { class: "rv-figure" }, figure(row.reward, 3)) : null,
      isFigure(row.advantage)
        ? make("span", { class: `rv-tag ${row.advantage > 0 ? "rv-up" : row.advantage < 0 ? "rv-down" : ""}` },
          `advantage ${signed(row.advantage, 3)}`) : null),
    make("div", { class: "rv-bars" }, parts.flatMap(([name, value]) => [
      make("span", { class: "rv-name", title: name }, name),
      bar(Math.abs(value) / most, value < 0 ? "rv-minus" : ""),
      make("span", { class: "rv-value" }, signed(value, 3))])));
}

function loadCard(row) {
  const loads = row.experts_busiest ?? [];
  if (loads.length === 0) return null;
  const most = Math.max(...loads);
  return make("div", { class: "rv-card" }, make("h3", {}, "Busiest expert over the mean, by layer"),
    make("div", { class: "rv-bars" }, loads.flatMap((load, layer) => [
      make("span", { class: "rv-name" }, `MoE layer ${layer + 1}`), bar(load / most),
      make("span", { class: "rv-value" }, `${load.toFixed(2)}×`)])));
}

function bar(share, kind = "") {
  const inside = make("span", { class: kind });
  inside.style.width = `${share > 0 ? Math.max(1, 100 * share) : 0}%`;
  return make("span", { class: "rv-bar", "aria-hidden": "true" }, inside);
}

/** The way of a problem: a bar for each moment at which it was asked, as high as the share that was right. */
function wayOf(moments, row, go) {
  const bars = moments.map((moment) => {
    const isHere = moment.key === row.moment;
    const graded = moment.rows.filter((one) => one.verdict !== "ungradable" && one.verdict !== null);
    const right = graded.filter((one) => one.verdict === "correct").length;
    const rewards = moment.rows.map((one) => one.reward).filter(isFigure);
    const mean = rewards.length ? `, mean reward ${figure(rewards.reduce((a, b) => a + b, 0) / rewards.length)}` : "";
    const told = `${moment.label}: ${right} of ${graded.length} right${mean}`;
    const fill = make("span", { class: "rv-fill" });
    fill.style.height = `${graded.length ? (100 * right) / graded.length : 0}%`;
    return make("button", { type: "button", class: "rv-moment", "aria-label": told, title: told,
      "aria-current": isHere ? "step" : null, tabindex: isHere ? "0" : "-1", "data-keep": isHere ? "moment" : null,
      on: { click: () => go(moment) } },
      make("span", { class: "rv-well" }, fill), make("span", { class: "rv-when" }, moment.short));
  });
  const way = make("div", { class: "rv-way-bars", role: "group",
    "aria-label": "This problem through the run; arrow keys go from one moment to the next" }, bars);
  way.addEventListener("keydown", (event) => goWithArrows(event, moments, row.moment, go));
  return way;
}

function goWithArrows(event, moments, key, go) {
  const way = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!way || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  const next = moments[moments.findIndex((moment) => moment.key === key) + way];
  if (next) go(next);
}

/** The rollouts that were drawn together with this one. */
function groupOf(moment, row, choose) {
  return make("div", { class: "rv-group", role: "group", "aria-label": "Rollouts of this group" },
    moment.rows.slice(0, 128).map((one, at) => {
      const isHere = one.id === row.id;
      const reward = figure(one.reward);
      const told = `rollout ${one.rollout ?? at}, ${verdictName(one.verdict)}`;
      return make("button", { type: "button", class: `rv-chip ${verdictClass(one.verdict)}`,
        "aria-current": isHere ? "true" : null, "data-keep": isHere ? "group" : null,
        "aria-label": reward ? `${told}, reward ${reward}` : told,
        on: { click: () => choose(one) } }, `${verdictMark(one.verdict)} ${reward || (one.rollout ?? at)}`);
    }));
}
