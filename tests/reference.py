"""Slow oracles: the papers' formulas as plain loops over lists. Standard library only, nothing of cac_core.

Labels are 0 to C - 1, or -1 for unknown. A score is higher the more unknown an image looks; it is rejected when
score > theta. Logits are lists of rows.
"""

import math
from fractions import Fraction


def _distance(a, b):
    return math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)))


def _argmax(row):
    return max(range(len(row)), key=lambda i: (row[i], -i))


def _softmax(row):
    top = max(row)
    e = [math.exp(x - top) for x in row]
    return [x / sum(e) for x in e]


# --- losses ----------------------------------------------------------------------------------------------------------


def cac_distances(logits, anchors):
    """d: each image's distances to each anchor. Miller et al., WACV 2021, eq. 2."""
    return [[_distance(z, anchor) for anchor in anchors] for z in logits]


def cac_tuplet(logits, target, anchors):
    """Mean over the images of log(1 + sum over j != y of exp(d_y - d_j)). Miller et al., WACV 2021, eq. 3."""
    total = 0.0
    for d, y in zip(cac_distances(logits, anchors), target, strict=True):
        total += math.log(1 + sum(math.exp(d[y] - d[j]) for j in range(len(d)) if j != y))
    return total / len(logits)


def cac_anchor(logits, target, anchors):
    """Mean distance to the own anchor. Miller et al., WACV 2021, eq. 4."""
    return sum(d[y] for d, y in zip(cac_distances(logits, anchors), target, strict=True)) / len(logits)


def cross_entropy_reference(logits, target):
    """Mean of -log softmax(z)_y."""
    total = 0.0
    for z, y in zip(logits, target, strict=True):
        top = max(z)
        total += top + math.log(sum(math.exp(x - top) for x in z)) - z[y]
    return total / len(logits)


def _convolved(maps, weight, bias):
    """3 x 3, padded by zeros: maps [channels][rows][columns]."""
    high, wide = len(maps[0]), len(maps[0][0])
    result = []
    for kernel, b in zip(weight, bias, strict=True):
        made = [[b] * wide for _ in range(high)]
        for grid, window in zip(maps, kernel, strict=True):
            for r in range(high):
                for c in range(wide):
                    for i in range(3):
                        for j in range(3):
                            if 0 <= r + i - 1 < high and 0 <= c + j - 1 < wide:
                                made[r][c] += window[i][j] * grid[r + i - 1][c + j - 1]
        result.append(made)
    return result


