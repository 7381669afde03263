// Short forms of class names that stay distinct, where there is no room for the whole. app/names.py says what they are;
// tests/app/test_names.py holds this against it.

const LETTERS_ALONE = 5; // so few leave no room for an ellipsis

function shortNames(names, most) {
  const letters = names.map((name) => [...name]);
  const text = (some) => some.join("").trim();
  const short = letters.map((name) => {
    if (name.length <= most) return name.join("");
    return most <= LETTERS_ALONE ? text(name.slice(0, most)) : `${text(name.slice(0, most - 1))}…`;
  });
  const groups = new Map();
  short.forEach((form, n) => groups.set(form, [...(groups.get(form) ?? []), n]));
  const head = Math.max(1, Math.floor(most / 3));
  for (const group of groups.values()) {
    if (group.length < 2) continue;
    const some = group.map((n) => letters[n]);
    let part = 0;
    while (some.every((name) => part < name.length && name[part] === some[0][part])) part++;
    for (const n of group) {
      const rest = letters[n].slice(part, part + Math.max(most - head - 1, 1));
      short[n] = `${text(letters[n].slice(0, head))}…${text(rest)}`;
    }
  }
  const taken = new Set();
  return short.map((form, n) => {
    const alone = short.indexOf(form) === short.lastIndexOf(form);
    let said = form;
    for (let number = n + 1; (!alone && said === form) || taken.has(said); number++) {
      said = `${text(letters[n].slice(0, 1))}…${number}`;
    }
    taken.add(said);
    return said;
  });
}

/** Writes names into these nodes: whole where each fits, else as short as they must be, all alike. */
function fitNames(nodes, names) {
  const fit = () => nodes.every((node) => node.scrollWidth <= node.clientWidth + 1);
  const set = (forms) => nodes.forEach((node, n) => write(node, forms[n]));
  set(names);
  for (const most of [14, 10, 8, 6, 5, 4, 3]) {
    if (fit()) return;
    set(shortNames(names, most));
  }
}
