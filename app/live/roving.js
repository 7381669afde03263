// A table of buttons that is one stop of the Tab key: arrow keys go from cell to cell, Home and End to the ends of a row.

/** node: what hears the keys; rowsNow(): the buttons that are shown, null where there is none, by rows. Gives what makes a
    button the stop. */
function roving(node, rowsNow) {
  const stop = (button) => {
    for (const row of rowsNow()) for (const one of row) if (one) one.tabIndex = one === button ? 0 : -1;
  };
  const placeOf = (button, rows) => {
    const row = rows.findIndex((some) => some.includes(button));
    return row < 0 ? null : [row, rows[row].indexOf(button)];
  };
  node.addEventListener("focusin", ({ target }) => placeOf(target, rowsNow()) && stop(target));
  node.addEventListener("keydown", (event) => {
    const rows = rowsNow();
    const place = placeOf(event.target, rows);
    if (!place || event.ctrlKey || event.altKey || event.metaKey) return;
    const [row, column] = place;
    const to = {
      ArrowLeft: [row, column - 1],
      ArrowRight: [row, column + 1],
      ArrowUp: [row - 1, column],
      ArrowDown: [row + 1, column],
      Home: [row, 0],
      End: [row, rows[row].length - 1],
    }[event.key];
    if (!to) return;
    event.preventDefault();
    rows[to[0]]?.[to[1]]?.focus();
  });
  return stop;
}
