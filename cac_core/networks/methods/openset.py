"""OSRCI and G-OpenMax: images of no class are made up, and K + 1 classes are learnt. The score is `unknown_class`.

Three stages in one run. Until the share `start` of the training the classifier learns K classes, one against the rest,
and beside it an encoder E, a generator G and a critic D of the same images. Then G makes images that the classifier is
unsure of. From there on the classifier learns real images as theirs and made ones as the class K + 1, whose logit is 0.
What is made lies on the classifier's side of being unknown: only there it is asked what it does not know.
"""

import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from cac_core.networks import losses
from cac_core.networks.backbones import Backbone
from cac_core.networks.generator import Critic, Encoder, Generator, on_spheres, penalty
from cac_core.networks.methods import Method
from cac_core.recipe import checked
from cac_core.sentences import say

RATE, BETAS = 1e-3, (0.5, 0.999)  # of Adam, for all but the classifier
REAL = 0.01  # the weight of the critic's word: for the generator, and in the released code on real images
ALIKE = 0.25  # of the spread of real images, below which rebuilt ones are one image over and over
REACHED = 0.1  # of the searches, below which they are said to have found little
SHOWN, MOMENTS = 12, 6  # images whose way is kept, and how many pictures of each way
TRIES = 200  # candidates for each image that is wanted
SEARCH = 0.2  # what a step of the search costs, of training by an image


