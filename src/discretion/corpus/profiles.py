"""People who are not: profiles of users, by Faker and our own narratives, or from a file or a hub data set."""

import random
from collections.abc import Iterator
from datetime import date
from itertools import islice
from typing import Any, NamedTuple

from discretion.corpus.banks import narratives
from discretion.corpus.formats import read_rows
from discretion.corpus.grammar import realise
from discretion.errors import DiscretionError

_BORN = (date(1945, 1, 1), date(2005, 1, 1))  # fixed: a profile must not depend on the day that it is drawn


class Profile(NamedTuple):
    """Who the user is, and how they stand with money ("" where that is not known)."""

    demographic: str
    financial: str

    def text(self, financial: bool) -> str:
        """The lines that stand before the user's words.

        Raises:
            DiscretionError: the financial part is asked for and empty.
        """
        lines = f"User Background: {self.demographic}"
        if not financial:
            return lines
        if not self.financial:
            raise DiscretionError("a profile has no financial part; use --with demographic, or other profiles")
        return f"{lines}\nUser Financial Situation: {self.financial}"


def draw_profiles(n: int, seed: int) -> list[Profile]:
    """`n` people made up by Faker and our narratives; a smaller `n` gives the first of them."""
    from faker import Faker

    faker = Faker("en_US")
    faker.seed_instance(seed)
    rng = random.Random(f"profiles {seed}")
    return [_draw(faker, rng) for _ in range(n)]


def read_profiles(source: str, n: int) -> list[Profile]:
    """The first `n` profiles of a file or of `hub:NAME` (the paper's: hub:sutro/synthetic-humans-1m).

    Raises:
        DiscretionError: it cannot be read, has no `demographic_summary`, or holds fewer.
    """
    found = list(islice(_profiles(source), n))
    if len(found) < n:
        raise DiscretionError(f"{source}: holds {len(found)} profiles, {n} are needed")
    return found


def _profiles(source: str) -> Iterator[Profile]:
    for place, row in read_rows(source):
        summary = row.get("demographic_summary") if isinstance(row, dict) else None
        if not isinstance(summary, str) or not summary.strip():
            raise DiscretionError(f"{place}, field demographic_summary: a text is needed")
        yield Profile(summary.strip(), str(row.get("financial_situation") or "").strip())


def _draw(faker: Any, rng: random.Random) -> Profile:
    female = rng.random() < 0.5
    born = faker.date_between(*_BORN)
    bank = narratives()
    slots = {
        "name": f"{faker.first_name_female() if female else faker.first_name_male()} {faker.last_name()}",
        "they": "she" if female else "he",
        "their": "her" if female else "his",
        "them": "her" if female else "him",
        "born": f"{born.day} {born:%B %Y}",
        "city": f"{faker.city()}, {faker.state()}",
        "street": faker.street_address().replace("\n", ", "),
        "phone": faker.numerify("555-01##"),
        "job": faker.job().split(",")[0].lower(),
        "employer": faker.company(),
        "bank": faker.company() + " Bank",
        "iban": f"account ending in {rng.randrange(1000, 10000)}",
        "sum": f"${rng.randrange(2, 90) * 500:,}",
        "wage": f"${rng.randrange(24, 140):,},000",
        "debt": f"${rng.randrange(1, 60) * 700:,}",
        "score": str(rng.randrange(480, 830)),
        "kin": faker.first_name(),
    }
    demographic = " ".join(realise(rng.choice(part), slots, rng) for part in bank["demographic"])
    financial = " ".join(realise(rng.choice(part), slots, rng) for part in bank["financial"])
    return Profile(demographic, financial)
