"""Options of the programs: defaults, then a file, then the command line; every mistake is one sentence."""

from protocol.options.table import Option, OptionTable, Parser
from protocol.options.values import OptionError

__all__ = ["Option", "OptionError", "OptionTable", "Parser"]
