"""A process of its own that asks what another has asked before: ``python -m demo.child FOLDER``."""

from __future__ import annotations

import json
import sys

from demo import model
from demo.steps import Watch


def main(folder: str) -> None:
    """Print the answer, where it came from and how long it took, as one line of JSON."""
    classify = model.kept_on_disk(folder)
    request = model.requests(1, size=64)[0]
    with Watch() as watch:
        result = classify.call_with_info(request)
    answer = {
        "value": result.value.tolist(),
        "status": result.status,
        "seconds": watch.seconds,
        "runs": watch.runs,
        "trained": model.classifier.cache_info().currsize > 0,
    }
    sys.stdout.write(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1])
