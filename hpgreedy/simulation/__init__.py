"""VMs come and go in a cluster that exists on paper: what an algorithm makes of a stream of requests."""

from hpgreedy.simulation.course import Course, Sample, Shape, default_shape
from hpgreedy.simulation.run import run
from hpgreedy.simulation.stream import Arrival, Mix, enough_hosts, generated, peak
from hpgreedy.simulation.trace import read_trace

__all__ = [
    "Arrival",
    "Course",
    "Mix",
    "Sample",
    "Shape",
    "default_shape",
    "enough_hosts",
    "generated",
    "peak",
    "read_trace",
    "run",
]
