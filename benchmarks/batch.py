"""Functions of many items: single requests put into batches, and batches of which most is cached.

Three models classify handwritten digits. A neural network takes a tenth of a millisecond for each image of
a batch, and many times that for one alone. The 300 trees of the demo have the higher price for a call,
whatever it is asked, and one so low for each image that what Python takes to make a task is no small part
of it. Eight times as many trees take half a millisecond. What a single request costs beside its share of the
batch is the same for all models, so how near they come to one perfect batch depends on how long a model
takes: the table says from which one on it is 0.85 of the throughput. No request is made twice, so each image
is a miss, but for those that were kept on purpose.
"""

from __future__ import annotations

import asyncio
import functools
import statistics
import warnings
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.harness import Call, Case, Contender, Result, WrongAnswerError, measure, plan
from benchmarks.report import Report
from benchmarks.targets import targets
from demo import model
from mlcache import ml_cache

Images = npt.NDArray[np.float64]

MANY = 1000
CACHED = 0.9
SOME = 5
"""Requests that are made one by one: all of them would take minutes."""
LAYERS, FEWER = (2048, 2048), (64, 64)
FOREST, GROVE = 2400, 30

LARGE = "1,000 single requests of 2,400 trees"
NETWORK, TREES = "1,000 single requests of a network", "1,000 single requests of the demo's 300 trees"
LONE, MOSTLY = "a lone request", "a batch, 90 % cached"
PERFECT, ONE_BY_ONE = "one perfect batch", "one by one"
PLAIN, UNBATCHED, UNBATCHED_ASYNC = "plain call", "mlcache, not batched", "mlcache, async, not batched"
ONE, ONE_ASYNC = "mlcache, one", "mlcache, async one"
TENTH, MEMORY, DOGPILE = "the model, on the 10 %", "mlcache, memory", "dogpile, cache_multi_on_arguments"
SERVE = "Ray Serve, batch"

SHARE = 0.85
"""Of the throughput of one perfect batch, that single requests should reach."""


def run(*, quick: bool) -> Report:
    """Measure with 1,000 images, or with ``quick`` with a few of them, once."""
    images = Fresh(40 if quick else MANY)
    how = plan(quick=quick)
    cases = [
        _singles(LARGE, Model(forest_of(GROVE if quick else FOREST)), images, quick=quick),
        _singles(NETWORK, Model(network_of(FEWER if quick else LAYERS)), images, quick=quick),
        _singles(TREES, Model(trees), images, quick=quick),
        measure(LONE, _lone(images), how),
        measure(MOSTLY, _mostly_cached(images), how),
    ]
    about = "models classify images of 8 × 8 pixels; nothing but the 90 % is asked for twice"
    return Report("batch", about, cases, [] if quick else targets("batch", cases))


class Fresh:
    """Images that nobody has asked for before.

    Args:
        count: how many there are at a time.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        seen = model.digits().images
        self._images = np.resize(seen, (count, seen.shape[1])).copy()
        self._nudge = np.linspace(1e-6, 2e-6, count)[:, None]

    def next(self, count: int | None = None) -> Images:
        """So many images; all of them if None."""
        self._images += self._nudge
        return self._images[:count].copy()


class Model:
    """A function of many images, and how many it was given each time.

    Args:
        function: the model's own.
    """

    def __init__(self, function: Callable[[Images], Images]) -> None:
        self._function = function
        self.runs: list[int] = []

    def __call__(self, images: Images) -> Images:
        """By image, the probability of each digit."""
        self.runs.append(len(images))
        return self._function(images)

    def __ml_cache_key__(self) -> str:
        return self._function.__name__

    def cached(self) -> Any:
        """The same, cached item by item."""

        def probabilities(images: Images) -> Images:
            return self(images)

        return ml_cache(backend="lru?max_bytes=1GiB", batch="images", version="1")(probabilities)


def trees(images: Images) -> Images:
    """What the model of the demo says."""
    return model.probabilities(images)


def forest_of(number: int) -> Callable[[Images], Images]:
    """What an ensemble says that is as the demo's, but of so many trees."""

    def forest(images: Images) -> Images:
        return np.asarray(_grown(number).predict_proba(images))

    return forest


def network_of(layers: tuple[int, ...]) -> Callable[[Images], Images]:
    """What a neural network says whose hidden layers have so many units."""

    def network(images: Images) -> Images:
        return np.asarray(_trained(layers).predict_proba(images))

    return network


@functools.cache
def _grown(number: int) -> Any:
    from sklearn.ensemble import ExtraTreesClassifier

    half = len(model.digits().labels) // 2
    return ExtraTreesClassifier(number, random_state=0).fit(
        model.digits().images[:half], model.digits().labels[:half]
    )


@functools.cache
def _trained(layers: tuple[int, ...]) -> Any:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    half = len(model.digits().labels) // 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a few rounds are enough to be asked
        return MLPClassifier(layers, max_iter=3, random_state=0).fit(
            model.digits().images[:half], model.digits().labels[:half]
        )


# --- single requests


def _ask_all(one: Callable[[Any], Awaitable[Any]], images: Fresh) -> Callable[[Any], Any]:
    """What asks for all images at once, each by itself, on an event loop."""

    async def gather(items: Images) -> list[Any]:
        return await asyncio.gather(*(one(item) for item in items))

    def ask(runner: asyncio.Runner) -> Any:
        return runner.run(gather(images.next()))

    return ask


