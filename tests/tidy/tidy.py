#!/usr/bin/env python3
"""tidy: checks the rules of the house that a program can check.

    python3 tests/tidy/tidy.py [ROOT]      status 0: clean; 1: findings, one a line, as PATH:LINE: RULE: TEXT

Each rule is one function with the decorator @rule: it looks at one source file and yields (line, text). The rules are
few, cheap and without false alarms; what needs judgement is a reviewer's. What breaks a rule for a good reason stands
in EXCEPTIONS, with the reason; an exception that nothing needs any more is a finding itself.

The folders and what each may see are read from CMakeLists.txt, the one place where they are written down. The build
enforces the direction too, but for what it compiles; here it is told with a better message, headers included.

Only Python's standard library; git and a C compiler are called.
"""

import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

LINE_COLUMNS_MAX = 120
FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 600
TEST_FILE_LINES_MAX = 1000  # a test is a list: longer is not harder to read
ESSAY_WORDS_MIN = 8

# "RULE PATH" or "RULE PATH FUNCTION": why.
EXCEPTIONS = {}

# What must not be called anywhere in C: why, and what to use.
BANNED_CALLS = {
    "strcpy": "unbounded: use snprintf or memcpy",
    "strcat": "unbounded: use snprintf or memcpy",
    "strncpy": "may leave no NUL: use snprintf or memcpy",
    "strncat": "counts what is left, not the room: use snprintf",
    "sprintf": "unbounded: use snprintf",
    "vsprintf": "unbounded: use vsnprintf",
    "gets": "unbounded: use fgets",
    "scanf": "no errors told: parse by hand",
    "sscanf": "overflow is undefined: parse by hand",
    "atoi": "no errors told: use strtol and check",
    "atol": "no errors told: use strtol and check",
    "atof": "no errors told: use strtod and check",
    "strtok": "hidden state: use strtok_r or strchr",
    "rand": "hidden state, poor and not repeatable: carry a seed",
    "srand": "hidden state: carry a seed",
    "alloca": "unbounded stack: use a bounded array",
    "gmtime": "hidden state: use gmtime_r",
    "localtime": "hidden state: use localtime_r",
    "ctime": "hidden state: use strftime",
    "asctime": "hidden state: use strftime",
    "longjmp": "skips every clean-up: return an error",
}

# The library's contract stands apart from the folders, and is included as its users do: <shoal.h>.
PUBLIC_HEADERS = "client/include"

# protocol/ is pure: bytes in, bytes out.
IMPURE_HEADERS = re.compile(r"sys/|netinet/|arpa/|linux/|net/|"
                            r"(time|unistd|pthread|threads|poll|netdb|fcntl|liburing)\.h")
IMPURE_CALLS = ["malloc", "calloc", "realloc", "reallocarray", "aligned_alloc", "strdup", "strndup", "free", "time",
                "clock_gettime", "gettimeofday", "clock", "socket", "send", "recv", "read", "write", "open", "fopen",
                "printf", "fprintf", "getenv", "exit"]


class Source:
    """One text file: its lines, and for C also the code with comments and literals blanked out."""

    def __init__(self, root, path):
        self.path = path
        self.folder = (root / path).parent
        self.text = (root / path).read_text(encoding="utf-8")
        self.lines = self.text.split("\n")
        self.is_c = path.endswith((".c", ".h"))
        self.is_header = path.endswith(".h")
        self.is_test = path.startswith("tests/")
        self.code = blank_comments_and_literals(self.text).split("\n") if self.is_c else []

    def functions(self):
        """(line, name, lines between the braces). Relies on our format: a function's braces stand in column 0."""
        start = None
        for number, line in enumerate(self.code, 1):
            if line == "{":
                start = number
            elif line.startswith("}") and start:
                yield start, self.function_name(start), number - start - 1
                start = None

    def function_name(self, brace_line):
        """The name before the first parenthesis of the signature that ends above the brace."""
        signature = []
        for line in reversed(self.code[:brace_line - 1]):
            if not line.strip() or line.startswith(("}", "#")) or line.rstrip().endswith(";"):
                break
            signature.insert(0, line)
        found = re.search(r"(\w+)\s*\(", " ".join(signature))
        return found.group(1) if found else "?"

    def calls(self, names):
        """(line, name) of each use of one of these names as a function that is not a member of something."""
        pattern = re.compile(r"(?<![\w.>])(" + "|".join(names) + r")\s*\(")
        for number, line in enumerate(self.code, 1):
            for found in pattern.finditer(line):
                yield number, found.group(1)

    def includes(self):
        """(line, the name with its brackets or quotes)."""
        for number, line in enumerate(self.lines, 1):
            found = re.match(r'\s*#\s*include\s+([<"][^>"]+[>"])', line)
            if found:
                yield number, found.group(1)


