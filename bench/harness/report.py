"""report: tables of Markdown to standard output, the same as CSV."""

import csv
import sys

RED, PLAIN = ("\033[31m", "\033[0m") if sys.stdout.isatty() else ("", "")


def show(rows, columns):
    """A table of Markdown. columns: key → heading. A row with "red" is red, where the terminal knows colours."""
    print("| " + " | ".join(columns.values()) + " |")
    print("|" + "---:|" * len(columns))
    for row in rows:
        line = "| " + " | ".join(figure(row.get(key, "")) for key in columns) + " |"
        print(RED + line + PLAIN if row.get("red") else line)
    print(flush=True)


def figure(value):
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def save(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    keys = list(dict.fromkeys(key for row in rows for key in row))
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, keys, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def flat(record, prefix=""):
    """{"all": {"p50_us": 1}} as {"all_p50_us": 1}."""
    row = {}
    for key, value in record.items():
        if isinstance(value, dict):
            row |= flat(value, f"{prefix}{key}_")
        else:
            row[prefix + key] = value
    return row
