"""`python -m lab.quickstart [--simulated] [up|down]`; ./quickstart installs what this needs first."""

import sys

from lab.errors import LabError, UsageError
from lab.quickstart.real import RealStage
from lab.quickstart.simulated import SimulatedStage
from lab.quickstart.stage import Stage, StageError
from lab.quickstart.story import tell


def main(words: list[str]) -> int:
    """Run; exit code 0, 1 (failed, with the reason) or 2 (bad usage)."""
    verbs = [word for word in words if word != "--simulated"] or ["up"]
    if verbs not in (["up"], ["down"]):
        print(f"quickstart: unknown words {' '.join(verbs)}; give up or down", file=sys.stderr)
        return 2
    stage: Stage = SimulatedStage() if "--simulated" in words else RealStage()
    try:
        if verbs == ["down"]:
            stage.down()
            print("Everything that quickstart made is gone.")
        else:
            tell(stage)
    except UsageError as error:
        print(f"quickstart: {error}", file=sys.stderr)
        return 2
    except (LabError, StageError) as error:
        print(f"\nquickstart: {error}", file=sys.stderr)
        print(f"What was made so far is left as it is for you to look at; {stage.down_command} removes it.",
              file=sys.stderr)  # fmt: skip
        return 1
    except KeyboardInterrupt:
        print(f"\nInterrupted; {stage.down_command} removes what was made.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
