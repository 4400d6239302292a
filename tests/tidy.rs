//! The house rules, read off the sources: which layer may use which, a `//!` line on every file, files of a size to read,
//! and no panics on what a user can cause. ARCHITECTURE.md draws the layers; a change to them changes both.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines a file may have.
const LONGEST: usize = 700;

/// The layers, and what each may use beside itself.
const LAYERS: &[(&str, &[&str])] = &[
    ("dtype", &[]),
    ("debug", &[]),
    ("hash", &[]),
    ("error", &["dtype"]),
    ("ops", &["dtype", "error"]),
    ("layout", &["dtype", "error", "debug", "hash"]),
    ("buffer", &["dtype", "error", "debug", "hash"]),
    ("kernel", &["ops", "layout", "buffer", "dtype", "error", "debug", "hash"]),
    ("graph", &["ops", "layout", "buffer", "dtype", "error", "debug", "hash"]),
    ("schedule", &["graph", "kernel", "ops", "layout", "buffer", "dtype", "error", "debug", "hash"]),
    ("backend", &["kernel", "buffer", "dtype", "error", "debug", "hash"]),
    ("backend::cpu", &["backend", "kernel", "ops", "layout", "buffer", "dtype", "error", "debug", "hash"]),
    ("backend::cuda", &["backend", "kernel", "ops", "layout", "buffer", "dtype", "error", "debug", "hash"]),
    (
        "device",
        &[
            "backend",
            "backend::cpu",
            "backend::cuda",
            "schedule",
            "kernel",
            "ops",
            "layout",
            "buffer",
            "dtype",
            "error",
            "debug",
            "hash",
        ],
    ),
    (
        "eval",
        &[
            "device", "backend", "schedule", "graph", "kernel", "ops", "layout", "buffer", "dtype", "error", "debug",
            "hash",
        ],
    ),
    ("array", &["eval", "device", "backend", "graph", "ops", "layout", "buffer", "dtype", "error", "debug", "hash"]),
    ("api", &["array", "eval", "device", "graph", "ops", "layout", "buffer", "dtype", "error", "debug", "hash"]),
    ("cuda", &["array", "device", "backend::cuda", "graph", "layout", "buffer", "dtype", "error", "debug", "hash"]),
    ("linalg", &["api", "array", "device", "graph", "ops", "layout", "dtype", "error", "debug", "hash"]),
    ("random", &["api", "array", "device", "graph", "ops", "layout", "dtype", "error", "debug", "hash"]),
    ("io", &["api", "array", "device", "graph", "ops", "layout", "dtype", "error", "debug", "hash"]),
    // Public items alone: these modules are public or hold items that `lib.rs` exports (`eval` is the function of that name, too).
    ("distance", &["array", "eval", "device", "dtype", "error"]),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(dir: &Path, out: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if path.file_name().is_some_and(|n| n != "target") {
                rust_files(&path, out);
            }
        } else if path.extension().is_some_and(|e| e == "rs") {
            out.push(path);
        }
    }
}

struct Source {
    /// Its path from the root.
    name: String,
    text: String,
}

fn sources(dirs: &[&str]) -> Vec<Source> {
    let mut paths = vec![];
    dirs.iter().for_each(|d| rust_files(&root().join(d), &mut paths));
    paths.sort();
    assert!(!paths.is_empty());
    let read = |p: &PathBuf| Source {
        name: p.strip_prefix(root()).unwrap().display().to_string(),
        text: fs::read_to_string(p).unwrap(),
    };
    paths.iter().map(read).collect()
}

/// Whether the file is compiled for tests alone.
fn is_test(name: &str) -> bool {
    name.split(['/', '.']).any(|part| part == "tests" || part == "testing" || part.ends_with("_tests"))
}

/// Each line of code with its number: comments, strings' insides and `#[cfg(test)]` items left out.
fn code(text: &str) -> Vec<(usize, String)> {
    let mut out = vec![];
    // Depth of braces at which a test item ends, once one began.
    let (mut depth, mut skip, mut pending) = (0i32, None, false);
    for (n, line) in text.lines().enumerate() {
        let bare = strip(line);
        if bare.trim_start().starts_with("#[cfg(test)]") {
            pending = true;
        }
        let before = depth;
        depth += bare.matches('{').count() as i32 - bare.matches('}').count() as i32;
        if pending && !bare.trim_start().starts_with("#[") {
            pending = false;
            if depth > before {
                skip = Some(before);
            }
            continue;
        }
        match skip {
            Some(d) if depth <= d => skip = None,
            Some(_) => {}
            None if pending => {}
            None => out.push((n + 1, bare)),
        }
    }
    out
}

