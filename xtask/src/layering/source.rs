//! One Rust source file with what is not code blanked out, so that a rule can look for words.
//!
//! This is a lexer for comments, strings and character literals, no parser: it keeps every line
//! and column where it was, so that a finding names its line. It refuses to understand macros.

/// A source file in the two readings that the rules need.
pub struct Source {
    /// Path from the root of the repository, with forward slashes.
    pub path: String,
    /// The text with comments blanked, strings kept.
    pub without_comments: String,
    /// The text with comments and the inside of strings blanked.
    pub code: String,
    /// For each line (from 0), whether it stands inside an item behind `#[cfg(test)]`.
    pub is_test_line: Vec<bool>,
}

impl Source {
    /// Reads `text` as the file at `path`.
    pub fn new(path: &str, text: &str) -> Self {
        let (without_comments, code) = blank(text);
        let is_test_line = test_lines(&code);
        Self {
            path: path.to_owned(),
            without_comments,
            code,
            is_test_line,
        }
    }

    /// Lines of the file.
    pub fn line_count(&self) -> usize {
        self.is_test_line.len()
    }
}

/// Gives the text without comments, and the text without comments and string contents.
fn blank(text: &str) -> (String, String) {
    let chars: Vec<char> = text.chars().collect();
    let mut kept: Vec<char> = chars.clone();
    let mut code: Vec<char> = chars.clone();
    let wipe = |out: &mut Vec<char>, from: usize, to: usize| {
        for c in &mut out[from..to] {
            if *c != '\n' {
                *c = ' ';
            }
        }
    };
    let mut at = 0;
    while at < chars.len() {
        let next = chars.get(at + 1).copied();
        let end = match chars[at] {
            '/' if next == Some('/') => {
                let end = find(&chars, at, '\n');
                wipe(&mut kept, at, end);
                wipe(&mut code, at, end);
                end
            }
            '/' if next == Some('*') => {
                let end = block_comment_end(&chars, at);
                wipe(&mut kept, at, end);
                wipe(&mut code, at, end);
                end
            }
            '"' => {
                let end = string_end(&chars, at);
                wipe(&mut code, at + 1, end.saturating_sub(1).max(at + 1));
                end
            }
            'r' if !continues_a_word(&chars, at) || is_byte_prefix(&chars, at) => {
                match raw_string_end(&chars, at) {
                    Some(end) => {
                        wipe(&mut code, at + 1, end);
                        end
                    }
                    None => at + 1,
                }
            }
            '\'' => match char_literal_end(&chars, at) {
                Some(end) => {
                    wipe(&mut code, at + 1, end - 1);
                    end
                }
                None => at + 1,
            },
            _ => at + 1,
        };
        at = end;
    }
    (kept.into_iter().collect(), code.into_iter().collect())
}

fn find(chars: &[char], from: usize, wanted: char) -> usize {
    chars[from..]
        .iter()
        .position(|c| *c == wanted)
        .map_or(chars.len(), |n| from + n)
}

fn block_comment_end(chars: &[char], from: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = from;
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => {
                depth += 1;
                at += 2;
            }
            ('*', '/') => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    chars.len()
}

fn string_end(chars: &[char], quote: usize) -> usize {
    let mut at = quote + 1;
    while at < chars.len() {
        match chars[at] {
            '\\' => at += 2,
            '"' => return at + 1,
            _ => at += 1,
        }
    }
    chars.len()
}

fn continues_a_word(chars: &[char], at: usize) -> bool {
    at > 0 && is_word(chars[at - 1])
}

/// The `r` of `br"…"` follows a `b` that itself starts the word.
fn is_byte_prefix(chars: &[char], at: usize) -> bool {
    at > 0 && chars[at - 1] == 'b' && !continues_a_word(chars, at - 1)
}

fn raw_string_end(chars: &[char], r: usize) -> Option<usize> {
    let hashes = chars[r + 1..].iter().take_while(|c| **c == '#').count();
    if chars.get(r + 1 + hashes) != Some(&'"') {
        return None;
    }
    let mut at = r + 2 + hashes;
    while at < chars.len() {
        let closes = chars[at] == '"'
            && chars[at + 1..]
                .iter()
                .take(hashes)
                .filter(|c| **c == '#')
                .count()
                == hashes;
        if closes {
            return Some(at + 1 + hashes);
        }
        at += 1;
    }
    Some(chars.len())
}

/// Tells a character literal from a lifetime: a literal closes after one character or an escape.
fn char_literal_end(chars: &[char], quote: usize) -> Option<usize> {
    if chars.get(quote + 1) == Some(&'\\') {
        let close = find(chars, quote + 3, '\'');
        return (close < chars.len()).then_some(close + 1);
    }
    (chars.get(quote + 2) == Some(&'\'')).then_some(quote + 3)
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Marks the lines of every item that stands behind `#[cfg(test)]`.
fn test_lines(code: &str) -> Vec<bool> {
    let mut marks = vec![false; code.lines().count()];
    let mut from = 0;
    while let Some(found) = code[from..].find("#[cfg(test)]") {
        let start = from + found;
        let end = item_end(code, start + "#[cfg(test)]".len());
        let first = code[..start].matches('\n').count();
        let last = code[..end].matches('\n').count();
        for mark in marks.iter_mut().take(last + 1).skip(first) {
            *mark = true;
        }
        from = end;
    }
    marks
}

/// The end of the item that starts at `from`: its closing brace, or a `;` before any brace.
fn item_end(code: &str, from: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, c) in code[from..].char_indices() {
        match c {
            ';' if depth == 0 => return from + offset + 1,
            '{' => depth += 1,
            '}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return from + offset + 1;
                }
            }
            _ => {}
        }
    }
    code.len()
}

/// The lines (from 1) of `text` on which `word` stands as a whole word.
pub fn lines_with_word<'t>(text: &'t str, word: &'t str) -> impl Iterator<Item = usize> + 't {
    text.lines()
        .enumerate()
        .filter(move |(_, line)| has_word(line, word))
        .map(|(n, _)| n + 1)
}

fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, code: &str) {
        assert_eq!(Source::new("x.rs", text).code, code);
    }

    #[test]
    fn comments_and_strings_are_no_code() {
        check("a // unsafe\nb", "a          \nb");
        check("a /* x /* y */ z */ b", "a                   b");
        check(r#"f("un\"safe") b"#, "f(\"        \") b");
        check("r#\"un\"safe\"# b", "r            b");
        check("br\"unsafe\" b", "br         b");
        check("'a' '\\'' &'static b", "' ' '  ' &'static b");
    }

    #[test]
    fn strings_stay_where_only_comments_go() {
        let source = Source::new("x.rs", "x(\"FunctionArn\"); // FunctionArn");
        assert_eq!(
            lines_with_word(&source.without_comments, "FunctionArn").count(),
            1
        );
        assert_eq!(source.without_comments.matches("FunctionArn").count(), 1);
    }

    #[test]
    fn test_items_are_marked_to_their_last_brace() {
        let source = Source::new("x.rs", "a\n#[cfg(test)]\nmod t {\n fn f() {}\n}\nb\n");
        assert_eq!(source.is_test_line, [false, true, true, true, true, false]);
    }

    #[test]
    fn a_word_is_whole() {
        assert_eq!(
            lines_with_word("unsafe_code\nunsafe {", "unsafe").collect::<Vec<_>>(),
            [2]
        );
    }
}
