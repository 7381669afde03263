"""Short forms of class names that stay distinct, where there is no room for the whole; live/names.js has the same."""

from collections.abc import Sequence

LETTERS_ALONE = 5  # so few leave no room for an ellipsis


def short(names: Sequence[str], most: int) -> list[str]:
    """The names, those of more letters than `most` cut to as many, all distinct.

    Where they would be the same when cut, their first letters, an ellipsis and the letters at which they part; where no
    room tells them apart, a number.
    """
    found = [_cut(name, most) for name in names]
    groups = {form: [n for n, other in enumerate(found) if other == form] for form in found}
    head = max(1, most // 3)
    for group in groups.values():
        if len(group) < 2:
            continue
        part, some = 0, [names[n] for n in group]
        while all(part < len(name) and name[part] == some[0][part] for name in some):
            part += 1
        for n in group:
            rest = names[n][part : part + max(most - head - 1, 1)]
            found[n] = f"{names[n][:head].strip()}…{rest.strip()}"
    taken: list[str] = []
    for n, form in enumerate(found):
        said, number = form, n + 1
        while (said == form and found.count(form) > 1) or said in taken:
            said, number = f"{names[n][:1].strip()}…{number}", number + 1
        taken.append(said)
    return taken


def _cut(name: str, most: int) -> str:
    if len(name) <= most:
        return name
    return name[:most].strip() if most <= LETTERS_ALONE else f"{name[: most - 1].strip()}…"
