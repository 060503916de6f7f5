"""What more workers would bring a sweep, simulated: a model of its parts with measured costs, not a measurement.

    python -m edgedqn.benchmarks.scaling docs/results/scaling.json --workers 1 10 100 1000

The agents are trained. Then a driver asks for a batch of trials, workers do them, and it tells what came of them; then the next
batch. A worker reads the agent from the store, computes, and writes its run folder there. The driver does one thing at a time,
the store serves a number of requests at once, and a batch waits for its slowest trial. Nobody fails, and what is proven at the
end is left out.
"""

import argparse
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import simpy

from edgedqn.agents.errors import InputError, require
from edgedqn.agents.files import JsonValue, read_json

Steps = Generator[simpy.Event, object, None]
PRICE = 0.05  # of a core for an hour, in US dollars: an assumption
WITHOUT = ("training", "start", "ask", "ask_each", "dispatch", "tell", "request")  # what can be taken to be free


@dataclass(frozen=True, kw_only=True)
class Costs(JsonValue):
    """Of the parts of a sweep, in seconds unless it says otherwise.

    Attributes:
      training: of an agent, on one core.
      trial: to compress, export and judge a file, on one core, the mean.
      spread: its standard deviation, as a share of the mean; the times are lognormal.
      start: of a worker, before its first trial.
      ask: of the driver, for a trial, where nothing was tried yet.
      ask_each: what each earlier trial adds to that.
      dispatch: of the driver, for a piece of work that is begun and answered.
      tell: of the driver, for a trial.
      request: of the store, for a file.
      files: that a trial reads and writes.
      megabytes: that a trial reads and writes, 10**6 bytes.
      megabytes_per_s: that the store gives to a worker.
    """

    training: float
    trial: float
    spread: float
    start: float
    ask: float
    ask_each: float
    dispatch: float
    tell: float
    request: float
    files: int
    megabytes: float
    megabytes_per_s: float

    @property
    def store(self) -> float:
        """What a trial spends on the store."""
        return self.request * self.files + self.megabytes / self.megabytes_per_s

    def asking(self, count: int, *, earlier: int) -> float:
        """What the driver spends on a batch before workers begin, where so many trials were tried before."""
        return count * (self.ask + self.ask_each * earlier + self.dispatch)


@dataclass(frozen=True, kw_only=True)
class Simulated:
    """A sweep that was simulated.

    Attributes:
      workers, batch, trials: of it.
      hours: that it took.
      busy: the share of the workers' time that they computed in.
      training: the share of the time in which agents were trained, and nothing else could be done.
      driver, store: the shares of the time in which the driver, or as many requests as the store serves, were busy.
    """

    workers: int
    batch: int
    trials: int
    hours: float
    busy: float
    training: float
    driver: float
    store: float

    @property
    def trials_per_hour(self) -> float:
        """Finished."""
        return self.trials / self.hours

    def dollars_per_thousand(self, price: float = PRICE) -> float:
        """Of a thousand trials, where a core costs `price` US dollars an hour, idle workers paid, too."""
        return 1_000 * price * self.workers * self.hours / self.trials


def simulate(
    costs: Costs, *, workers: int, batch: int, trials: int, agents: int = 1, at_once: int = 100, seed: int = 0
) -> Simulated:
    """A sweep of one environment. `agents` are trained first; `at_once` is how many requests the store serves. The same
    arguments give the same result."""
    require(
        min(workers, batch, trials, agents, at_once) >= 1, "Expected workers, batch, trials, agents and at_once of 1 or more."
    )
    env, rng = simpy.Environment(), np.random.default_rng(seed)
    pool, store = simpy.Resource(env, workers), simpy.Resource(env, at_once)
    sigma = np.sqrt(np.log1p(costs.spread**2))
    times = rng.lognormal(np.log(costs.trial) - sigma**2 / 2, sigma, size=trials)
    spent = {"workers": 0.0, "training": 0.0, "driver": 0.0, "store": 0.0}

    def train() -> Steps:
        with pool.request() as turn:
            yield turn
            yield env.timeout(costs.start + costs.training)
            spent["workers"] += costs.training

    def work(number: int) -> Steps:
        with pool.request() as turn:
            yield turn
            if agents <= number < workers:  # the others have trained an agent
                yield env.timeout(costs.start)
            with store.request() as served:
                yield served
                yield env.timeout(costs.store)
            spent["store"] += costs.store
            yield env.timeout(times[number])
            spent["workers"] += times[number]

    def drive() -> Steps:
        yield simpy.AllOf(env, [env.process(train()) for _ in range(agents)])
        spent["training"] = env.now
        for first in range(0, trials, batch):
            count = min(batch, trials - first)
            asking = costs.asking(count, earlier=first)
            yield env.timeout(asking)
            yield simpy.AllOf(env, [env.process(work(number)) for number in range(first, first + count)])
            yield env.timeout(costs.tell * count)
            spent["driver"] += asking + costs.tell * count

    env.process(drive())
    env.run()
    return Simulated(
        workers=workers,
        batch=batch,
        trials=trials,
        hours=env.now / 3_600,
        busy=spent["workers"] / (env.now * workers),
        training=spent["training"] / env.now,
        driver=spent["driver"] / env.now,
        store=spent["store"] / (env.now * at_once),
    )


def table(found: Sequence[Simulated], *, price: float = PRICE) -> str:
    """As Markdown."""
    head = ("workers", "batch", "trials", "trials/h", "workers busy", "training", "driver busy", "store busy", "$ per 1,000")
    rows = [
        (
            f"{each.workers:,}",
            f"{each.batch:,}",
            f"{each.trials:,}",
            f"{each.trials_per_hour:,.0f}",
            f"{each.busy:.0%}",
            f"{each.training:.0%}",
            f"{each.driver:.0%}",
            f"{each.store:.0%}",
            f"{each.dollars_per_thousand(price):.2f}",
        )
        for each in found
    ]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ("---",) * len(head), *rows))


def main(argv: Sequence[str] | None = None) -> int:
    """Prints a table; see the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("costs", type=Path, help="JSON with the costs, as docs/results/scaling.py measures them")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 10, 100, 1_000], metavar="N", help="(1 10 100 1000)")
    parser.add_argument("--per-batch", type=float, default=4.0, metavar="X", help="trials of a batch, for each worker (4)")
    parser.add_argument("--batches", type=int, default=25, metavar="N", help="of a sweep (25)")
    parser.add_argument("--trials", type=int, metavar="N", help="of each sweep, whatever its batches")
    parser.add_argument("--price", type=float, default=PRICE, metavar="USD", help=f"of a core for an hour ({PRICE})")
    parser.add_argument("--without", choices=WITHOUT, nargs="+", default=[], help="parts that cost nothing")
    arguments = parser.parse_args(argv)
    try:
        costs = Costs.from_json({**read_json(arguments.costs, 1)["costs"], **dict.fromkeys(arguments.without, 0.0)})
    except (KeyError, TypeError) as error:
        raise InputError(f"{arguments.costs} has no costs of a sweep: expected those of docs/results/scaling.py.") from error
    found = []
    for workers in arguments.workers:
        batch = max(1, round(arguments.per_batch * workers))
        found.append(simulate(costs, workers=workers, batch=batch, trials=arguments.trials or arguments.batches * batch))
    print(table(found, price=arguments.price))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