def _served(
    make: Callable[[ExitStack], Callable[[Any], Awaitable[Any]]], judge: Model, images: Fresh
) -> Callable[[ExitStack], Call]:
    def contend(stack: ExitStack) -> Call:
        runner = stack.enter_context(asyncio.Runner())
        ask = _ask_all(make(stack), images)
        before = len(judge.runs)
        answers = ask(runner)
        sizes = judge.runs[before:]
        _check(np.stack(answers), judge, images)
        return Call(ask, runner, f"calls of the model: {len(sizes)}")

    return contend


def _check(answers: Images, judge: Model, images: Fresh) -> None:
    right = judge(images.next())  # a nudge changes little
    if answers.shape != right.shape or not np.allclose(answers, right, atol=0.05):
        raise WrongAnswerError("WRONG: not the model's answers")


def _singles(name: str, judge: Model, images: Fresh, *, quick: bool) -> Case:
    case = measure(name, _batchers(judge, images), plan(quick=quick))
    perfect = case.results[0]
    for result in case.results[1:]:
        if not (result.error or quick):
            result.remark += f"; {_beside(result, perfect, images.count)}"
    return _with_one_by_one(case, judge, images, quick=quick)


def _beside(result: Result, perfect: Result, count: int) -> str:
    """What a request costs beside its share of a perfect batch, and from which model on that is little."""
    pairs = zip(result.samples, perfect.samples, strict=False)
    more = statistics.median(mine - its for mine, its in pairs) / count
    enough = max(more, 0.0) * SHARE / (1 - SHARE)
    return f"{more * 1e6:.0f} µs a request more: {SHARE} from {enough * 1e3:.2f} ms an image on"


def _batchers(judge: Model, images: Fresh) -> list[Contender]:
    def perfect(_: ExitStack) -> Call:
        return Call(lambda _: judge(images.next()), None)

    def ours(_: ExitStack) -> Callable[[Any], Awaitable[Any]]:
        one: Callable[[Any], Awaitable[Any]] = judge.cached().aio.one
        return one

    def serve(stack: ExitStack) -> Callable[[Any], Awaitable[Any]]:
        from benchmarks.serve_batch import one_of

        return one_of(lambda items: judge(np.stack(items)), images.count, stack)

    return [
        Contender(PERFECT, perfect),
        Contender(ONE_ASYNC, _served(ours, judge, images)),
        Contender(SERVE, _served(serve, judge, images)),
    ]


def _with_one_by_one(case: Case, judge: Model, images: Fresh, *, quick: bool) -> Case:
    """The case, with what all requests would take one by one."""
    some = 2 if quick else SOME

    def ask(_: object) -> None:
        for image in images.next(some):
            judge(image[None])

    alone = Contender(ONE_BY_ONE, lambda _: Call(ask, None))
    found = measure(case.name, [alone], plan(quick=True)).results[0]
    times = images.count / some
    scaled = Result(ONE_BY_ONE, [each * times for each in found.samples], found.error)
    scaled.remark = f"{some} of them, and {times:g} times as long"
    # A ratio takes samples side by side, and there is but one of these.
    scaled.samples *= max(len(case.results[0].samples), 1)
    return Case(case.name, [*case.results, scaled])


def _lone(images: Fresh) -> list[Contender]:
    unbatched = ml_cache(backend="lru?max_bytes=1GiB", version="1", name="unbatched")(trees)
    cached = Model(trees).cached()

    def blocking(function: Callable[[Any], Any], *, row: bool) -> Callable[[ExitStack], Call]:
        def ask(_: object) -> Any:
            image = images.next(1)
            return function(image[0] if row else image)

        return lambda _: Call(ask, None)

    def suspending(function: Callable[[Any], Awaitable[Any]], *, row: bool) -> Callable[[ExitStack], Call]:
        async def ask() -> Any:
            image = images.next(1)
            return await function(image[0] if row else image)

        return lambda stack: Call(lambda runner: runner.run(ask()), stack.enter_context(asyncio.Runner()))

    return [
        Contender(PLAIN, blocking(trees, row=False)),
        Contender(UNBATCHED, blocking(unbatched, row=False)),
        Contender(ONE, blocking(cached.one, row=True)),
        Contender(UNBATCHED_ASYNC, suspending(unbatched.aio, row=False)),
        Contender(ONE_ASYNC, suspending(cached.aio.one, row=True)),
    ]


# --- batches that are cached for the most part


def _mostly_cached(images: Fresh) -> list[Contender]:
    kept = images.next(round(images.count * CACHED))
    new = images.count - len(kept)

    judge = Model(trees)

    def ask(function: Callable[[Images], Any]) -> Call:
        function(kept)
        before = len(judge.runs)
        found = function(np.concatenate([kept, images.next(new)]))
        if judge.runs[before:] != [new] or len(found) != images.count:
            raise WrongAnswerError(f"WRONG: computed {judge.runs[before:]} images")
        return Call(lambda _: function(np.concatenate([kept, images.next(new)])), None)

    return [
        Contender(TENTH, lambda _: Call(lambda _: judge(images.next(new)), None)),
        Contender(MEMORY, lambda _: ask(judge.cached())),
        Contender(DOGPILE, lambda _: ask(_dogpile(judge))),
    ]


def _dogpile(judge: Model) -> Callable[[Images], Any]:
    """Its keys are texts and its items are single arguments: an image is passed as its bytes."""
    import xxhash
    from dogpile.cache import make_region

    region = make_region().configure("dogpile.cache.memory")

    def classify(*images: bytes) -> list[Any]:
        return list(judge(np.frombuffer(b"".join(images)).reshape(len(images), -1)))

    cached: Any = region.cache_multi_on_arguments(to_str=xxhash.xxh3_128_hexdigest)(classify)
    return lambda images: np.stack(cached(*map(Images.tobytes, images)))