def rebuilt(codes, up, out, sizes):
    """DHRNet's decoder: codes z_1 to z_L of an image, (weight, bias) of up_l and of out_l, and the sizes of x_0 to x_L.

    g_(l-1) = relu(out_l(enlarged(up_l z_l + g_l))) from l = L on, without a g_L, g_0 without relu. Enlarged: each place
    takes the number whose place it lies in. Yoshihashi et al., CVPR 2019, section 3.2.
    """
    built = None
    for stage in reversed(range(len(codes))):
        maps = _convolved(codes[stage], *up[stage])
        if built is not None:
            maps = [
                [[v + max(g, 0.0) for v, g in zip(*rows, strict=True)] for rows in zip(*grids, strict=True)]
                for grids in zip(maps, built, strict=True)
            ]
        (high, wide), (rows, columns) = sizes[stage], (len(maps[0]), len(maps[0][0]))
        larger = [
            [[grid[r * rows // high][c * columns // wide] for c in range(wide)] for r in range(high)] for grid in maps
        ]
        built = _convolved(larger, *out[stage])
    return built


# --- scores ----------------------------------------------------------------------------------------------------------


def class_means(logits, labels, classes):
    """Mean logits of each class over its images whose largest logit is the right one. Miller et al., WACV 2021, 3.3."""
    means = []
    for c in range(classes):
        mine = [z for z, y in zip(logits, labels, strict=True) if y == c and _argmax(z) == c]
        means.append([sum(z[k] for z in mine) / len(mine) for k in range(classes)])
    return means


def cac_gamma(logits, centres):
    """gamma, per image and class: d (1 - softmin d); the score is its minimum. Miller et al., WACV 2021, eq. 6-7."""
    rows = []
    for d in cac_distances(logits, centres):
        softmin = _softmax([-x for x in d])
        rows.append([x * (1 - p) for x, p in zip(d, softmin, strict=True)])
    return rows


def msp(logits, temperature=1.0):
    """1 - the largest softmax probability. Hendrycks and Gimpel, ICLR 2017; T: Liang et al., ICLR 2018."""
    return [1 - max(_softmax([x / temperature for x in z])) for z in logits]


def energy(logits, temperature=1.0):
    """-T log sum exp(z / T). Liu et al., NeurIPS 2020."""
    return [-temperature * math.log(sum(math.exp(x / temperature) for x in z)) for z in logits]


def max_logit(logits):
    """- the largest logit. Vaze et al., ICLR 2022."""
    return [-max(z) for z in logits]


def _unit(row):
    length = math.sqrt(sum(x * x for x in row))
    return [x / length for x in row] if length > 0 else list(row)


def knn(features, bank, k):
    """Distance to the k-th nearest of the bank, all rows brought to length 1. Sun et al., ICML 2022, section 3."""
    return [sorted(_distance(_unit(f), _unit(b)) for b in bank)[k - 1] for f in features]


def _solved(matrix, right):
    """x of matrix x = right, by Gauss's elimination with row exchanges."""
    rows = [[*row, y] for row, y in zip(matrix, right, strict=True)]
    n = len(rows)
    for i in range(n):
        best = max(range(i, n), key=lambda r: abs(rows[r][i]))
        rows[i], rows[best] = rows[best], rows[i]
        for r in range(n):
            if r != i:
                factor = rows[r][i] / rows[i][i]
                rows[r] = [a - factor * b for a, b in zip(rows[r], rows[i], strict=True)]
    return [rows[i][n] / rows[i][i] for i in range(n)]


def ledoit_wolf(gaps):
    """How far the covariance of rows about 0 is to be shrunk to a multiple of the identity, and it, shrunk.

    Ledoit and Wolf, J. Multivariate Analysis 2004, section 3.2: mu = tr S / D, delta = |S - mu I|^2 / D, beta the mean
    over rows of |x x' - S|^2 / D, over their number, and at most delta; (1 - beta / delta) S + beta / delta mu I.
    """
    n, width = len(gaps), len(gaps[0])
    covariance = [[sum(g[i] * g[j] for g in gaps) / n for j in range(width)] for i in range(width)]
    mu = sum(covariance[i][i] for i in range(width)) / width

    def norm(matrix):
        return sum(v * v for row in matrix for v in row) / width

    delta = norm([[covariance[i][j] - mu * (i == j) for j in range(width)] for i in range(width)])
    beta = sum(
        norm([[g[i] * g[j] - covariance[i][j] for j in range(width)] for i in range(width)]) for g in gaps
    ) / n**2  # fmt: skip
    share = min(beta, delta) / delta if delta else 0.0
    return share, [[(1 - share) * covariance[i][j] + share * mu * (i == j) for j in range(width)] for i in range(width)]


def mahalanobis(features, bank, labels, classes):
    """Per image and class (x - m_c)' S^-1 (x - m_c), S shared and shrunk; the score is the least. Lee et al., 2018."""
    width = len(bank[0])
    means = []
    for c in range(classes):
        mine = [b for b, y in zip(bank, labels, strict=True) if y == c]
        means.append([sum(b[i] for b in mine) / len(mine) for i in range(width)])
    gaps = [[x - m for x, m in zip(b, means[y], strict=True)] for b, y in zip(bank, labels, strict=True)]
    _, covariance = ledoit_wolf(gaps)
    table = []
    for f in features:
        of_image = []
        for mean in means:
            gap = [x - m for x, m in zip(f, mean, strict=True)]
            of_image.append(sum(g * s for g, s in zip(gap, _solved(covariance, gap), strict=True)))
        table.append(of_image)
    return table


def eucos(a, b):
    """euclidean / 200 + 1 - cosine: OSDN's compute_distance, a vector of zeros at cosine 0."""
    return _distance(a, b) / 200 + 1 - sum(x * y for x, y in zip(_unit(a), _unit(b), strict=True))


def openmax(logits, centres, distance, cdfs, alpha):
    """Per image, P of unknown and of each class. Bendale and Boult, CVPR 2016, algorithm 2; cdfs: F of each class."""
    table = []
    for v in logits:
        w = [1.0] * len(v)
        by_size = sorted(range(len(v)), key=lambda c: (-v[c], c))
        for i, c in enumerate(by_size[:alpha], 1):
            w[c] = 1 - (alpha + 1 - i) / alpha * cdfs[c](distance(v, centres[c]))
        unknown = sum(x * (1 - share) for x, share in zip(v, w, strict=True))
        table.append(_softmax([unknown, *[x * share for x, share in zip(v, w, strict=True)]]))
    return table


def odin_step(x, grad, std, eps):
    """The input moved by eps against the gradient's sign, in pixels. x, grad: a list of values for each channel.

    x~ = x - eps sign(grad) / std. Liang et al., ICLR 2018, eq. 2, for inputs normalised by std.
    """
    return [
        [v - eps * ((g > 0) - (g < 0)) / s for v, g in zip(values, gradient, strict=True)]
        for values, gradient, s in zip(x, grad, std, strict=True)
    ]


def odin_moved(x, logits_of, centres, temperature, eps, without=None, step=1e-5):
    """The image x, a list of pixels, moved by ODIN towards its predicted class, which class `without` cannot be.

    The loss is -log softmax(a / T) of the largest a, where a are the logits or, with centres, minus the distances to
    them; its gradient is by differences of two images `step` apart. Liang et al., ICLR 2018, eq. 2, images on 0 to 1.
    """

    def affinities(image):
        z = logits_of(image)
        a = [-_distance(z, centre) for centre in centres] if centres else z
        return [v for j, v in enumerate(a) if j != without]

    best = _argmax(affinities(x))

    def loss(image):
        return -math.log(_softmax([v / temperature for v in affinities(image)])[best])

    moved = []
    for i, v in enumerate(x):
        up, down = ([*x[:i], w, *x[i + 1 :]] for w in (v + step, v - step))
        slope = loss(up) - loss(down)
        moved.append(v - eps * ((slope > 0) - (slope < 0)))
    return moved


def odin_score(z, centres, score, temperature, without=None):
    """How unknown logits z look after ODIN, class `without` away: gamma and distance to centres, 1 - softmax at T."""
    if score in ("gamma", "distance"):
        d = [_distance(z, centre) for j, centre in enumerate(centres) if j != without]
        share = _softmax([-v for v in d])
        return min(v * (1 - s) for v, s in zip(d, share, strict=True)) if score == "gamma" else min(d)
    z = [v / (temperature if score == "msp" else 1) for j, v in enumerate(z) if j != without]
    return 1 - max(_softmax(z))


def odin_blind(images, labels, logits_of, pulls, centres, score, temperature, eps):
    """Mean over the classes of the AUROC of telling one, as if it were unknown, from the others, of known images alone.

    The class is away from the gradient and from the score. pulls: the centres that images are moved towards, or None
    for the logits; centres: those that gamma and distance are taken to.
    """
    areas = []
    for c in range(len(centres)):
        moved = [odin_moved(x, logits_of, pulls, temperature, eps, c) for x in images]
        scores = [odin_score(logits_of(x), centres, score, temperature, c) for x in moved]
        areas.append(auroc(scores, [-1 if y == c else y for y in labels]))
    return sum(areas) / len(areas)


# --- metrics without a threshold -------------------------------------------------------------------------------------


def _sides(scores, labels):
    pairs = list(zip(scores, labels, strict=True))
    return [s for s, y in pairs if y >= 0], [s for s, y in pairs if y < 0]


def _beats(u, k):
    return 1.0 if u > k else 0.5 if u == k else 0.0


def auroc(scores, labels):
    """Share of (unknown, known) pairs in which the unknown scores higher, ties half. Hanley and McNeil, 1982."""
    known, unknown = _sides(scores, labels)
    return sum(_beats(u, k) for u in unknown for k in known) / (len(known) * len(unknown))


def average_precision(scores, positive):
    """Sum over the thresholds of (R_n - R_n-1) P_n, from the highest score down; positive: true or false each."""
    total, recall_before = 0.0, 0.0
    for t in sorted(set(scores), reverse=True):
        taken = [p for s, p in zip(scores, positive, strict=True) if s >= t]
        recall = sum(taken) / sum(positive)
        total += (recall - recall_before) * sum(taken) / len(taken)
        recall_before = recall
    return total


def theta_at(kept, scores):
    """The lowest score that at least ceil(kept (n + 1)) of the n scores do not exceed; the largest where that is > n.

    kept as text, so that 0.95 is 95 in 100. Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005.
    """
    for theta in sorted(scores):
        if sum(s <= theta for s in scores) >= Fraction(kept) * (len(scores) + 1):
            return theta
    return max(scores)


def lacking(kept, n):
    """How many more scores than n it takes until ceil(kept (n + 1)) is at most n; infinity where none are enough."""
    if Fraction(kept) == 1:
        return math.inf
    more = 0
    while math.ceil(Fraction(kept) * (n + more + 1)) > n + more:
        more += 1
    return more


def fpr_at_95_knowns_kept(scores, labels):
    """Unknowns accepted at the lowest theta that keeps 95 % of the knowns. Hendrycks and Gimpel's successors' FPR95."""
    known, unknown = _sides(scores, labels)
    for theta in sorted(set(scores)):
        if 100 * sum(s <= theta for s in known) >= 95 * len(known):
            return sum(s <= theta for s in unknown) / len(unknown)


def fpr_at_95_unknowns_caught(scores, labels):
    """Knowns rejected at the highest threshold that catches 95 % of the unknowns, scores at it rejected."""
    known, unknown = _sides(scores, labels)
    for threshold in sorted(set(scores), reverse=True):
        if 100 * sum(s >= threshold for s in unknown) >= 95 * len(unknown):
            return sum(s >= threshold for s in known) / len(known)


def oscr(scores, predicted, labels):
    """Area under correct classification rate against false positive rate, over all thresholds.

    Dhamija et al., NeurIPS 2018; the area as in Chen et al., TPAMI 2021: trapezoids, images of one score together.
    """
    known, unknown = _sides(scores, labels)
    x, y, area = 0.0, 0.0, 0.0
    for theta in sorted(set(scores)):
        images = zip(scores, predicted, labels, strict=True)
        rate = sum(s <= theta and t >= 0 and p == t for s, p, t in images) / len(known)
        accepted = sum(s <= theta for s in unknown) / len(unknown)
        area += (accepted - x) * (rate + y) / 2
        x, y = accepted, rate
    return area


# --- metrics at one theta --------------------------------------------------------------------------------------------


def confusion(theta, scores, predicted, labels, classes):
    """Counts: rows the truth, columns the decision, the last of each "unknown"."""
    table = [[0] * (classes + 1) for _ in range(classes + 1)]
    for s, p, y in zip(scores, predicted, labels, strict=True):
        table[classes if y < 0 else y][classes if s > theta else p] += 1
    return table


def macro_f1(theta, scores, predicted, labels, classes):
    """Mean F1 over the C classes and "unknown"; a class that is neither there nor named does not count."""
    table = confusion(theta, scores, predicted, labels, classes)
    values = []
    for c in range(classes + 1):
        hits, named, true = table[c][c], sum(row[c] for row in table), sum(table[c])
        if named + true:
            values.append(2 * hits / (named + true))
    return sum(values) / len(values)


def youden(scores, labels):
    """The largest share of unknowns caught minus knowns rejected, over all theta. Youden, Cancer 1950."""
    known, unknown = _sides(scores, labels)
    return max(
        sum(s > theta for s in unknown) / len(unknown) - sum(s > theta for s in known) / len(known)
        for theta in [-math.inf, *scores]
    )


# --- how sure --------------------------------------------------------------------------------------------------------

Z95 = 1.959963984540054


def wilson(hits, of):
    """95 % score interval of a share. Wilson, JASA 1927."""
    p = hits / of
    middle = p + Z95**2 / (2 * of)
    half = Z95 * math.sqrt(p * (1 - p) / of + Z95**2 / (4 * of**2))
    return (middle - half) / (1 + Z95**2 / of), (middle + half) / (1 + Z95**2 / of)


def over_classes(shares, images, t):
    """95 % interval of a mean over classes: Wilson's, by an effective number of images. Korn and Graubard, 1998.

    t is the 0.975 quantile of Student's distribution with as many degrees of freedom as there are classes: one class
    more, all or nothing, is among them.
    """
    count = len(shares)
    mean = sum(shares) / count
    more = (sum(shares) + 0.5) / (count + 1)
    squares = more * (1 - more)
    for share in shares:
        squares += (share - mean) ** 2
    variance = squares / count / count
    n = min(max(mean * (1 - mean) / variance * (Z95 / t) ** 2, count), images)
    return wilson(mean * n, n)


def delong(scores, labels):
    """AUROC and its variance from the structural components, pair by pair. DeLong et al., Biometrics 1988, eq. 3-5."""
    known, unknown = _sides(scores, labels)
    area = auroc(scores, labels)
    of_unknown = [sum(_beats(u, k) for k in known) / len(known) for u in unknown]
    of_known = [sum(_beats(u, k) for u in unknown) / len(unknown) for k in known]
    s_unknown = sum((v - area) ** 2 for v in of_unknown) / (len(unknown) - 1)
    s_known = sum((v - area) ** 2 for v in of_known) / (len(known) - 1)
    return area, s_unknown / len(unknown) + s_known / len(known)


def delong_difference(one, other, labels):
    """The difference of two AUROCs on the same images and its variance, with the covariances. Eq. 3-6 of the same."""
    parts, areas = [], [auroc(one, labels), auroc(other, labels)]
    for scores in (one, other):
        known, unknown = _sides(scores, labels)
        of_unknown = [sum(_beats(u, k) for k in known) / len(known) for u in unknown]
        of_known = [sum(_beats(u, k) for u in unknown) / len(unknown) for k in known]
        parts.append((of_unknown, of_known))

    def covariance(a, b, side):
        of_a, of_b = parts[a][side], parts[b][side]
        return (
            sum((x - areas[a]) * (y - areas[b]) for x, y in zip(of_a, of_b, strict=True)) / (len(of_a) - 1) / len(of_a)
        )

    variance = sum(covariance(0, 0, s) + covariance(1, 1, s) - 2 * covariance(0, 1, s) for s in (0, 1))
    return areas[0] - areas[1], variance


def beta_quantile(share, a, b):
    """x of I_x(a, b) = share, by halving; I_x as the series x^a (1 - x)^b / (a B(a, b)) (1 + sum of products)."""

    def below(x):
        term = total = 1.0
        n = 0
        while term > 1e-16 * total:
            term *= (a + b + n) / (a + 1 + n) * x
            total += term
            n += 1
        log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
        return math.exp(a * math.log(x) + b * math.log1p(-x) - log_beta) / a * total

    low, high = 0.0, 1.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) < share else (low, middle)
    return (low + high) / 2


def auroc_interval(scores, labels):
    """95 % interval: Beta quantiles with DeLong's variance, the far end with one more image of the other side's looks.

    An image that looks just like the other side has a component of 1/2 where the others have the area on average.
    """
    known, unknown = _sides(scores, labels)
    area, variance = delong(scores, labels)
    y = min(area, 1 - area)
    more = (0.5 - y) / min(len(known), len(unknown))

    def quantile(share, mean, spread):
        images = mean * (1 - mean) / spread - 1
        return beta_quantile(share, mean * images, (1 - mean) * images)

    near = quantile(0.025, y, variance) if y > 0 else 0.0
    far = quantile(0.975, y + more, variance + more**2)
    return (near, far) if area < 0.5 else (1 - far, 1 - near)


def _midranks(values):
    return [sum(v < x for v in values) + (sum(v == x for v in values) + 1) / 2 for x in values]


def rank_correlation(one, other):
    """Spearman's, ties by their middle rank."""
    a, b = _midranks(one), _midranks(other)
    mean = (len(a) + 1) / 2
    product = sum((x - mean) * (y - mean) for x, y in zip(a, b, strict=True))
    return product / math.sqrt(sum((x - mean) ** 2 for x in a) * sum((y - mean) ** 2 for y in b))


def auroc_difference_interval(one, other, labels):
    """The difference, and its 95 % interval: DeLong's variance and one more image that only one of the two mistakes."""
    gap, variance = delong_difference(one, other, labels)
    sides = list(zip(_sides(one, labels), _sides(other, labels), strict=True))
    r = min(rank_correlation(a, b) for a, b in sides)
    half = Z95 * math.sqrt(variance + (1 - r) / (2 * min(len(a) for a, _ in sides) ** 2))
    return gap, gap - half, gap + half


def openness(known, unknown):
    """1 - sqrt(2 K / (2 K + U)). Scheirer et al., TPAMI 2013, for K training classes, all of them tested."""
    return 1 - math.sqrt(2 * known / (2 * known + unknown))


# --- pictures: rows of whole numbers ----------------------------------------------------------------------------------


def area_mean(rows, side):
    """Reduced to side x side: the mean of the area under each pixel, as fractions, halves up. MNIST was made so:
    Yadav and Bottou, NeurIPS 2019."""

    def under(part, n):
        """How much of each of n pixels lies under this one of side parts."""
        low, high = Fraction(part * n, side), Fraction((part + 1) * n, side)
        return [(k, min(high, k + 1) - max(low, k)) for k in range(math.floor(low), math.ceil(high))]

    out = []
    for i in range(side):
        line = []
        for j in range(side):
            across = under(j, len(rows[0]))
            total = sum(h * w * rows[y][x] for y, h in under(i, len(rows)) for x, w in across)
            line.append(math.floor(total * side * side / (len(rows) * len(rows[0])) + Fraction(1, 2)))
        out.append(line)
    return out


def nearest(rows, n, middle=True):
    """Enlarged to n x n: each pixel takes the value under its middle, or under its corner."""
    side = len(rows)
    under = [math.floor((i + (Fraction(1, 2) if middle else 0)) * side / Fraction(n)) for i in range(n)]
    return [[rows[y][x] for x in under] for y in under]


def doubts(features, classes, neighbours):
    """Of each image: the place of its nearest other one, 1 - cosine to it, and s / (s + o) with the class of o: s the
    mean of 1 - cosine to its nearest others in its own class, o the least of those to another; 0 where it is alone."""
    found = []
    for i, x in enumerate(features):
        far = [1 - sum(a * b for a, b in zip(x, y, strict=True)) for y in features]
        nearest = min((j for j in range(len(far)) if j != i), key=lambda j: far[j])
        mean = {}
        for c in sorted(set(classes)):
            some = sorted(far[j] for j in range(len(far)) if j != i and classes[j] == c)[:neighbours]
            if some:
                mean[c] = sum(some) / len(some)
        others = {c: m for c, m in mean.items() if c != classes[i]}
        other = min(others, key=others.get)
        own = mean.get(classes[i])
        found.append((nearest, far[nearest], other, own / (own + others[other]) if own is not None else 0.0))
    return found


def shifted(rows, down, right, mirrored):
    """An image of rows of values: mirrored left to right where asked, then the pixel down and right of each place; what
    lies beyond the edge is the image mirrored at its outermost pixels."""
    side = len(rows)
    if mirrored:
        rows = [row[::-1] for row in rows]

    def inside(place):
        return -place if place < 0 else 2 * (side - 1) - place if place >= side else place

    return [[rows[inside(y + down)][inside(x + right)] for x in range(side)] for y in range(side)]


def patch_covariance(images):
    """Mean of p_i p_j over all 2 x 2 patches p of images [C][H][W], each patch a list by channel, row and column."""
    patches = [
        [image[c][y + j][x + i] for c in range(len(image)) for j in (0, 1) for i in (0, 1)]
        for image in images
        for y in range(len(image[0]) - 1)
        for x in range(len(image[0][0]) - 1)
    ]
    size = range(len(patches[0]))
    return [[sum(p[i] * p[j] for p in patches) / len(patches) for j in size] for i in size]


def smoothed_cross_entropy(logits, target, smoothing):
    """Cross-entropy with a distribution of labels: 1 - s + s / C for the target, s / C for the others."""
    total = 0.0
    for z, y in zip(logits, target, strict=True):
        p = _softmax(z)
        share = [smoothing / len(z) + (1 - smoothing) * (c == y) for c in range(len(z))]
        total -= sum(q * math.log(value) for q, value in zip(share, p, strict=True))
    return total / len(target)


def mean_softmax(logits):
    """Of networks x images x classes: the mean over the networks of their softmax, and of their logsumexp."""
    count, shares, sums = len(logits), [], []
    for i in range(len(logits[0])):
        rows = [_softmax(network[i]) for network in logits]
        shares.append([sum(row[c] for row in rows) / count for c in range(len(rows[0]))])
        sums.append(sum(math.log(sum(math.exp(z) for z in network[i])) for network in logits) / count)
    return shares, sums


def root_mean_square_distances(logits, anchors):
    """Of networks x images x classes: the root of the mean over the networks of the squared distance to each anchor."""
    return [
        [math.sqrt(sum(_distance(network[i], a) ** 2 for network in logits) / len(logits)) for a in anchors]
        for i in range(len(logits[0]))
    ]


def sup_con(z, target, temperature):
    """Mean over i of -mean over p != i of i's class of log(exp(z_i.z_p / t) / sum over a != i of exp(z_i.z_a / t))."""
    total = 0.0
    for i in range(len(z)):
        s = {a: sum(x * y for x, y in zip(z[i], z[a], strict=True)) / temperature for a in range(len(z)) if a != i}
        every = math.log(sum(math.exp(v) for v in s.values()))
        mine = [s[a] - every for a in s if target[a] == target[i]]
        total -= sum(mine) / len(mine)
    return total / len(z)


def moved_prototypes(prototypes, z, target, ema):
    """For each z in turn the prototype of its class: ema times itself plus (1 - ema) times z, at length 1."""
    moved = [list(row) for row in prototypes]
    for x, y in zip(z, target, strict=True):
        moved[y] = list(_unit([ema * a + (1 - ema) * b for a, b in zip(moved[y], x, strict=True)]))
    return moved


def dispersion(prototypes, temperature):
    """Mean over i of the log of the mean over j != i of exp(mu_i . mu_j / t)."""
    total = 0.0
    for i, a in enumerate(prototypes):
        rest = [
            math.exp(sum(x * y for x, y in zip(a, b, strict=True)) / temperature)
            for j, b in enumerate(prototypes)
            if j != i
        ]
        total += math.log(sum(rest) / len(rest))
    return total / len(prototypes)


def cosine(features, bank, labels, classes):
    """1 - the largest cosine to the mean of a class's features at length 1, and that class."""
    means = []
    for c in range(classes):
        rows = [_unit(x) for x, y in zip(bank, labels, strict=True) if y == c]
        means.append(_unit([sum(column) for column in zip(*rows, strict=True)]))
    found = []
    for x in features:
        near = [sum(a * b for a, b in zip(_unit(x), m, strict=True)) for m in means]
        found.append((1 - max(near), near.index(max(near))))
    return found


def t_quantile(share, freedom):
    """Student's quantile at a share above a half: bisection on the density's integral by Simpson's rule."""
    constant = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(freedom * math.pi)

    def below(x):
        count = 2000
        step, total = x / count, 0.0
        for n in range(count + 1):
            weight = 1 if n in (0, count) else 4 if n % 2 else 2
            total += weight * constant * (1 + (n * step) ** 2 / freedom) ** (-(freedom + 1) / 2)
        return 0.5 + total * step / 3

    low, high = 0.0, 1.0
    while below(high) < share:
        high *= 2
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) < share else (low, middle)
    return (low + high) / 2


def student_interval(values, against, level=0.95):
    """Ends of the t interval of the mean of values, less a value that is exact."""
    n, mean = len(values), sum(values) / len(values)
    variance = sum((x - mean) ** 2 for x in values) / (n - 1)
    half = t_quantile((1 + level) / 2, n - 1) * math.sqrt(variance / n)
    return mean - against - half, mean - against + half


def welch_interval(values, other_mean, other_sd, other_n, level=0.95):
    """Ends of Welch's interval of the difference of two means, the other known by its mean, deviation and count."""
    n, mean = len(values), sum(values) / len(values)
    one = sum((x - mean) ** 2 for x in values) / (n - 1) / n
    other = other_sd**2 / other_n
    freedom = (one + other) ** 2 / (one**2 / (n - 1) + other**2 / (other_n - 1))
    half = t_quantile((1 + level) / 2, freedom) * math.sqrt(one + other)
    return mean - other_mean - half, mean - other_mean + half


def mean_over_trials(values):
    """Of {trial: {seed: [values]}}: the mean over trials of the means over seeds of the means of the same."""
    trials = []
    for seeds in values.values():
        means = [sum(same) / len(same) for same in seeds.values()]
        trials.append(sum(means) / len(means))
    return sum(trials) / len(trials), trials


# --- further scores: plain loops over the papers' formulas ------------------------------------------------------------


def _log_sum_exp(row):
    top = max(row)
    return top + math.log(sum(math.exp(z - top) for z in row))


def _mean_row(rows):
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]


