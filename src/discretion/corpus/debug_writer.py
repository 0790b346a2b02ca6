"""The Debug form of a program as a model writes it, instead of the syntax tree's rewriting (see `debug`)."""

from collections.abc import Callable

from discretion.corpus.debug import python_in
from discretion.files import digest
from discretion.journal import Journal
from discretion.models import Draft, Model, Sampling

_MAX_NEW_TOKENS = 1500
_ORDER = """\
Here is a request and the program that answers it. Rewrite the program so that it does the same and also prints or \
logs its internal variables while it runs: arguments on entry, intermediate values, results. Change nothing else. \
Answer with one fenced Python block and nothing else.

Request:
{request}

Program:
```python
{program}
```"""


def ask_for_debug(model: Model, journal: Journal) -> Callable[[str, str], str | None]:
    """A function of a request and its answer that gives the model's program; None if it gave none that speaks more.

    What `journal` holds is not asked again. The program is parsed and never run.
    """

    def rewrite(request: str, answer: str) -> str | None:
        program = python_in(answer)
        if program is None:
            return None
        prompt = _ORDER.format(request=request, program=program)
        key = digest([model.fingerprint, prompt])
        if key not in journal:
            (text,) = model.generate([Draft(prompt, Sampling(_MAX_NEW_TOKENS, 0.0, 0))])
            if not isinstance(text, str):
                return None
            journal.add(key, text)
        written = python_in(str(journal.get(key)))
        if written is None or _talk(written) <= _talk(program):
            return None
        return written

    return rewrite


def _talk(program: str) -> int:
    return sum(program.count(word) for word in ("print(", "logging.", "logger."))
