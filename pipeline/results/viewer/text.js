// Text of models is data. It reaches the page as text nodes alone, and what would act on a reader (control characters,
// marks of direction, invisible characters, halves of characters) is written out, as rewards/terminal.py does it.

const ACTIVE = new RegExp(
  "[\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f]|\\r(?!\\n)" +
    "|[\\u00ad\\u061c\\u180e\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb]" +
    "|[\\u{e0000}-\\u{e007f}]|[\\ud800-\\udfff]",
  "gu",
);
const PART = 5000; // characters of a block; blocks out of sight are not laid out
const MOST_MARKED = 100; // marked characters of a block; more would be more elements than a page can hold
const FIRST_CUT = 20000; // characters of a text that are shown at once
const NEXT_CUT = 50000;

const number = new Intl.NumberFormat("en-US");

/** The text with everything that acts on a reader written as \u001b. */
function shown(text) {
  return String(text).replace(ACTIVE, written);
}

function written(match) {
  let units = "";
  for (let place = 0; place < match.length; place += 1) {
    units += `\\u${match.charCodeAt(place).toString(16).padStart(4, "0")}`;
  }
  return units;
}

/** A new element. Properties are its attributes, `on` its listeners; texts among the children become text nodes. */
function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else {
      element.setAttribute(name, value === true ? "" : shown(value));
    }
  }
  for (const child of children.flat(Infinity)) {
    if (child !== null && child !== undefined) element.append(child instanceof Node ? child : shown(child));
  }
  return element;
}

/** Append a text to an element, with what was written out marked as such, so that nobody takes it for the model's. */
function appendMarked(element, text) {
  let from = 0;
  let marked = 0;
  for (const match of text.matchAll(ACTIVE)) {
    if (marked >= MOST_MARKED) break;
    element.append(text.slice(from, match.index));
    element.append(make("span", { class: "rv-control", title: "a character that cannot be seen" }, match[0]));
    from = match.index + match[0].length;
    marked += 1;
  }
  element.append(shown(text.slice(from)));
}

/** The place where a text is best cut, `most` on or shortly before: behind a line or a word, never in a character. */
function cutAt(text, from, most) {
  let to = Math.min(text.length, from + most);
  if (to === text.length) return to;
  for (const end of ["\n", " "]) {
    const place = text.lastIndexOf(end, to - 1);
    if (place > to - most / 4) return place + 1;
  }
  const unit = text.charCodeAt(to - 1);
  if (unit >= 0xd800 && unit <= 0xdbff) to -= 1;
  return to;
}

/** A text of any length: its beginning, and buttons that show the rest. */
function longText(text, label) {
  const body = make("div", { class: "rv-text", dir: "auto" });
  const box = make("div", { class: "rv-long" }, body);
  let from = 0;
  const more = (most) => {
    const end = cutAt(text, from, most);
    while (from < end) {
      const to = cutAt(text, from, Math.min(PART, end - from));
      const part = make("div", { class: "rv-part" });
      appendMarked(part, text.slice(from, to));
      body.append(part);
      from = to;
    }
  };
  more(FIRST_CUT);
  if (from === text.length) return box;

  const rest = make("div", { class: "rv-rest" });
  const tell = () => {
    if (from === text.length) {
      // Who pressed the button stays where they were: keys would go nowhere from a button that is gone.
      if (rest.contains(document.activeElement)) {
        body.tabIndex = -1;
        body.focus({ preventScroll: true });
      }
      rest.remove();
      return;
    }
    rest.firstChild.textContent = `${number.format(text.length - from)} more characters of the ${label}`;
  };
  const next = () => {
    more(NEXT_CUT);
    tell();
  };
  const all = () => {
    while (from < text.length) more(NEXT_CUT);
    tell();
  };
  rest.append(
    make("span"),
    make("button", { type: "button", class: "rv-button", on: { click: next } }, `Show ${number.format(NEXT_CUT)} more`),
    make("button", { type: "button", class: "rv-button", on: { click: all } }, "Show all"),
  );
  tell();
  box.append(rest);
  return box;
}
