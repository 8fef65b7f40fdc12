"""Views of who lives: they merge to one in any order, suspect first, and a node can refute (feature R3)."""

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from impl.protocol.liveness import ASKED, SUSPECT_S, UNREACHED_S, VOUCH_S, Health, Probe, Rumour, View

NAMES = ("n1", "n2", "n3", "n4")
PING_S = 0.5

ages = st.tuples(st.integers(1, 3), st.integers(0, 3))
others = st.builds(Rumour, st.sampled_from(NAMES[1:]), ages, st.sampled_from([0, 1, 2]))


def heard(*batches: list[Rumour]) -> list[Rumour]:
    """What n1 would tell after it heard these."""
    view = View("n1", 1, NAMES[1:])
    for batch in batches:
        view.hear(batch, 0.0)
    return view.rumours()


@given(st.lists(others, max_size=12), st.data())
def test_views_agree_whatever_the_order_and_however_often_they_hear(told: list[Rumour], data: st.DataObject) -> None:
    shuffled = data.draw(st.permutations(told))
    cut = data.draw(st.integers(0, len(told)))
    assert heard(told) == heard(shuffled) == heard(told[:cut], shuffled, told[cut:])
    assert heard(heard(told)) == heard(told), "and what one tells is all that it knows"


@given(ages, st.sampled_from([1, 2]))
def test_a_node_refutes_what_is_said_of_it_also_of_an_earlier_life(age: tuple[int, int], health: int) -> None:
    view, other = View("n1", 1, NAMES[1:]), View("n2", 1, ("n1",))
    slander = Rumour("n1", age, health)
    other.hear([slander], 0.0)
    is_about_now = age >= (1, 1)
    assert view.hear([slander], 0.0) is is_about_now
    other.hear(view.rumours(), 0.0)
    assert other.health("n1") is Health.ALIVE
    assert view.hear([slander], 0.0) is False, "once is enough"


def test_a_node_that_nobody_reaches_is_suspected_and_then_down() -> None:
    view = View("n1", 1, NAMES[1:])
    view.hear([Rumour(name, (1, 1), 0) for name in NAMES[1:]], 0.0)
    asked = []
    times = [step * 0.1 for step in range(80)]
    story: dict[Health, float] = {}
    for now_s in times:
        for name in NAMES[2:]:
            view.reached(name, now_s)
        asked += view.tick(now_s)
        story.setdefault(view.health("n2"), now_s)
    first = UNREACHED_S + VOUCH_S
    assert list(story) == [Health.ALIVE, Health.SUSPECT, Health.DOWN]
    assert first <= story[Health.SUSPECT] < first + 0.3
    assert first + SUSPECT_S <= story[Health.DOWN] < first + SUSPECT_S + 0.5
    assert {probe.node for probe in asked} == {"n2"}
    assert all(set(probe.through) == {"n3", "n4"} and len(probe.through) <= ASKED for probe in asked)


def test_a_node_that_others_reach_is_not_suspected() -> None:
    """The connection is broken between two nodes only: as long as one vouches, it lives."""
    view = View("n1", 1, NAMES[1:])
    view.hear([Rumour(name, (1, 1), 0) for name in NAMES[1:]], 0.0)
    view.lost("n2")
    vouched = 0
    for now_s in (step * 0.1 for step in range(100)):
        for name in NAMES[2:]:
            view.reached(name, now_s)
        for probe in view.tick(now_s):
            vouched += 1
            view.reached(probe.node, now_s)
        assert view.health("n2") is Health.ALIVE
    assert vouched > 3


def test_a_lost_connection_is_asked_about_at_once() -> None:
    view = View("n1", 1, ("n2", "n3"))
    view.hear([Rumour("n2", (1, 1), 0), Rumour("n3", (1, 1), 0)], 0.0)
    view.lost("n2")
    assert view.tick(0.01) == [Probe("n2", ("n3",))]
    assert view.tick(0.02) == [], "and once"


def test_who_drains_says_so_and_takes_it_back() -> None:
    view, other = View("n1", 1, ("n2",)), View("n2", 1, ("n1",))
    before = view.rumours()
    for drains in (True, False):
        view.say_draining(drains)
        other.hear(view.rumours(), 0.0)
        other.hear(before, 0.0)  # old news
        assert other.drains("n1") is view.drains("n1") is drains
        assert other.health("n1") is Health.ALIVE


class Cluster(RuleBasedStateMachine):
    """Nodes with views of each other, of which some are cut off or dead for a while."""

    @initialize()
    def begin(self) -> None:
        self.now_s = 0.0
        self.incarnations = dict.fromkeys(NAMES, 1)
        self.dead: set[str] = set()
        self.cut: set[tuple[str, str]] = set()
        self.drains: set[str] = set()
        self.views = {name: self.fresh(name) for name in NAMES}

    def fresh(self, name: str) -> View:
        return View(name, self.incarnations[name], [other for other in NAMES if other != name])

    @rule(a=st.sampled_from(NAMES), b=st.sampled_from(NAMES))
    def cut_or_mend(self, a: str, b: str) -> None:
        if a != b:
            self.cut ^= {(a, b), (b, a)}

    @rule(name=st.sampled_from(NAMES))
    def kill_or_start(self, name: str) -> None:
        if name in self.dead:
            self.incarnations[name] += 1
            self.views[name] = self.fresh(name)
            self.drains.discard(name)
        self.dead ^= {name}

    @rule(name=st.sampled_from(NAMES))
    def forget_all(self, name: str) -> None:
        """Its disk is lost: it begins with the first incarnation again."""
        self.incarnations[name] = 1
        self.views[name] = self.fresh(name)
        self.drains.discard(name)

    @rule(name=st.sampled_from(NAMES))
    def drain_or_not(self, name: str) -> None:
        if name not in self.dead:
            self.drains ^= {name}
            self.views[name].say_draining(name in self.drains)

    @rule(steps=st.integers(1, 25))
    def pass_time(self, steps: int) -> None:
        for _ in range(steps):
            self.step()

    def step(self) -> None:
        self.now_s += PING_S / 2
        for name, view in self.views.items():
            if name in self.dead:
                continue
            for other in NAMES:
                if self.reaches(name, other):
                    self.ping(name, other)
            for probe in view.tick(self.now_s):
                if any(self.reaches(name, via) and self.reaches(via, probe.node) for via in probe.through):
                    view.reached(probe.node, self.now_s)

    def reaches(self, a: str, b: str) -> bool:
        return a != b and (a, b) not in self.cut and not {a, b} & self.dead

    def ping(self, a: str, b: str) -> None:
        self.views[b].hear(self.views[a].rumours(), self.now_s)
        self.views[a].hear(self.views[b].rumours(), self.now_s)
        self.views[a].reached(b, self.now_s)

    @rule()
    def after_some_quiet_all_who_talk_see_the_truth(self) -> None:
        end_s = self.now_s + UNREACHED_S + VOUCH_S + SUSPECT_S + 2 * PING_S
        while self.now_s < end_s:
            self.step()
        for name, view in self.views.items():
            for other in NAMES:
                if name in self.dead or name == other:
                    continue
                if other in self.dead:
                    assert view.health(other) is Health.DOWN, (name, other)
                elif self.reaches(name, other):
                    assert view.health(other) is Health.ALIVE, (name, other)
                    assert view.drains(other) is (other in self.drains), (name, other)


TestCluster = Cluster.TestCase
TestCluster.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
