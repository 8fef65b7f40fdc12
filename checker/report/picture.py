"""Shapes: what the layouts produce and the SVG template draws. Lengths are pixels, origin top left."""

from dataclasses import dataclass, field
from typing import Final

NICE_STEPS_US: Final = tuple(
    digit * 10**power for power in range(1, 11) for digit in (1, 2, 5)
)  # 10 microseconds to hours


@dataclass(frozen=True, slots=True)
class Rect:
    x: float
    y: float
    width: float
    height: float
    css: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Line:
    x1: float
    y1: float
    x2: float
    y2: float
    css: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Dot:
    x: float
    y: float
    radius: float
    css: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Label:
    x: float
    y: float
    text: str
    css: str = ""


@dataclass(slots=True)
class Picture:
    """One SVG. Shapes are drawn in the order of the lists: rects, lines, dots, labels."""

    width: float
    height: float
    describes: str
    rects: list[Rect] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    dots: list[Dot] = field(default_factory=list)
    labels: list[Label] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class TimeAxis:
    """Maps microseconds of the run's clock to x between `left` and `right`."""

    start_us: int
    end_us: int
    left: float
    right: float

    def x(self, at_us: float) -> float:
        share = (at_us - self.start_us) / max(self.end_us - self.start_us, 1)
        return round(self.left + (self.right - self.left) * min(max(share, 0.0), 1.0), 1)

    def ticks_us(self, wanted: int = 9) -> list[int]:
        """Round times, about this many."""
        span_us = max(self.end_us - self.start_us, 1)
        step_us = next((step for step in NICE_STEPS_US if span_us / step <= wanted), NICE_STEPS_US[-1])
        first = -(-self.start_us // step_us)
        return [number * step_us for number in range(first, self.end_us // step_us + 1)]

    def draw(self, picture: Picture, top: float, bottom: float) -> None:
        """Vertical lines at round times, named below."""
        for at_us in self.ticks_us():
            picture.lines.append(Line(self.x(at_us), top, self.x(at_us), bottom, "grid"))
            picture.labels.append(Label(self.x(at_us), bottom + 14, seconds(at_us), "axis middle"))


def seconds(at_us: int) -> str:
    """A time of the run's clock, as short as it can be told exactly."""
    return f"{at_us / 1e6:.6f}".rstrip("0").rstrip(".") + " s"
