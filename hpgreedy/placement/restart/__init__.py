"""N+1: whether a host's VMs could be restarted on the others if it died, and admission that keeps it so."""

from hpgreedy.placement.restart.admission import Admission, admit
from hpgreedy.placement.restart.gate import Gate
from hpgreedy.placement.restart.loss import Loss, sentences
from hpgreedy.placement.restart.restarts import Restarts

__all__ = ["Admission", "Gate", "Loss", "Restarts", "admit", "sentences"]
