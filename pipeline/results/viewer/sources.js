// Where rollouts come from. A source has `index` (light rows), `row(id)` (a promise of the whole row), `notHere` (rows
// that did not fit into the page) and `leftOut` (rows that are torn).

const KEPT_ROWS = 64; // whole rows that are remembered, so that going to and fro asks for nothing

/** Light rows from a table {keys, rows}. */
function rowsOf(table) {
  return table.rows.map((values) => Object.fromEntries(table.keys.map((key, place) => [key, values[place]])));
}

/** The rollouts that stand inside an element of this page, as pipeline/results/viewer/embedded.py writes them. */
async function embeddedSource(element) {
  const packed = Uint8Array.from(atob(element.textContent.trim()), (character) => character.charCodeAt(0));
  // A Response reads the stream; nothing is fetched.
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const found = await new Response(stream).json();
  return {
    index: rowsOf(found.index),
    row: async (id) => found.rows[id],
    notHere: found.not_here,
    leftOut: found.left_out,
  };
}

/** The rollouts that `retort look` serves beside this page. */
async function servedSource() {
  const found = await asked("index.json");
  const remembered = new Map();
  const row = (id) => {
    const promise = remembered.get(id) ?? asked(`row?id=${encodeURIComponent(id)}`);
    remembered.delete(id);
    remembered.set(id, promise);
    promise.catch(() => remembered.delete(id));
    if (remembered.size > KEPT_ROWS) remembered.delete(remembered.keys().next().value);
    return promise;
  };
  return { index: rowsOf(found.index), row, notHere: 0, leftOut: found.left_out };
}

async function asked(path) {
  const response = await fetch(path);
  if (!response.ok) throw new Error(`${path.split("?")[0]} was answered with ${response.status}`);
  return response.json();
}
