#!/usr/bin/env python3
"""Shows for every rule of tidy.py a text that breaks it and one that does not."""

import unittest

import tidy


def found(check, name, *texts):
    names = [name] if isinstance(name, str) else name
    return [what for _, _, what in check([tidy.Source(n, t) for n, t in zip(names, texts)])]


class TidyRules(unittest.TestCase):
    def test_a_long_file_is_found_and_tests_may_be_longer(self):
        text = "int a;\n" * 401
        self.assertTrue(found(tidy.check_sizes, "daemon/a.cpp", text))
        self.assertFalse(found(tidy.check_sizes, "tests/unit/a_test.cpp", text))
        self.assertTrue(found(tidy.check_sizes, "tests/unit/a_test.cpp", "int a;\n" * 601))

    def test_a_long_function_is_found_wherever_it_stands(self):
        for head, tail in (("void f() {\n", "}\n"), ("struct A {\n  int f() const {\n", "  }\n};\n"),
                           ("namespace a {\nint f(int b)\n{\n", "}\n}\n"), ("TEST(A, b) {\n", "}\n")):
            self.assertFalse(found(tidy.check_sizes, "daemon/a.cpp", head + "  g();\n" * 60 + tail))
            self.assertTrue(found(tidy.check_sizes, "daemon/a.cpp", head + "  g();\n" * 71 + tail))

    def test_a_long_class_or_table_is_no_function(self):
        self.assertFalse(found(tidy.check_sizes, "daemon/a.hpp", "class A {\n" + "  int f(int);\n" * 90 + "};\n"))
        self.assertFalse(found(tidy.check_sizes, "daemon/a.cpp", "int a[] = {\n" + "  f(1),\n" * 90 + "};\n"))

    def test_braces_in_comments_and_literals_do_not_count(self):
        text = "void f() {\n  g(\"{\", '{');  // {\n  /* { */\n}\n" + "int a;\n" * 80
        self.assertFalse(found(tidy.check_sizes, "daemon/a.cpp", text))
        self.assertFalse(found(tidy.check_sizes, "daemon/a.cpp", "int a = 1'000;\nvoid f() {\n}\n" + "int b;\n" * 80))

    def test_a_long_line_is_found(self):
        self.assertTrue(found(tidy.check_sizes, "daemon/a.cpp", "// " + "a" * 98))
        self.assertFalse(found(tidy.check_sizes, "daemon/a.cpp", "// " + "a" * 97))

    def test_unfinished_work_is_found(self):
        self.assertTrue(found(tidy.check_unfinished, "tools/a.cpp", "// " + "TO" + "DO: later"))
        self.assertFalse(found(tidy.check_unfinished, "tools/a.cpp", "// done"))

    def test_a_sleeping_test_is_found(self):
        for call in ("std::this_thread::sleep_for(x);", "usleep(1);", "sleep(1);", "nanosleep(a, b);"):
            self.assertTrue(found(tidy.check_sleeping_tests, "tests/unit/a_test.cpp", call))
            self.assertFalse(found(tidy.check_sleeping_tests, "tools/a.cpp", call))
        self.assertFalse(found(tidy.check_sleeping_tests, "tests/a_test.cpp", "TEST(A, never_sleeps_for_ever) {}"))

    def test_an_atomic_operation_beside_the_door_is_found(self):
        for text in ("a.load(std::memory_order_acquire);", "std::atomic_ref<int> a(b);"):
            self.assertTrue(found(tidy.check_door, "libclient/src/a.cpp", text))
            self.assertFalse(found(tidy.check_door, "shm_layout/cell.hpp", text))
        self.assertFalse(found(tidy.check_door, "daemon/a.cpp", "std::atomic<bool> stop;"))
        self.assertFalse(found(tidy.check_door, "daemon/a.cpp", "stop.load(std::memory_order_relaxed);"))

    def test_an_ordering_without_its_edge_is_found(self):
        self.assertTrue(found(tidy.check_labels, "daemon/a.cpp", "a.store_release(1);"))
        self.assertTrue(found(tidy.check_labels, "daemon/a.cpp", "fence_full();"))

    def test_an_edge_may_stand_above_beside_or_at_the_end_of_the_statement(self):
        write = "a.store_release(1);  // [E1] release\n"
        for read in ("b = a.load_acquire();  // [E1]", "// [E1] acquire\nb = a.load_acquire();",
                     "b = a.load_acquire(\n    c);  // [E1]"):
            self.assertFalse(found(tidy.check_labels, "daemon/a.cpp", write + "\n" * 8 + read))

    def test_an_edge_with_one_side_is_found(self):
        write = "a.store_release(1);  // [E2] release"
        read = "b = a.load_acquire();  // [E2] acquire"
        self.assertTrue(found(tidy.check_labels, "daemon/a.cpp", write))
        self.assertTrue(found(tidy.check_labels, "daemon/a.cpp", read))
        self.assertFalse(found(tidy.check_labels, ["daemon/a.cpp", "libclient/src/b.cpp"], write, read))

    def test_a_relaxed_access_that_names_the_edge_is_a_side_of_it(self):
        write = "a.store_release(1);  // [E2] release"
        read = "b = a.load_relaxed();  // relaxed because a fence orders it; [E2]"
        self.assertFalse(found(tidy.check_labels, ["daemon/a.cpp", "libclient/src/b.cpp"], write, read))

    def test_a_pair_of_full_fences_is_an_edge(self):
        fence = "fence_full();  // [F2]"
        self.assertTrue(found(tidy.check_labels, "daemon/a.cpp", fence))
        self.assertFalse(found(tidy.check_labels, ["daemon/a.cpp", "libclient/src/b.cpp"], fence, fence))

    def test_a_relaxed_access_without_its_reason_is_found(self):
        for access in ("a.load_relaxed();", "a.store_relaxed(1);", "a.load(std::memory_order_relaxed);"):
            self.assertTrue(found(tidy.check_relaxed, "daemon/a.cpp", "void f() {\n  %s\n}\n" % access))
        for text in ("void f() {\n  a.load_relaxed();  // relaxed because b\n}\n",
                     "void f() {\n  // relaxed because b\n" + "  c();\n" * 30 + "  a.load_relaxed();\n}\n",
                     "void f() {\n  a.load_relaxed();  // relaxed\n                     // because b\n}\n",
                     "// Everything here is relaxed because b.\n#pragma once\nvoid f() {\n  a.load_relaxed();\n}\n"):
            self.assertFalse(found(tidy.check_relaxed, "daemon/a.hpp", text))

    def test_the_reason_of_another_function_is_none(self):
        text = "void f() {\n  // relaxed because b\n}\n" + "int c;\n" * 15 + "void g() {\n  a.load_relaxed();\n}\n"
        self.assertTrue(found(tidy.check_relaxed, "daemon/a.cpp", text))

    def test_an_include_against_the_arrows_is_found(self):
        for name, include in (("daemon/a.cpp", "<ackbus/producer.hpp>"), ("daemon/a.cpp", '"libclient/src/a.hpp"'),
                              ("libclient/src/a.cpp", '"daemon/a.hpp"'), ("shm_layout/a.hpp", '"daemon/a.hpp"'),
                              ("shm_layout/a.hpp", "<ackbus/error.hpp>"), ("tools/a.cpp", '"daemon/a.hpp"')):
            self.assertTrue(found(tidy.check_includes, name, f"#include {include}"), include)
        for name in ("daemon/a.cpp", "libclient/src/a.cpp", "shm_layout/a.hpp"):
            self.assertFalse(found(tidy.check_includes, name, '#include "shm_layout/cell.hpp"'))

    def test_a_header_without_purpose_or_guard_is_found(self):
        self.assertTrue(found(tidy.check_headers, "daemon/a.hpp", "#pragma once\n"))
        self.assertTrue(found(tidy.check_headers, "daemon/a.hpp", "// Purpose.\n"))
        self.assertFalse(found(tidy.check_headers, "daemon/a.hpp", "// Purpose.\n#pragma once\n"))

    def test_the_list_of_edges_is_compared_with_the_code(self):
        sources = [tidy.Source("daemon/a.cpp", "a.store_release(1);  // [E1]\nb = a.load_acquire();  // [E1]\n")]
        row = "| [E1] | words |\n"
        self.assertEqual(list(tidy.check_edge_list(sources, row)), [])
        self.assertEqual(len(list(tidy.check_edge_list(sources, ""))), 1)
        self.assertEqual(len(list(tidy.check_edge_list(sources, row + row))), 1)
        self.assertEqual(len(list(tidy.check_edge_list(sources, row + "| [E9] | words |\n"))), 1)

    def test_each_edge_names_its_litmus_tests(self):
        sources = [tidy.Source("tests/weak/a_litmus.cpp", 'litmus_of<A<false>>("place", "E1 E2"),\nlitmus_of<B>(\n    "ring", "E1")')]
        rows = "| [E1] | words | `place`, `ring` |\n| [E2] | words | `place` |\n"
        self.assertEqual(list(tidy.check_litmus(sources, rows)), [])
        for broken in (rows.replace("| `place` |", "| |"), rows.replace("`ring`", "`rung`"),
                       rows.replace("| `place` |", "| `ring` |"), rows.replace("[E2]", "[E3]")):
            self.assertTrue(list(tidy.check_litmus(sources, broken)), broken)

    def test_a_quoted_example_must_be_the_file(self):
        text = "<!-- BEGIN file: a.cpp -->\n```cpp\nint a;\n```\n<!-- END file: a.cpp -->\n"
        self.assertFalse(list(tidy.check_quotes(text, lambda name: "int a;\n")))
        self.assertTrue(list(tidy.check_quotes(text, lambda name: "int b;\n")))
        self.assertTrue(list(tidy.check_quotes("", lambda name: "")))

    def test_a_link_must_lead_somewhere(self):
        text = "[a](a.md) [b](b.md#part) [c](https://example.org/c) [d](#here)"
        self.assertFalse(list(tidy.check_links(text, lambda target: target in ("a.md", "b.md"))))
        self.assertEqual(len(list(tidy.check_links(text, lambda target: False))), 2)


if __name__ == "__main__":
    unittest.main()