/// A line without its comment and without what its strings say.
fn strip(line: &str) -> String {
    let mut out = String::new();
    let mut chars = line.chars().peekable();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' if quoted => {
                chars.next();
            }
            '"' => {
                quoted = !quoted;
                out.push(c);
            }
            // The character literals that would confuse: '"' and '\"', braces.
            '\'' if !quoted && chars.clone().nth(1) == Some('\'') => {
                chars.next();
                chars.next();
            }
            '/' if !quoted && chars.peek() == Some(&'/') => break,
            c if !quoted => out.push(c),
            _ => {}
        }
    }
    out
}

/// The layer a module path or a file's place belongs to: the longest name in the table.
fn layer<'a>(path: &str) -> Option<&'a str> {
    let fits = |name: &str| path == name || path.strip_prefix(name).is_some_and(|rest| rest.starts_with("::"));
    LAYERS.iter().map(|l| l.0).filter(|name| fits(name)).max_by_key(|name| name.len())
}

/// The module paths after `crate::` in a file: `use crate::{a::b, c}` gives `a::b` and `c`.
fn crate_paths(code: &[(usize, String)]) -> Vec<(usize, String)> {
    let joined: String = code.iter().map(|(_, l)| format!("{l}\n")).collect();
    let line_at = |at: usize| code[joined[..at].matches('\n').count()].0;
    let mut out = vec![];
    for (at, _) in joined.match_indices("crate::") {
        let sharp = joined[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_');
        if !sharp {
            expand(&joined[at + 7..], "", &mut |p| out.push((line_at(at), p)));
        }
    }
    out
}

/// Reads one path or braced list of paths; returns how far.
fn expand(text: &str, prefix: &str, found: &mut impl FnMut(String)) -> usize {
    if let Some(inner) = text.strip_prefix('{') {
        let mut at = 0;
        loop {
            at += inner[at..].len() - inner[at..].trim_start().len();
            match inner[at..].chars().next() {
                None | Some('}') => return at + 2,
                Some(',') => at += 1,
                Some(_) => {
                    let n = expand(&inner[at..], prefix, found);
                    // `as name`, or anything not understood: on to the next.
                    at += n.max(1);
                    at += inner[at..].find([',', '}', '{']).unwrap_or(inner[at..].len());
                }
            }
        }
    }
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    let here = if prefix.is_empty() { text[..end].to_string() } else { format!("{prefix}::{}", &text[..end]) };
    if let Some(rest) = text[end..].strip_prefix("::")
        && rest.starts_with(|c: char| c.is_alphabetic() || c == '_' || c == '{')
    {
        return end + 2 + expand(rest, &here, found);
    }
    found(here);
    end
}

/// What `lib.rs` exports at the root, and the layer each item is from.
fn exports() -> Vec<(String, String)> {
    let text = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let joined: String = code(&text).iter().map(|(_, l)| format!("{l}\n")).collect();
    let mut out = vec![];
    for (at, _) in joined.match_indices("pub use ") {
        expand(&joined[at + 8..], "", &mut |p| {
            if let (Some(l), Some(item)) = (layer(&p), p.rsplit("::").next()) {
                out.push((item.to_string(), l.to_string()));
            }
        });
    }
    out
}

#[test]
fn layers_point_one_way() {
    let exported = exports();
    let mut wrong = BTreeSet::new();
    for s in sources(&["src"]) {
        if is_test(&s.name) || s.name == "src/lib.rs" {
            continue;
        }
        let place =
            s.name.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
        let Some(own) = layer(&place) else {
            wrong.insert(format!("{}: no layer in tests/tidy.rs has this module", s.name));
            continue;
        };
        let allowed = LAYERS.iter().find(|l| l.0 == own).map_or(&[][..], |l| l.1);
        for (line, path) in crate_paths(&code(&s.text)) {
            let first = path.split("::").next().unwrap_or("");
            // An item of the root stands for its module; a macro of the root for none.
            let to = layer(&path).or_else(|| exported.iter().find(|e| e.0 == first).map(|e| e.1.as_str()));
            match to {
                None if first == "ndarray" || first == "prelude" => {}
                None => {
                    wrong.insert(format!("{}:{line}: crate::{path} is of no layer", s.name));
                }
                Some(to) if to == own || allowed.contains(&to) => {}
                Some(to) => {
                    wrong.insert(format!("{}:{line}: {own} uses {to} (crate::{path})", s.name));
                }
            }
        }
        // `super::` may not leave the layer either: `super::super` of a layer's own files is how it would.
        if own.starts_with("backend::") {
            for (line, text) in code(&s.text) {
                let other = if own == "backend::cpu" { "cuda" } else { "cpu" };
                if text.contains(&format!("super::{other}::")) {
                    wrong.insert(format!("{}:{line}: {own} uses backend::{other}", s.name));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.into_iter().collect::<Vec<_>>().join("\n"));
}

#[test]
fn distance_is_written_with_public_items() {
    for s in sources(&["src"]).iter().filter(|s| s.name.starts_with("src/distance")) {
        for (line, text) in code(&s.text) {
            for hidden in ["wrap(", ".value", ".device.", "map1", "map2", "build::", "row::"] {
                assert!(!text.contains(hidden), "{}:{line}: {hidden} is not public", s.name);
            }
        }
    }
}

#[test]
fn every_file_begins_with_what_it_is() {
    let mut wrong = vec![];
    for s in sources(&["src", "tests", "benches", "examples", "crates", "build.rs"]) {
        let first = s.text.lines().next().unwrap_or("");
        if !first.starts_with("//! ") {
            wrong.push(format!("{}: begins with {first:?}", s.name));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn files_can_be_read_at_a_sitting() {
    let mut wrong = vec![];
    for s in sources(&["src", "tests", "benches", "examples", "crates"]) {
        let n = s.text.lines().count();
        if n > LONGEST {
            wrong.push(format!("{}: {n} lines", s.name));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_library_unwraps_nothing() {
    let mut wrong = vec![];
    for s in sources(&["src"]).iter().filter(|s| !is_test(&s.name)) {
        for (line, text) in code(&s.text) {
            for call in [".unwrap()", ".expect(", "todo!(", "unimplemented!(", "dbg!("] {
                if text.contains(call) {
                    wrong.push(format!("{}:{line}: {}", s.name, text.trim()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn no_path_of_a_machine_is_named() {
    let mut wrong = vec![];
    // Spelt so that this file does not name them.
    let names = [["/wo", "rk/"], ["/ho", "me/"], ["/ro", "ot/"], ["/us", "ers/"]].map(|p| p.concat());
    for s in sources(&["src", "tests", "benches", "examples", "crates"]) {
        for (n, line) in s.text.lines().enumerate() {
            if names.iter().any(|p| line.to_lowercase().contains(p.as_str())) {
                wrong.push(format!("{}:{}: {}", s.name, n + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_reader_of_sources_reads() {
    let text = "use crate::{a::{b, c as d}, e};\nlet x = crate::f::g(1); // crate::h\n#[cfg(test)]\nmod tests {\n  use crate::i;\n}\nlet s = \"crate::j {\";\ncrate::k!();\n";
    let mut paths: Vec<String> = crate_paths(&code(text)).into_iter().map(|p| p.1).collect();
    paths.sort();
    assert_eq!(paths, ["a::b", "a::c", "e", "f::g", "k"]);
    assert_eq!(layer("backend::cpu::tile"), Some("backend::cpu"));
    assert_eq!(layer("backends"), None);
}

/// What a page shows as the code of a file stands in that file: `ignore` marks what is no program of its own.
#[test]
fn pages_quote_what_the_sources_say() {
    let plain = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join("\n");
    let mut quotes = 0;
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        for (at, _) in text.match_indices("```rust,ignore\n") {
            let (before, code) = (&text[..at], text[at..].split_once('\n').unwrap().1);
            let code = plain(code.split("\n```").next().unwrap());
            // The file is the one that was named last.
            let file = before.rsplit('`').find(|word| word.starts_with("src/") && word.ends_with(".rs")).unwrap();
            let source = plain(&fs::read_to_string(root().join(file)).unwrap());
            // A row stands alone in a page and among others in its file.
            let row = code.split_once('{').unwrap().1.rsplit_once('}').unwrap().0.trim();
            assert!(source.contains(row), "{} quotes of {file} what is not there:\n{row}", path.display());
            quotes += 1;
        }
    }
    assert!(quotes > 0);
}
