"""The canary of tidy: each rule must find what it is for, and must let the good twin pass.

A checker that finds nothing looks just like clean code; this tells them apart.
"""

import tempfile
import unittest
from pathlib import Path

import tidy

FOLDERS = tidy.Folders("shoal_folder(protocol PATH protocol PARTS parts::m)\n"
                       "shoal_folder(base PATH broker/base)\n"
                       "shoal_folder(io PATH broker/io DEPENDS base PARTS parts::uring)\n")
ESSAY = "/* thing: an example that is long enough to say what it is for. */\n"


def found_by(rule, path, text):
    with tempfile.TemporaryDirectory() as root:
        file = Path(root) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return list(tidy.RULES[rule](tidy.Source(Path(root), path), FOLDERS))


class Rules(unittest.TestCase):
    def check(self, rule, bad, good, path="broker/base/thing.c"):
        self.assertTrue(found_by(rule, path, bad), f"{rule} misses its fault")
        self.assertEqual([], found_by(rule, path, good), f"{rule} finds a fault where there is none")

    def test_white_space(self):
        self.check("white-space", "int x; \n", "int x;\n")
        self.check("white-space", "\tint x;\n", "    int x;\n")
        self.check("white-space", "int x;", "int x;\n")

    def test_columns(self):
        self.check("columns", "/" * 121 + "\n", "/" * 120 + "\n")

    def test_unfinished(self):
        self.check("unfinished", "/* TO" + "DO: later */\n", "/* todo lists are a topic like any other */\n")

    def test_essay(self):
        self.check("essay", "int x;\n", ESSAY + "int x;\n")
        self.check("essay", "/* thing */\n", ESSAY)

    def test_file_lines(self):
        self.check("file-lines", "int x;\n" * 601, "int x;\n" * 600)

    def test_function_lines(self):
        head, tail = "static int\nlong_one(int x)\n{\n", "}\n"
        self.check("function-lines", head + "    x++;\n" * 71 + tail, head + "    x++;\n" * 70 + tail)
        self.assertIn("long_one()", found_by("function-lines", "a/b.c", head + "    x++;\n" * 71 + tail)[0][1])

    def test_banned_calls(self):
        self.check("banned-calls", "    strcpy(a, b);\n", "    /* strcpy(a, b) */ my_strcpy(a); f(\"rand()\");\n")
        self.check("banned-calls", "    x = rand();\n", "    x = dialect->rand();\n")

    def test_links(self):
        self.check("links", "see [it](gone.md)\n", "see [it](page.md#part), [there](https://a.example/b)\n",
                   path="page.md")

    def test_header_guard(self):
        guard = "#ifndef SHOAL_BASE_{0}_H\n#define SHOAL_BASE_{0}_H\n#endif\n"
        self.check("header-guard", "int x;\n", guard.format("THING"), path="broker/base/thing.h")
        self.check("header-guard", guard.format("OTHER"), guard.format("THING"), path="broker/base/thing.h")

    def test_direction(self):
        self.check("direction", '#include "io/io.h"\n', '#include "base/check.h"\n#include <poll.h>\n')
        self.check("direction", '#include "thing.h"\n', '#include "base/thing.h"\n')
        self.check("direction", '#include "protocol/span.h"\n', '#include "base/check.h"\n', path="broker/io/io.c")

    def test_pure_protocol(self):
        self.check("pure-protocol", "#include <sys/socket.h>\n", "#include <string.h>\n", path="protocol/a.c")
        self.check("pure-protocol", "    p = malloc(1);\n", "    stream.free(p);\n", path="protocol/a.c")

    def test_codes_in_protocol_page(self):
        errors = '#define REPLY_ERRORS(X) \\\n    X(BUSY, "busy", {0}, "Try again.")\n'
        closes = '#define CLOSE_CODES(X) \\\n    X(SLOW, 4001, "slow", {0}, "Fell behind.")\n'
        with tempfile.TemporaryDirectory() as root:
            page = Path(root) / "docs/PROTOCOL.md"
            page.parent.mkdir()
            page.write_text("\n| `busy` | yes | when |\n| 4001 | `slow` | resume | when |\n")
            (Path(root) / "protocol").mkdir()
            for path, table, good, bad in (("protocol/command.h", errors, "true", "false"),
                                           ("protocol/close_code.h", closes, "RESUME", "NEVER")):
                for value, count in ((good, 0), (bad, 1)):
                    (Path(root) / path).write_text(table.format(value))
                    found = list(tidy.RULES["codes-in-protocol-page"](tidy.Source(Path(root), path), FOLDERS))
                    self.assertEqual(count, len(found), f"{path} with {value}")


class Headers(unittest.TestCase):
    def test_lonely_header(self):
        with tempfile.TemporaryDirectory() as name:
            root = Path(name)
            for path in FOLDERS.path.values():
                (root / path).mkdir(parents=True, exist_ok=True)
            (root / "broker/base/bad.h").write_text("uint32_t x;\n")
            (root / "broker/base/good.h").write_text("#include <stdint.h>\nextern uint32_t x;\n")
            sources = [tidy.Source(root, f"broker/base/{stem}.h") for stem in ("bad", "good")]
            lonely = [path for path, _, _ in tidy.lonely_headers(root, sources, FOLDERS)]
            self.assertEqual(["broker/base/bad.h"], lonely)


if __name__ == "__main__":
    unittest.main()
