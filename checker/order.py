"""The causal order of a run: each node's own order, and an edge from each cause to its effect.

Only what the traces say orders events, never a clock. The result is one linear extension of that order; which one
makes no difference to a spec whose unordered events commute, and `seed` draws another one to show it. Real time between
clients is not in this graph: it is judged on the clients' histories.
"""

import random
from array import array
from itertools import groupby

from checker.errors import CannotCheck
from checker.load import Traces

STEPS_DOUBLED_MAX = 6
"""A random linear extension goes on with one node for 1, 2, 4 … events: few as likely as many, so that a node stops at
any event, and another one runs far ahead of it."""


def linear_extension(traces: Traces, seed: int | None = None) -> "array[int]":
    """The indices of all events, each after everything that it depends on.

    Raises CannotCheck with the events of a cycle if there is one: then the traces contradict themselves, which no
    system can do, so it is the instrumentation that is wrong.
    """
    chains = _chains(traces)
    emitted = bytearray(len(traces))
    order = array("l")
    append = order.append
    causes, cause_first = traces.causes, traces.cause_first
    draw = random.Random(seed)
    while chains:
        progress = False
        if seed is not None:
            draw.shuffle(chains)
        for chain in chains:
            begin, end = chain
            index = begin
            stop = end if seed is None else min(end, begin + (1 << draw.randint(0, STEPS_DOUBLED_MAX)))
            while index < stop:
                first, past = cause_first[index], cause_first[index + 1]
                if first != past and not all(emitted[cause] for cause in causes[first:past]):
                    break
                emitted[index] = 1
                append(index)
                index += 1
            progress = progress or index > begin
            chain[0] = index
        if not progress:
            raise CannotCheck(_cycle(traces, chains, emitted))
        if any(begin == end for begin, end in chains):
            chains = [chain for chain in chains if chain[0] < chain[1]]
    return order


def _chains(traces: Traces) -> list[list[int]]:
    """For each node [first event, past its last]: its incarnations' files lie one after the other."""
    chains = []
    for _, files in groupby(traces.files, key=lambda file: file.node):
        own = list(files)
        chains.append([own[0].first, own[-1].first + own[-1].count])
    return chains


def _cycle(traces: Traces, chains: list[list[int]], emitted: bytearray) -> str:
    """Name a cycle among the events that nothing can be done before: the next of each node, and what it waits for."""
    import networkx as nx  # here, because it takes long to import and is never needed for a good run

    graph: nx.DiGraph[int] = nx.DiGraph()
    for index, _ in chains:
        for cause in traces.causes_of(index):
            if not emitted[cause]:
                graph.add_edge(cause, index, why="causes")
                before = next(begin for begin, end in chains if begin <= cause < end)
                if before != cause:
                    graph.add_edge(before, cause, why="is before, on the same node,")
    lines = [
        f"  {traces.id(before)} {graph.edges[before, after]['why']} {traces.id(after)} ({traces.place(after)})"
        for before, after in nx.find_cycle(graph)
    ]
    return "the causes contradict the nodes' own order, so the instrumentation is wrong; a cycle:\n" + "\n".join(lines)
