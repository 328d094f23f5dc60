//! Cuts Rust source into words and signs; comments and what stands in quotes fall away.

/// A word (identifier, keyword, number) or a single sign, with its line counted from 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Token<'a> {
    pub(crate) text: &'a str,
    pub(crate) line: usize,
}

/// The tokens of `source`; a literal in quotes is the token `"`.
pub(crate) fn tokens(source: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while let Some(c) = source[at..].chars().next() {
        let rest = &source[at..];
        let (length, text) = if let Some(length) = comment(rest) {
            (length, "")
        } else if let Some(length) = quoted(rest) {
            (length, "\"")
        } else if is_word(c) {
            let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            (length, &rest[..length])
        } else if c.is_whitespace() {
            (c.len_utf8(), "")
        } else {
            (c.len_utf8(), &rest[..c.len_utf8()])
        };
        if !text.is_empty() {
            tokens.push(Token { text, line });
        }
        line += source[at..at + length].matches('\n').count();
        at += length;
    }
    tokens
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of a comment that begins here.
fn comment(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if !rest.starts_with("/*") {
        return None;
    }
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
        if depth == 0 {
            break;
        }
    }
    Some(at)
}

/// The length of a string, raw string, character or byte literal that begins here.
fn quoted(rest: &str) -> Option<usize> {
    let prefix = rest.find(|c| !matches!(c, 'b' | 'c' | 'r')).filter(|length| *length <= 2)?;
    let body = &rest[prefix..];
    let hashes = body.find(|c| c != '#')?;
    if rest[..prefix].ends_with('r') && body[hashes..].starts_with('"') {
        let end = format!("\"{}", "#".repeat(hashes));
        let content = hashes + 1;
        let length = body[content..].find(&end).map_or(body.len(), |at| content + at + end.len());
        return Some(prefix + length);
    }
    let quote = body.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    if quote == '\'' && is_lifetime(body) {
        return None;
    }
    let mut escaped = false;
    let end = body[1..].find(|c| {
        let ends = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        ends
    });
    Some(prefix + end.map_or(body.len(), |end| end + 2))
}

/// `'a` without a closing quote behind its first character.
fn is_lifetime(body: &str) -> bool {
    let mut chars = body.chars().skip(1);
    chars.next().is_some_and(is_word) && chars.next() != Some('\'')
}

#[test]
fn comments_and_quotes_fall_away() {
    let source = "a // b\n/* c /* d */ e */ f \"g \\\" h\" 'i' '\\'' b'j' r#\"k \" l\"# &'m n::o\n\
                  /// p\nbr\"q\\\" broker '\"' t \"\nu\" v r#w";
    let found: Vec<_> = tokens(source).iter().map(|token| (token.text, token.line)).collect();
    let mut expected = vec![("a", 1), ("f", 2)];
    expected
        .extend(["\"", "\"", "\"", "\"", "\"", "&", "'", "m", "n", ":", ":", "o"].map(|t| (t, 2)));
    expected.extend(["\"", "broker", "\"", "t", "\""].map(|t| (t, 4)));
    expected.extend(["v", "r", "#", "w"].map(|t| (t, 5)));
    assert_eq!(found, expected);
}