def blank_comments_and_literals(text):
    """The same text, each character of a comment or literal but line ends replaced by a space."""
    pattern = re.compile(r"""/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.DOTALL)
    return pattern.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), text)


class Folders:
    """The table of shoal_folder() calls: name → path in the repository, name → all names that it may see."""

    def __init__(self, cmake):
        self.path = {}
        self.depends = {}
        for name, arguments in re.findall(r"^shoal_folder\((\w+)\s([^)]*)\)", cmake, re.MULTILINE):
            self.path[name] = re.search(r"PATH\s+(\S+)", arguments).group(1)
            found = re.search(r"DEPENDS\s+((?:[a-z_0-9]+\s*)+)", arguments)
            self.depends[name] = found.group(1).split() if found else []

    def of(self, path):
        """The folder that a source stands in, None outside of all."""
        parent = os.path.dirname(path)
        return next((name for name, folder in self.path.items() if folder == parent), None)

    def seen_by(self, name):
        seen, left = set(), [name]
        while left:
            folder = left.pop()
            if folder not in seen:
                seen.add(folder)
                left += self.depends.get(folder, [])
        return seen


# ---- the rules ------------------------------------------------------------------------------------------------------

RULES = {}


def rule(function):
    RULES[function.__name__.replace("_", "-")] = function
    return function


@rule
def white_space(source, _folders):
    for number, line in enumerate(source.lines, 1):
        if line != line.rstrip():
            yield number, "trailing white space"
        if "\t" in line:
            yield number, "a tab: indent by spaces"
    if not source.text.endswith("\n") or source.text.endswith("\n\n"):
        yield len(source.lines), "a file ends with exactly one newline"


@rule
def columns(source, _folders):
    for number, line in enumerate(source.lines, 1):
        if len(line) > LINE_COLUMNS_MAX and not source.path.endswith(".md"):
            yield number, f"{len(line)} columns, at most {LINE_COLUMNS_MAX}"


@rule
def unfinished(source, _folders):
    words = re.compile(r"\b(" + "|".join(["TO" + "DO", "FIX" + "ME", "XX" + "X", "HA" + "CK"]) + r")\b")
    for number, line in enumerate(source.lines, 1):
        if words.search(line):
            yield number, "open work belongs into an issue; a limit that stays is said in a sentence"


@rule
def essay(source, _folders):
    if not source.is_c:
        return
    found = re.match(r"/\*(.*?)\*/", source.text, re.DOTALL)
    if not found:
        yield 1, "a source opens with a comment that says what it is for"
    elif not re.search(r"see \S+\.h", found.group(1)) and len(re.findall(r"\w+", found.group(1))) < ESSAY_WORDS_MIN:
        yield 1, "the opening comment says too little"


@rule
def file_lines(source, _folders):
    limit = TEST_FILE_LINES_MAX if source.is_test else FILE_LINES_MAX
    if source.is_c and len(source.lines) - 1 > limit:
        yield 1, f"{len(source.lines) - 1} lines, at most {limit}: is it two things?"


@rule
def function_lines(source, _folders):
    for number, name, size in source.functions():
        if size > FUNCTION_LINES_MAX:
            yield number, f"{name}() has {size} lines, at most {FUNCTION_LINES_MAX}"


@rule
def banned_calls(source, _folders):
    for number, name in source.calls(BANNED_CALLS):
        yield number, f"{name}(): {BANNED_CALLS[name]}"


@rule
def links(source, _folders):
    if not source.path.endswith(".md"):
        return
    for number, line in enumerate(source.lines, 1):
        for target in re.findall(r"\]\(([^)#\s:]+)(?:#[^)]*)?\)", line):
            if not (source.folder / target).exists():
                yield number, f"there is no {target}"


@rule
def header_guard(source, folders):
    if not source.is_header:
        return
    found = re.search(r"^#ifndef (\w+)\n#define (\w+)\n", source.text, re.MULTILINE)
    folder = folders.of(source.path)
    stem = Path(source.path).stem.upper()
    expected = f"SHOAL_{folder.upper()}_{stem}_H" if folder else None
    if not found or found.group(1) != found.group(2):
        yield 1, "no header guard"
    elif expected and found.group(1) != expected:
        yield source.lines.index(found.group().split("\n")[0]) + 1, f"the guard is {expected}"


@rule
def direction(source, folders):
    here = folders.of(source.path)
    if not here:
        return
    seen = folders.seen_by(here)
    for number, name in source.includes():
        if not name.startswith('"'):
            continue
        there = name.strip('"').split("/")[0]
        if "/" not in name:
            yield number, f'include by folder: "{here}/{name[1:]}'
        elif there in folders.path and there not in seen:
            yield number, f"{here} does not see {there} (CMakeLists.txt)"


@rule
def pure_protocol(source, _folders):
    if not source.path.startswith("protocol/"):
        return
    for number, name in source.includes():
        if name.startswith("<") and IMPURE_HEADERS.match(name[1:]):
            yield number, f"protocol/ has no socket, clock or thread: {name}"
    for number, name in source.calls(IMPURE_CALLS):
        yield number, f"protocol/ works on the caller's bytes alone: {name}()"


@rule
def codes_in_protocol_page(source, _folders):
    """Each row of the tables of errors and close codes is a row of docs/PROTOCOL.md, and says the same."""
    if source.path == "protocol/command.h":
        rows = re.finditer(r'^ +X\(\w+, "(\w+)", (true|false),', source.text, re.MULTILINE)
        wanted = [(row, f"| `{row[1]}` | {'yes' if row[2] == 'true' else 'no'} |") for row in rows]
    elif source.path == "protocol/close_code.h":
        rows = re.finditer(r'^ +X\(\w+, (\d+), "(\w+)", (\w+),', source.text, re.MULTILINE)
        wanted = [(row, f"| {row[1]} | `{row[2]}` | {row[3].lower()} |") for row in rows]
    else:
        return
    page = (source.folder / "../docs/PROTOCOL.md").read_text(encoding="utf-8")
    for row, text in wanted:
        if f"\n{text}" not in page:
            yield source.text.count("\n", 0, row.start()) + 1, f"docs/PROTOCOL.md has no row that begins with {text}"
    if not wanted:
        yield 1, "no table was found"


# ---- headers compile alone ------------------------------------------------------------------------------------------


def lonely_headers(root, sources, folders):
    """(path, line, text) of each folder's header that does not compile by itself with what its folder sees."""
    compiler = os.environ.get("CC", "cc")
    headers = [source for source in sources if source.is_header and folders.of(source.path)]
    with tempfile.TemporaryDirectory() as roots:
        for name, path in folders.path.items():
            os.makedirs(f"{roots}/{name}")
            os.symlink((root / path).resolve(), f"{roots}/{name}/{name}")

        def compile_alone(source):
            name = folders.of(source.path)
            command = [compiler, "-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-fsyntax-only"]
            command += [f"-I{roots}/{seen}" for seen in sorted(folders.seen_by(name))]
            command += [f"-I{root}/{PUBLIC_HEADERS}", "-x", "c", "-"]
            unit = f'#include "{name}/{os.path.basename(source.path)}"\n'
            return source, subprocess.run(command, input=unit, capture_output=True, text=True)

        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for source, result in pool.map(compile_alone, headers):
                if result.returncode:
                    first = next(line for line in result.stderr.split("\n") if "error" in line)
                    yield source.path, 1, f"does not compile alone: {first.split('error:')[-1].strip()}"


# ---- all of it ------------------------------------------------------------------------------------------------------


def known_files(root):
    """What git knows or would add; where git can't tell (an archive, somebody else's checkout), what lies there."""
    listed = subprocess.run(["git", "-C", str(root), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
                            check=False, capture_output=True, text=True)
    if listed.returncode == 0:
        return listed.stdout.split("\0")
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in (".git", "build", "node_modules")]
        found += [os.path.relpath(os.path.join(folder, name), root) for name in files]
    return found


def project_files(root):
    """Of all files, the kinds that are written by hand."""
    kinds = (".c", ".h", ".cmake", ".py", ".js", ".mjs", ".sh", ".md", "CMakeLists.txt", "/run", "dev")
    return sorted(path for path in known_files(root)
                  if path.endswith(kinds) and "/corpus/" not in path and (root / path).is_file())


def findings(root):
    folders = Folders((root / "CMakeLists.txt").read_text())
    sources = [Source(root, path) for path in project_files(root)]
    for source in sources:
        for name, check in RULES.items():
            for line, text in check(source, folders):
                yield name, source.path, line, text
    for path, line, text in lonely_headers(root, sources, folders):
        yield "lonely-header", path, line, text


def exception_of(name, path, text):
    """The key in EXCEPTIONS that excuses a finding, or None."""
    function = text.split("(")[0]
    return next((key for key in (f"{name} {path}", f"{name} {path} {function}") if key in EXCEPTIONS), None)


def main(root):
    used, count = set(), 0
    for name, path, line, text in findings(root):
        excuse = exception_of(name, path, text)
        if excuse:
            used.add(excuse)
            continue
        count += 1
        print(f"{path}:{line}: {name}: {text}")
    for key in sorted(set(EXCEPTIONS) - used):
        count += 1
        print(f"tests/tidy/tidy.py:1: exceptions: nothing needs '{key}' any more")
    print(f"tidy: {count} findings")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[2])))
