//! A few lines of many languages, each with the constructs that its grammar treats differently:
//! comments, strings with escapes, numbers, definitions, calls.

/// `(extension, text)`.
pub(crate) const SNIPPETS: &[(&str, &str)] = &[
    (
        "rs",
        r#"//! Docs of a module with `code` and a [link](Self::link).
#![warn(missing_docs)]
use std::{collections::HashMap as Map, fmt};
/// A *document* comment.
#[derive(Clone, Debug, PartialEq)]
#[cfg(all(unix, not(test)))]
pub(crate) struct Pair<'a, T: ?Sized + 'a, const N: usize = 4>(&'a T, [u8; N]) where T: fmt::Debug;
enum Kind { Unit, Tuple(u8), Struct { at: f64 } }
pub trait Shape: Send { const SIDES: u32 = 0x10_u32; type Out; fn area(&self) -> Self::Out; }
impl<T> fmt::Display for Kind<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut a, b): (i32, _) = (1_000, 2.5e-3f64); /* block /* nested */ */
        'outer: for i in 0..=10 { if let Some(x) = it.next()? { break 'outer; } else { continue } }
        match *self { Self::Unit | Kind::Tuple(1..=9) if a > 0 => {}, ref _x @ Kind::Struct { .. } => panic!(), _ => () }
        let s = "text {a:>8.3} \n \u{1F600} \x41"; let r = r"raw"; let b = b'\n'; let bs = b"\0"; let c = '\'';
        let closure = move |x: u8| -> u8 { x as u8 ^ 0b1010_u8 & !0o17 };
        write!(f, "{}: {:?}", s, format_args!("{r}"))?; loop { *ptr.add(1) = loop { return Ok(()) } };
        a += 1; a <<= 2; while a != 3 && b >= 1. || !c { a -= 1 } async move { x.await }
    }
}
macro_rules! many { ($($name:ident => $e:expr),* $(,)?) => { $(let $name = $e;)* }; }
extern "C" { static X: u8; fn call(x: *const u8, ...) -> !; } mod inner; type A = dyn Fn(&str) -> Box<[u8]>;
"#,
    ),
    (
        "c",
        r#"/* block */ // line
#include <stdio.h>
#ifdef X
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#elif defined(Y)
#endif
typedef struct point { int x, y; unsigned long *next[3]; } point_t;
enum colour { RED = 0x1, GREEN };
static inline const char *name(const point_t *p) {
    char c = '\n'; double d = 1.5e3; printf("%d %s\n", p->x, "text\t");
    for (int i = 0; i < 10; i++) { if (i & 1) continue; else break; }
    switch (c) { case 'a': goto out; default: return NULL; }
out: return sizeof(int) ? "yes" : (char *)0;
}
"#,
    ),
    (
        "cpp",
        r#"#include <vector>
namespace a::b { template <typename T, int N = 3> class Box final : public Base<T> {
public: explicit Box(T &&t) noexcept : value_{std::move(t)} {} ~Box() override = default;
    auto get() const -> const T & { return value_; } private: T value_; };
}
int main() { auto f = [&](auto x) mutable { return x + 1'000; }; try { throw 1; } catch (...) {}
    std::string s = R"(raw)"; for (auto &v : std::vector<int>{1, 2}) delete new int; }
"#,
    ),
    (
        "py",
        r#"#!/usr/bin/env python3
"""Module docs."""
from __future__ import annotations
import os.path as p
@decorator(arg=1)
class A(Base, metaclass=M):
    async def f(self, x: int = 0, *args, **kw) -> dict[str, int]:
        """Docs."""
        y = f"{x!r:>10} {self.z}" + r'\d+' + b"x" if x is not None else 'a\n'
        with open("f") as g, h: yield from (i ** 2 for i in range(0x10) if i % 2)
        try: await x; raise ValueError(1.5e3) from e
        except (KeyError, OSError) as e: pass
        finally: del y; return lambda a: {**a, 'k': [1, 2j]}
if __name__ == "__main__": print(A().f(), end="")
"#,
    ),
    (
        "js",
        r#"// line
import { a as b } from 'm'; export default class A extends B { static #x = 1; get y() { return `t ${this.z} u`; } }
const f = async ({ a, ...rest }, [b = 2]) => { for await (const x of y) { if (x === null || typeof x !== 'string') continue; } };
/* block */ var r = /ab+c\/[d]/gi.test("s\n") ? new Map([[1, 0xff]]) : function* () { yield 1; };
try { throw new Error("x"); } catch (e) { console.log(e?.message ?? 1e3); } label: while (true) break label;
"#,
    ),
    (
        "html",
        "<!DOCTYPE html>\n<html lang=\"en\"><!-- c --><head><style>a:hover > b.c#d { color: #fff; margin: 1px 2em !important; }\n@media (min-width: 1px) { p::before { content: \"x\"; } }</style>\n<script>let x = 1; function f(a) { return a + 'b'; }</script></head>\n<body onclick=\"f()\"><p class='x'>a &amp; b</p><br/></body></html>\n",
    ),
    (
        "css",
        "@import url(\"a.css\");\n/* c */ a:hover > b.c#d::after, [x=\"y\"] { color: #fff; margin: 1px 2em !important; background: url(x.png); }\n@media screen and (min-width: 1px) { p { width: calc(100% - 2px); } }\n",
    ),
    (
        "md",
        "# Title\n\nText with *emphasis*, **strong**, `code`, [a link](http://x.y \"t\") and <b>html</b>.\n\n- item\n  1. nested\n\n> quote\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```rust\nfn main() { println!(\"x\"); }\n```\n\n```sh\necho \"$HOME\"\n```\n\n```\nplain\n```\n\n![image](a.png)\n\n---\n\n[ref]: http://x.y\n",
    ),
    (
        "sh",
        "#!/bin/sh\n# c\nset -eu\nfor f in *.c; do [ -f \"$f\" ] && echo \"${f%.c}\" 'x' | sed -e s/a/b/ >> out 2>&1; done\nif test \"$1\" = x; then exit 1; elif [[ $a =~ b ]]; then :; else return $((1 + 2)); fi\nf() { local x=$(cat <<EOF\ntext $x\nEOF\n); case $x in a|b) ;; *) break ;; esac; while read -r l; do export A=1; done; }\n",
    ),
    ("json", "{\"a\": [1, -2.5e3, true, false, null], \"b\\n\": {\"c\": \"d \\u0041\"}}\n"),
    (
        "yaml",
        "# c\n---\na: &anchor\n  - 1\n  - \"two\\n\"\n  - 'three'\nb: *anchor\nc: |\n  block\nd: {e: 1.5, f: [true, null, 2020-01-01]}\n? key\n: !!str value\n",
    ),
    (
        "go",
        "package main // c\nimport \"fmt\"\ntype T struct { A int `json:\"a\"` }\nfunc (t *T) F(x ...string) (err error) { defer func() { recover() }(); for i, v := range x { switch { case i > 0: go fmt.Println(v, 'a', 0x1, 1.5, `raw`) } }; ch := make(chan<- int, 1); select { case ch <- 1: default: }; return nil }\n",
    ),
    (
        "java",
        "package a.b; import java.util.*; /** Docs {@link X} @param x y */\n@Override public final class A<T extends B> implements C { private static final int X = 0x1; A() { super(); } int f(String... s) throws E { try { for (var x : s) { if (x instanceof String) return 1; } } catch (E e) { throw new E(\"a\\n\" + 'b' + 1.5f); } finally { } return switch (1) { default -> 2; }; } }\n",
    ),
    (
        "rb",
        "require 'x' # c\nmodule A\n  class B < C\n    attr_reader :x\n    def f(a, b = 1, *c, k: 2, &d)\n      @x ||= \"t #{a + 1}\\n\"; %w[a b].each { |e| puts e if e =~ /a+/i }\n      case a when 1..2 then yield a else raise E, 'x' end\n    rescue => e\n      nil\n    ensure\n      {a: 1, 'b' => :c}\n    end\n  end\nend\n",
    ),
    (
        "sql",
        "-- c\nSELECT a.b, count(*) AS n FROM t AS a LEFT JOIN u ON a.id = u.id WHERE x LIKE '%y' AND z IN (1, 2.5) GROUP BY 1 HAVING n > 1 ORDER BY n DESC LIMIT 10; CREATE TABLE t (id INT PRIMARY KEY, s VARCHAR(10) NOT NULL DEFAULT 'x'); INSERT INTO t VALUES (1, NULL); /* c */\n",
    ),
    (
        "lua",
        "-- c\nlocal function f(a, ...) for i, v in ipairs({1, x = 'a\\n', [2] = \"b\"}) do if not v then return nil elseif a ~= 1 then break else print(#a .. 0x1) end end end --[[ block ]]\n",
    ),
    (
        "xml",
        "<?xml version=\"1.0\"?>\n<!DOCTYPE a [<!ENTITY b \"c\">]>\n<a:b x=\"1\" y='2'><!-- c --><![CDATA[d]]>&amp;</a:b>\n",
    ),
    (
        "diff",
        "diff --git a/x b/x\nindex 1..2 100644\n--- a/x\n+++ b/x\n@@ -1,2 +1,2 @@ f\n same\n-old\n+new\n",
    ),
    ("Makefile", "A := $(shell ls)\n# c\n.PHONY: all\nall: b.o $(A)\n\t@echo $@ $< \"x\"\n"),
];
