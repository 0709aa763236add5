"""budgets: what bench/budgets asks for, held against medians. The file explains itself."""

MORE = {"messages_per_s", "deliveries_per_s", "messages_per_cpu_s"}  # of these, at least


def read(path):
    """(scenario, measure) → [(beside, limit)]."""
    budgets = {}
    for line in path.read_text("utf-8").splitlines():
        words = [word.strip() for word in line.split("#", 1)[0].split("|")]
        if words[0]:
            scenario, measure, beside, limit = words
            budgets.setdefault((scenario, measure), []).append((beside, float(limit)))
    return budgets


def judge(budgets, scenario, measure, figures, known):
    """
    What the table says, and whether something is over. figures: server → median; known: (scenario, measure) →
    Shoal's figure, of what this run has measured so far.
    """
    said, is_over = [], False
    for beside, limit in budgets.get((scenario, measure), []):
        base = 1 if beside == "-" else figures.get(beside) or known.get((beside, measure))
        if not base:
            said.append(f"{limit:g} of {beside}: not measured")
            continue
        figure = figures["shoal"] / base
        is_kept = figure >= limit if measure in MORE else figure <= limit
        is_over |= not is_kept
        said.append(f"{'ok' if is_kept else 'OVER'}: {figure:.3g}, {limit:g} allowed"
                    + (f" of {beside}" if beside != "-" else ""))
    return "; ".join(said), is_over