class _Made(Method):
    """What both have in common; they differ in how they make images, `_some`."""

    alone = True
    criterion = "known"

    def __init__(
        self, backbone: Backbone, classes: int, images: str, count: int, gan: str, reconstruction: float, latent: int,
        maps: int, start: float,
    ):  # fmt: skip
        super().__init__(backbone, classes)
        self.images, self.released = checked("images", images), checked("gan", gan) == "released"
        self.reconstruction = checked("reconstruction", reconstruction)
        self.begins, (channels, size) = checked("start", start), backbone.takes
        count = 0 if images == "none" else checked("count", count)
        sizes = channels, size, checked("maps", maps)
        checked("latent", latent)
        self.gan = nn.ModuleDict()
        if images == "made":
            self.gan["critic"] = Critic(*sizes, classes if self.released else 1)
            self.gan["encoder"], self.gan["generator"] = Encoder(*sizes, latent), Generator(*sizes, latent)
        image = channels, size, size
        for name, shape in (("low", (channels, 1, 1)), ("span", (channels, 1, 1))):
            self.register_buffer(name, torch.full(shape, -2.0 if name == "low" else 4.0))
        self.register_buffer("made", torch.zeros(count, *image, dtype=torch.uint8))
        self.register_buffer("begun", torch.full((count,), -1))  # the class of the image that each was begun from
        self.register_buffer("found", torch.zeros(3, dtype=torch.long))  # images, tries, and those that look unknown
        self.register_buffer("spread", torch.tensor(math.nan))  # of rebuilt images, as a share of that of real ones
        shown = SHOWN if count else 0
        self.register_buffer("way_images", torch.zeros(MOMENTS * shown, *image, dtype=torch.uint8))
        self.register_buffer("way_shares", torch.zeros(MOMENTS, shown, classes + 1))
        self.register_buffer("way_classes", torch.full((shown,), -1))
        self.register_buffer("way_steps", torch.zeros(MOMENTS, dtype=torch.long))

    # --- the parts ---------------------------------------------------------------------------------------------------

    def parts(self):
        if not self.gan:
            return super().parts()
        beside = {id(p) for p in self.gan.parameters()}
        net = [p for p in super().parts()["net"] if id(p) not in beside]
        rebuilt = [*self.gan["encoder"].parameters(), *self.gan["generator"].parameters()]
        return {"critic": [*self.gan["critic"].parameters()], "rebuilt": rebuilt, "net": net}

    def optimizer(self, part, parameters):
        return None if part == "net" else torch.optim.Adam(parameters, RATE, BETAS)

    @torch.no_grad()
    def first(self, batches):
        """The darkest and the brightest pixel of each channel, between which the generator paints."""
        low, high = torch.full_like(self.low, torch.inf), torch.full_like(self.low, -torch.inf)
        for x, _ in batches:
            low = torch.minimum(low, x.amin((0, 2, 3))[:, None, None])
            high = torch.maximum(high, x.amax((0, 2, 3))[:, None, None])
        self.low.copy_(low)
        self.span.copy_(high - low)

    def painted(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        """Normalised images between 0 and 1."""
        return ((x - self.low) / self.span.clamp_min(1e-6)).clamp(0, 1)

    def scaled(self, painted: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        """The way back."""
        return self.low + self.span * painted

    def kept(self, painted: Tensor) -> Tensor:
        return (painted * 255).round().to(torch.uint8)

    def dummies(self):
        """The class K + 1 has a logit of 0, whatever the features."""
        return self.classify.weight.new_zeros(1, self.backbone.pooled_width + 1)

    # --- learning ----------------------------------------------------------------------------------------------------

    def terms(self, logits, y):
        loss = F.cross_entropy(losses.with_unknown(logits), y)
        return {"total": loss, "known": loss}

    def losses(self, x, y):
        if self.way < self.begins:
            if self.gan:
                yield from self._rivals(self.painted(x))
            loss = losses.one_vs_rest(self(x)[0], y)
            yield "net", {"total": loss, "one_vs_rest": loss}
            return
        count = int(self.found[0])
        if not count:
            yield "net", self.terms(self(x)[0], y)
            return
        chosen = torch.randint(count, (len(x),), device=x.device)
        logits = self(torch.cat([x, self.scaled(self.made[chosen] / 255)]))[0]
        yield "net", self.open_terms(logits[: len(x)], y, logits[len(x) :])

    def open_terms(
        self, known: Float[Tensor, "N K"], y: Int[Tensor, " N"], made: Float[Tensor, "M K"]
    ) -> dict[str, Float[Tensor, ""]]:
        """The terms of K + 1 classes, from the logits of real and of made images."""
        real, unknown = F.cross_entropy(losses.with_unknown(known), y), losses.of_unknown(made).mean()
        return {"total": real + unknown, "known": real, "unknown": unknown}

    def _rivals(self, x: Float[Tensor, "N C H W"]) -> Iterator[tuple[str, dict[str, Tensor]]]:
        """The critic against the generator, and what is rebuilt against the real image x."""
        critic, encoder, generator = (self.gan[name] for name in ("critic", "encoder", "generator"))
        with torch.no_grad():
            z = torch.randn_like(encoder(x)) if self.released else encoder(x)
            fake = generator(on_spheres(z))
        share = torch.rand(len(x), device=x.device)
        slope = penalty(critic, x, fake, share, released=self.released)
        of_fake, of_real = critic(fake)[:, 0], critic(x)[:, 0]
        if self.released:
            apart = F.softplus(of_fake).mean() + REAL * F.softplus(-of_real).mean()
        else:
            apart = of_fake.mean() - of_real.mean()
        yield "critic", {"total": apart + slope, "penalty": slope}
        rebuilt = generator(encoder(x))
        away = (rebuilt - x).abs().mean()
        critic.requires_grad_(False)  # its word is asked, it does not learn here
        yield "rebuilt", {"total": self.reconstruction * away - REAL * critic(rebuilt)[:, 0].mean(), "away": away}
        critic.requires_grad_(True)

    # --- making ------------------------------------------------------------------------------------------------------

    def costs(self):
        if not len(self.made):
            return 1.0, 1.0, 0.0
        return (1.0, 0.4, self._cost() * len(self.made)) if self.gan else (1.0, 2.0, 0.0)

    def done(self):
        if not len(self.made) or self.found[1] >= TRIES * len(self.made):
            return 1.0
        return max(int(self.found[0]) / len(self.made), int(self.found[1]) / (TRIES * len(self.made)))

    def make(self, x, y):
        if not self.gan:
            new, began = torch.rand_like(x), torch.full_like(y, -1)
        else:
            with torch.no_grad():
                z = self.gan["encoder"](self.painted(x))
                if not self.found[1] and len(x) > 1:
                    real, rebuilt = (images.std(0).mean() for images in (self.painted(x), self.gan["generator"](z)))
                    self.spread.copy_(rebuilt / real)  # nan where all images are one
            new, began = self._some(x, z, y)
        new, began = new[: len(self.made) - int(self.found[0])], began[: len(self.made) - int(self.found[0])]
        at = slice(int(self.found[0]), int(self.found[0]) + len(new))
        self.made[at], self.begun[at] = self.kept(new), began
        with torch.no_grad():
            unknown = self._shares(new).argmax(1) == self.classify.out_features if len(new) else y[:0]
        self.found += torch.tensor([len(new), len(x), int(unknown.sum())], device=x.device)

    def _some(
        self, x: Float[Tensor, "N C H W"], z: Float[Tensor, "N D"], y: Int[Tensor, " N"]
    ) -> tuple[Float[Tensor, "M C H W"], Int[Tensor, " M"]]:
        """Images made from real ones, x with the latents z, and the class that each was begun from."""
        raise NotImplementedError

    def _cost(self) -> float:
        """Of making an image."""
        raise NotImplementedError

    def _shares(self, painted: Float[Tensor, "N C H W"]) -> Float[Tensor, "N L"]:
        """Of the K + 1 classes, by the classifier as it is."""
        return losses.with_unknown(self(self.scaled(painted))[0]).softmax(1)

    def _show(self, moment: int, step: int, painted: Float[Tensor, "N C H W"], chosen: Int[Tensor, " P"]) -> None:
        training = self.training
        with torch.no_grad():
            some = painted[chosen]
            at = moment * SHOWN
            self.way_images[at : at + len(chosen)], self.way_steps[moment] = self.kept(some), step
            self.way_shares[moment, : len(chosen)] = self.eval()._shares(some)
        self.train(training)

    def _chosen(self, y: Int[Tensor, " N"]) -> Int[Tensor, " P"]:
        """Whose way is kept: some of the first batch, one of each class before a second one."""
        if self.found[1]:
            return y[:0]
        turn = torch.tensor([int((y[:n] == c).sum()) for n, c in enumerate(y)], device=y.device)
        chosen = torch.argsort(turn * (int(y.max()) + 1) + y, stable=True)[:SHOWN]
        self.way_classes[: len(chosen)] = y[chosen]
        return chosen

    def doubts(self):
        count, tries, unknown = self.found.tolist()
        wanted = len(self.made)
        if self.spread < ALIKE:
            yield say(
                "The generator has collapsed: the images that it rebuilds differ from each other by {share} of what "
                "real ones do, and what is made with it is much the same image. Train for more epochs, or with another "
                "seed.",
                share=f"{float(self.spread):.0%}",
            )  # fmt: skip
        if count < wanted:
            yield say(
                "Of {tries} candidates only {count} were images that the classifier is unsure of, and {wanted} were "
                "wanted. The last stage learns from these alone.",
                tries=tries, count=count, wanted=wanted,
            )  # fmt: skip
        elif self.gan and unknown < REACHED * count:
            yield say(
                "Only {unknown} of {count} made images look like none of the known classes to the classifier: they "
                "teach it little about unknown ones.",
                unknown=unknown, count=count,
            )  # fmt: skip

    def shown(self):
        if not len(self.made):
            return {}
        few = int((self.way_classes >= 0).sum())
        return {
            "made": self.scaled(self.made[: int(self.found[0])] / 255),
            "begun": self.begun[: int(self.found[0])],
            "way": self.scaled(self.way_images / 255).unflatten(0, (MOMENTS, SHOWN))[:, :few],
            "before": self.way_shares[:, :few],
            "steps": self.way_steps,
            "classes": self.way_classes[:few],
        }


def walk(
    z0: Float[Tensor, "N D"],
    generate: Callable[[Tensor], Tensor],
    classify: Callable[[Tensor], Tensor],
    *,
    steps: int,
    speed: float,
    distance: float,
    released: bool = False,
) -> Iterator[Float[Tensor, "N D"]]:
    """The latents after each step of the search for a counterfactual image. Neal et al., ECCV 2018.

    Each image by itself goes down log(1 + sum over k of exp C_k(G(z))) + distance |z - z0|^2 and back onto the
    spheres. released: as their code has it, down the mean over all images of the first term + distance (mean of all of
    z - mean of all of z0)^2, by its gradient times its own value, and back onto four spheres instead of sixteen.
    """
    z = z0
    for _ in range(steps):
        z = z.detach().requires_grad_()
        open_loss = losses.of_unknown(classify(generate(z)))
        if released:
            loss = open_loss.mean() + distance * (z.mean() - z0.mean()).square()
            (slope,) = torch.autograd.grad(loss, z, loss.detach())
        else:
            (slope,) = torch.autograd.grad((open_loss + distance * (z - z0).square().sum(1)).sum(), z)
        z = on_spheres((z - speed * slope).detach(), *([4] if released else []))
        yield z


class OSRCI(_Made):
    """Open set recognition with counterfactual images. Neal, Olson, Fern, Wong and Li, ECCV 2018.

    `count` images are sought, each by `walk` steps of `speed` from a real one's latent. search "paper" seeks each by
    itself; "released" as the code does, see `walk`, in training mode. images: "made"; the controls are "noise", of
    pixels alone, and "none", K + 1 classes without any. gan "paper": the critic is a Wasserstein one with the standard
    penalty, on what is rebuilt; "released": on images of noise, with softplus and the code's penalty. The generator
    learns `reconstruction` x the mean distance of a pixel less 0.01 of the critic's word.

    Deviates: the classifier is the recipe's network, trained by its rate, which has fallen by the last stage; encoder
    and generator take one step together; real and made images go through the classifier as one batch.
    """

    def __init__(
        self, backbone, classes, *, images: str = "made", count: int = 320, walk: int = 100, speed: float = 0.1,
        distance: float = 1.0, search: str = "paper", gan: str = "paper", reconstruction: float = 1.0,
        latent: int = 16, maps: int = 48, start: float = 0.85,
    ):  # fmt: skip
        super().__init__(backbone, classes, images, count, gan, reconstruction, latent, maps, start)
        self.how = {
            "steps": checked("walk", walk),
            "speed": checked("speed", speed),
            "distance": checked("distance", distance),
            "released": checked("search", search) == "released",
        }

    def _cost(self):
        return self.how["steps"] * SEARCH

    def _some(self, x, z, y):
        steps, chosen, generator = self.how["steps"], self._chosen(y), self.gan["generator"]
        moments = [math.ceil(steps * share) for share in (0.02, 0.1, 0.3, 1)]  # after the real image and G(z0)
        if len(chosen):
            self._show(0, -1, self.painted(x), chosen)
            self._show(1, 0, generator(z), chosen)
        self.train(self.how["released"])
        for step, z in enumerate(walk(z, generator, lambda x: self(self.scaled(x))[0], **self.how), 1):  # noqa: B020
            for moment in (n for n, at in enumerate(moments, 2) if len(chosen) and at == step):
                self._show(moment, step, generator(z), chosen)
        with torch.no_grad():
            new = generator(z)
        self.eval()
        return new, y


class GOpenMax(_Made):
    """G-OpenMax. Ge, Demyanov, Chen and Garnavi, BMVC 2017, with the generator of Neal et al., who compare with it.

    Candidates are mixtures of two real images of different classes, theta to 1 - theta in their latents, theta drawn
    evenly; those are kept whose largest share is less than `unsure`, until there are `count`. blend "paper": the
    latent goes back onto the spheres, and the shares are of K + 1 classes; "released", as in the code of Neal et al.:
    any two images, the latent stays inside, and the shares are a softmax of K logits that were not learnt so. The other
    options are those of osrci. Rejected as osrci is, or by openmax on the logits, as in its name.
    """

    def __init__(
        self, backbone, classes, *, images: str = "made", count: int = 320, unsure: float = 0.5, blend: str = "paper",
        gan: str = "paper", reconstruction: float = 1.0, latent: int = 16, maps: int = 48, start: float = 0.85,
    ):  # fmt: skip
        super().__init__(backbone, classes, images, count, gan, reconstruction, latent, maps, start)
        self.unsure, self.as_released = checked("unsure", unsure), checked("blend", blend) == "released"

    def _cost(self):
        return 4.0

    @torch.no_grad()
    def _some(self, x, z, y):
        generator, other = self.gan["generator"], torch.randperm(len(x), device=x.device)
        theta = torch.rand(len(x), 1, device=x.device)
        use = torch.ones_like(y, dtype=torch.bool) if self.as_released else y != y[other]
        back = (lambda z: z) if self.as_released else on_spheres
        pictures = generator(back(theta * z + (1 - theta) * z[other]))
        shares = self._shares(pictures)[:, :-1]
        if self.as_released:
            shares = shares / shares.sum(1, keepdim=True)
        chosen = self._chosen(y)
        if len(chosen):
            self._show(0, -1, self.painted(x), chosen)
            for moment in range(1, MOMENTS):  # the way to the other image, in percent
                share = (moment - 1) / (MOMENTS - 2)
                self._show(moment, round(100 * share), generator(back((1 - share) * z + share * z[other])), chosen)
        use &= shares.amax(1) < self.unsure
        return pictures[use], y[use]