def _dot(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def entropy(logits):
    """- sum p log p."""
    return [-sum(p * math.log(p) for p in _softmax(z) if p > 0) for z in logits]


def gen(logits, power, top):
    """Sum over the largest p of p^g (1 - p)^g. Liu et al., CVPR 2023; 1 - p is the sum of the other shares."""
    scores = []
    for z in logits:
        p = _softmax(z)
        terms = [(p[c], sum(q for d, q in enumerate(p) if d != c)) for c in range(len(p))]
        scores.append(sum((a * b) ** power for a, b in sorted(terms, reverse=True)[:top]))
    return scores


def margin(logits):
    return [sorted(z)[-2] - max(z) for z in logits]


def kl_matching(logits, bank):
    """min over k of sum p log(p / d_k), d_k the mean softmax of what is predicted k. Hendrycks et al., ICML 2022."""
    typical = []
    for k in range(len(bank[0])):
        if mine := [_softmax(z) for z in bank if _argmax(z) == k]:
            typical.append(_mean_row(mine))
    scores = []
    for z in logits:
        p = _softmax(z)
        scores.append(
            min(sum(a * math.log(a / b) for a, b in zip(p, d, strict=True) if a > 0) for d in typical)
        )  # fmt: skip
    return scores


def likeliest_temperature(logits, labels, low=0.05, high=100.0):
    """Golden-section search in log T for the least mean of logsumexp(z / T) - z_y / T."""

    def loss(log_t):
        t = math.exp(log_t)
        return sum(_log_sum_exp([v / t for v in z]) - z[y] / t for z, y in zip(logits, labels, strict=True))

    a, b, ratio = math.log(low), math.log(high), (math.sqrt(5) - 1) / 2
    for _ in range(200):
        c, d = b - ratio * (b - a), a + ratio * (b - a)
        a, b = (a, d) if loss(c) < loss(d) else (c, b)
    return math.exp((a + b) / 2)


def _normal(rows):
    """Mean and shrunk covariance of rows about it."""
    mean = _mean_row(rows)
    return mean, ledoit_wolf([[x - m for x, m in zip(row, mean, strict=True)] for row in rows])[1]


def _gap(x, mean, covariance):
    gap = [a - b for a, b in zip(x, mean, strict=True)]
    return _dot(gap, _solved(covariance, gap))


def rmds(features, bank, labels, classes):
    """Per image and class MD_k - MD_0, the latter by one normal of all. Ren et al., 2021."""
    mean, covariance = _normal(bank)
    near = mahalanobis(features, bank, labels, classes)
    return [[d - _gap(f, mean, covariance) for d in row] for f, row in zip(features, near, strict=True)]


def _determinant(matrix):
    rows, value = [list(row) for row in matrix], 1.0
    for i in range(len(rows)):
        best = max(range(i, len(rows)), key=lambda r: abs(rows[r][i]))
        if best != i:
            rows[i], rows[best], value = rows[best], rows[i], -value
        value *= rows[i][i]
        for r in range(i + 1, len(rows)):
            factor = rows[r][i] / rows[i][i]
            rows[r] = [a - factor * b for a, b in zip(rows[r], rows[i], strict=True)]
    return value


def gmm(features, bank, labels, classes, covariance):
    """- log sum over k of pi_k N(x; m_k, S_k), and the likeliest class; S shrunk, of all classes or of each."""
    parts, width = [], len(bank[0])
    for c in range(classes):
        mine = [b for b, y in zip(bank, labels, strict=True) if y == c]
        parts.append((len(mine) / len(bank), *_normal(mine)))
    if covariance == "shared":
        gaps = [[x - m for x, m in zip(b, parts[y][1], strict=True)] for b, y in zip(bank, labels, strict=True)]
        shared = ledoit_wolf(gaps)[1]
        parts = [(share, mean, shared) for share, mean, _ in parts]
    found = []
    for f in features:
        joint = [
            math.log(share) - (_gap(f, mean, s) + width * math.log(2 * math.pi) + math.log(_determinant(s))) / 2
            for share, mean, s in parts
        ]
        found.append((-_log_sum_exp(joint), _argmax(joint)))
    return found


def she(features, logits, bank, bank_logits, labels):
    """- <f, mean of the features of the predicted class's images that are classified right>. Zhang et al., 2023."""
    scores = []
    for f, z in zip(features, logits, strict=True):
        c = _argmax(z)
        mine = [b for b, v, y in zip(bank, bank_logits, labels, strict=True) if y == c == _argmax(v)]
        scores.append(-_dot(f, _mean_row(mine)))
    return scores


def nnguide(features, logits, bank, bank_logits, k):
    """- E(x) times the mean of the k largest E(b) cos(x, b). Park et al., ICCV 2023."""
    scores = []
    for f, z in zip(features, logits, strict=True):
        near = [_log_sum_exp(v) * _dot(_unit(f), _unit(b)) for b, v in zip(bank, bank_logits, strict=True)]
        scores.append(-_log_sum_exp(z) * sum(sorted(near)[-k:]) / k)
    return scores


def residual(features, bank, head, dim):
    """|x - o| outside the dim first directions of the bank about o. Wang et al., CVPR 2022.

    The directions by power iteration, each in what the ones before have left; o = - W' (W W')^-1 b, of full rank.
    """
    weights, biases = [row[:-1] for row in head], [row[-1] for row in head]
    inner = _solved([[_dot(a, b) for b in weights] for a in weights], biases)
    origin = [-sum(t * w[i] for t, w in zip(inner, weights, strict=True)) for i in range(len(bank[0]))]
    rows = [[x - o for x, o in zip(b, origin, strict=True)] for b in bank]
    axes = []
    for n in range(dim):
        axis = _unit([1.0 + 0.1 * math.sin(7 * n + i) for i in range(len(origin))])
        for _ in range(5000):
            along = [_dot(r, axis) for r in rows]
            axis = [sum(a * r[i] for a, r in zip(along, rows, strict=True)) for i in range(len(origin))]
            for other in axes:
                part = _dot(axis, other)
                axis = [x - part * o for x, o in zip(axis, other, strict=True)]
            axis = _unit(axis)
        axes.append(axis)

    def left(x):
        gap = [a - o for a, o in zip(x, origin, strict=True)]
        return math.sqrt(max(0.0, _dot(gap, gap) - sum(_dot(gap, axis) ** 2 for axis in axes)))

    return [left(f) for f in features], [left(b) for b in bank]


def vim(features, logits, bank, bank_logits, head, dim):
    """alpha |residual| - logsumexp(z), alpha = sum of largest training logits / sum of training residuals."""
    scores, bank_scores = residual(features, bank, head, dim)
    alpha = sum(max(z) for z in bank_logits) / sum(bank_scores)
    return [alpha * r - _log_sum_exp(z) for r, z in zip(scores, logits, strict=True)]


def fdbd(features, logits, bank, head):
    """- mean over c != y of (z_y - z_c) / |w_y - w_c|, over |f - mean of the bank|. Liu and Qin, ICML 2024."""
    middle, scores = _mean_row(bank), []
    for f, z in zip(features, logits, strict=True):
        y = _argmax(z)
        to = [(z[y] - z[c]) / _distance(head[y][:-1], head[c][:-1]) for c in range(len(z)) if c != y]
        scores.append(-sum(to) / len(to) / _distance(f, middle))
    return scores


def _through(features, head):
    """- logsumexp of W f + b."""
    return [-_log_sum_exp([_dot(f, row[:-1]) + row[-1] for row in head]) for f in features]


def _percentile(values, share):
    """Between the two values about the place share % of the way, by how far it is from each."""
    values = sorted(values)
    at = share / 100 * (len(values) - 1)
    low = math.floor(at)
    high = min(low + 1, len(values) - 1)
    return values[low] + (at - low) * (values[high] - values[low])


def react(features, bank, head, clip):
    """min(f, c), c a percentile of all activations. Sun et al., NeurIPS 2021."""
    most = _percentile([x for row in bank for x in row], clip)
    return _through([[min(x, most) for x in f] for f in features], head)


def _kept(f, prune):
    """The features that stay, zeros where they do not: the D - round(D prune / 100) largest, of these positive ones."""
    count = max(1, len(f) - round(len(f) * prune / 100))
    least = sorted(f)[-count]
    return [x if x >= least else 0.0 for x in f]


def ash(features, head, prune, how):
    """Djurisic et al., ICLR 2023, algorithms 1 (p), 2 (b) and 3 (s); "scale" is Xu et al., ICLR 2024."""
    shaped = []
    for f in features:
        kept = _kept(f, prune)
        if how == "b":
            fill = sum(f) / max(1, sum(x != 0 for x in kept))
            kept = [fill if x != 0 else 0.0 for x in kept]
        if how in ("s", "scale"):
            factor = math.exp(sum(f) / sum(kept)) if sum(kept) > 0 else math.e
            kept = [factor * x for x in (kept if how == "s" else f)]
        shaped.append(kept)
    return _through(shaped, head)


def dice(features, bank, head, sparsity):
    """The head without the weights that contribute least to the bank on average. Sun and Li, ECCV 2022."""
    means = _mean_row(bank)
    contributions = [[w * m for w, m in zip(row[:-1], means, strict=True)] for row in head]
    least = _percentile([x for row in contributions for x in row], sparsity)
    sparse = [
        [w if x > least else 0.0 for w, x in zip(row[:-1], given, strict=True)] + [row[-1]]
        for row, given in zip(head, contributions, strict=True)
    ]
    return _through(features, sparse)


def gradnorm(features, logits):
    """- sum over all weights of |dL/dw_ci|, L = sum over c of - log p_c / C, its gradient at z by differences."""

    def loss(z):
        return sum(_log_sum_exp(z) - v for v in z) / len(z)

    scores = []
    for f, z in zip(features, logits, strict=True):
        total = 0.0
        for c in range(len(z)):
            up, down = ([v + (h if d == c else 0.0) for d, v in enumerate(z)] for h in (1e-5, -1e-5))
            slope = (loss(up) - loss(down)) / 2e-5  # of the loss by logit c; by w_ci it is this times f_i
            total += sum(abs(slope * x) for x in f)
        scores.append(-total)
    return scores


def one_vs_rest(logits, target):
    """Each class told from all others by a logistic regression on its logit, the mean over images and classes."""
    total = 0.0
    for row, own in zip(logits, target, strict=True):
        for c, value in enumerate(row):
            total += math.log(1 + math.exp(-value if c == own else value))
    return total / (len(logits) * len(logits[0]))


def open_set(known, target, made):
    """Cross-entropies of real images with their class and of made ones with a further class, whose logit is 0."""
    real = [-math.log(_softmax([*row, 0.0])[own]) for row, own in zip(known, target, strict=True)]
    unknown = [-math.log(_softmax([*row, 0.0])[-1]) for row in made]
    return sum(real) / len(real), sum(unknown) / len(unknown)


def unknown_class(logits):
    """The share of the further class, whose logit is 0, less the largest one of a known class."""
    scores = []
    for row in logits:
        shares = _softmax([*row, 0.0])
        scores.append(shares[-1] - max(shares[:-1]))
    return scores
