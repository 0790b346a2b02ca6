"""Tables of what we ship and make: scenarios by kind, and the figures of controlled pairs. Markdown."""

from collections import Counter
from collections.abc import Sequence

from discretion.corpus.diversity import auroc, distinct, function_words, near_duplicates
from discretion.scenarios import Scenario


def describe_scenarios(scenarios: Sequence[Scenario]) -> str:
    """Counts by domain and language, difficulty, and kind of flow (focal item appropriate or not)."""
    head = (
        "| domain | language | scenarios | flow appropriate | flow inappropriate | easy | medium | hard "
        "| items right | items wrong |"
    )
    lines = [head, "|---|---|" + "---:|" * 8]
    kinds = sorted({(scenario.domain, scenario.language) for scenario in scenarios}, key=lambda kind: kind[::-1])
    for domain, language in kinds:
        lines.append(_line(domain, language, [s for s in scenarios if (s.domain, s.language) == (domain, language)]))
    lines += [
        _line("**all**", language, [s for s in scenarios if s.language == language])
        for language in sorted({scenario.language for scenario in scenarios})
    ]
    return "\n".join(lines)


def _line(domain: str, language: str, rows: Sequence[Scenario]) -> str:
    right = sum(scenario.items[0].appropriate for scenario in rows)
    hard = Counter(scenario.difficulty for scenario in rows)
    items = Counter(item.appropriate for scenario in rows for item in scenario.items)
    counts = [
        len(rows),
        right,
        len(rows) - right,
        hard["easy"],
        hard["medium"],
        hard["hard"],
        items[True],
        items[False],
    ]
    return f"| {domain} | {language} | " + " | ".join(map(str, counts)) + " |"


def describe_pairs(rows: Sequence[dict[str, object]]) -> str:
    """Diversity and giveaways of controlled pairs; `rows` as `corpus.write.read_pairs` gives them."""
    prompts = ["\n".join(turn["content"] for turn in row["prompt"]) for row in rows]  # type: ignore[attr-defined]
    helpful = [str(row["helpful"]) for row in rows]
    control = [str(row["control"]) for row in rows]
    groups = [f"{row['scenario_type']}/{row['pattern']}/{row['variation']}" for row in rows]
    told = function_words(helpful, control, groups)
    lines = ["| | prompts | helpful | control |", "|---|---:|---:|---:|"]
    texts = (prompts, helpful, control)
    lines.append("| different | " + " | ".join(f"{len(set(part)):,} of {len(part):,}" for part in texts) + " |")
    lines += [
        f"| distinct-{n} | " + " | ".join(f"{distinct(part, n):.3f}" for part in texts) + " |" for n in (1, 2, 3)
    ]
    for limit in (0.5, 0.8):
        shares = [_share_near(part, limit) for part in texts]
        lines.append(
            f"| has a near duplicate (Jaccard of word trigrams >= {limit}) | "
            + " | ".join(f"{share:.1%}" for share in shares)
            + " |"
        )
    lines += [
        "",
        f"- cells of the grid: {len(set(groups))} of 360",
        f"- AUROC of length (characters), helpful against control: "
        f"{auroc([len(text) for text in helpful], [len(text) for text in control]):.3f}",
        f"- AUROC of the 20 commonest function words (linear discriminant, folds by scene): {told.auroc:.3f}; "
        "carried by " + ", ".join(f"{word} ({value:.2f})" for word, value in told.words[:8]),
    ]
    return "\n".join(lines)


def _share_near(texts: Sequence[str], limit: float) -> float:
    near = {index for first, second, _ in near_duplicates(texts, limit) for index in (first, second)}
    return len(near) / len(texts)
