//! Reads TOML or JSON into one small tree that remembers lines.
//!
//! An error names its line and what was expected, never the text that stands there: it may be part
//! of a secret.

use std::ops::Range;

use simd_json::{OwnedValue, StaticNode};
use toml::de::{DeTable, DeValue};

use super::value::Scalar;

/// A value with the line it stands on, counted from 1.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) line: usize,
    pub(super) content: Content,
}

/// What a value is.
#[derive(Debug)]
pub(super) enum Content {
    Scalar(Scalar),
    Array(Vec<Node>),
    Table(Vec<(String, Node)>),
}

/// A syntax error: its line and what is wrong there.
pub(super) type SyntaxError = (usize, String);

/// Reads a TOML document; the node is a table.
pub(super) fn document(text: &str) -> Result<Node, Vec<SyntaxError>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        let content = toml_table(text, table.into_inner());
        return Ok(Node { line: 1, content });
    }
    let located = errors.iter().map(|error| {
        let line = error.span().map_or(1, |span| line_of(text, &span));
        (line, error.message().to_owned())
    });
    Err(located.collect())
}

/// Reads one value, as TOML or else as JSON.
pub(super) fn inline(text: &str) -> Result<Node, String> {
    if let Ok(value) = DeValue::parse(text) {
        return Ok(toml_node(text, value.span(), value.into_inner()));
    }
    let mut bytes = text.as_bytes().to_vec();
    match simd_json::to_owned_value(&mut bytes) {
        Ok(value) => Ok(json_node(value)),
        Err(_) => Err("is neither a TOML nor a JSON value".to_owned()),
    }
}

fn toml_table(text: &str, table: DeTable<'_>) -> Content {
    let entry = |(name, value): (toml::Spanned<std::borrow::Cow<'_, str>>, _)| {
        let value: toml::Spanned<DeValue<'_>> = value;
        // A table's span is its header or, for a dotted key, the whole value: the name's line is
        // the one to look at.
        let mut node = toml_node(text, value.span(), value.into_inner());
        node.line = line_of(text, &name.span());
        (name.into_inner().into_owned(), node)
    };
    Content::Table(table.into_iter().map(entry).collect())
}

fn toml_node(text: &str, span: Range<usize>, value: DeValue<'_>) -> Node {
    let content = match value {
        DeValue::String(string) => Content::Scalar(Scalar::Text(string.into_owned())),
        DeValue::Integer(integer) => {
            let read = i128::from_str_radix(integer.as_str(), integer.radix());
            Content::Scalar(read.map_or(Scalar::Other("a huge integer"), Scalar::Integer))
        }
        DeValue::Float(float) => {
            let read = float.as_str().parse();
            Content::Scalar(read.map_or(Scalar::Other("a float"), Scalar::Float))
        }
        DeValue::Boolean(value) => Content::Scalar(Scalar::Flag(value)),
        DeValue::Datetime(_) => Content::Scalar(Scalar::Other("a date")),
        DeValue::Array(array) => {
            let entry = |entry: toml::Spanned<DeValue<'_>>| {
                toml_node(text, entry.span(), entry.into_inner())
            };
            Content::Array(array.into_iter().map(entry).collect())
        }
        DeValue::Table(table) => toml_table(text, table),
    };
    Node { line: line_of(text, &span), content }
}

fn json_node(value: OwnedValue) -> Node {
    let content = match value {
        OwnedValue::String(text) => Content::Scalar(Scalar::Text(text)),
        OwnedValue::Static(StaticNode::I64(value)) => {
            Content::Scalar(Scalar::Integer(value.into()))
        }
        OwnedValue::Static(StaticNode::U64(value)) => {
            Content::Scalar(Scalar::Integer(value.into()))
        }
        OwnedValue::Static(StaticNode::F64(value)) => Content::Scalar(Scalar::Float(value)),
        OwnedValue::Static(StaticNode::Bool(value)) => Content::Scalar(Scalar::Flag(value)),
        OwnedValue::Static(StaticNode::Null) => Content::Scalar(Scalar::Other("null")),
        OwnedValue::Array(array) => Content::Array(array.into_iter().map(json_node).collect()),
        OwnedValue::Object(object) => {
            let entry = |(name, value)| (name, json_node(value));
            Content::Table(object.into_iter().map(entry).collect())
        }
    };
    Node { line: 1, content }
}

fn line_of(text: &str, span: &Range<usize>) -> usize {
    let before = &text.as_bytes()[..span.start.min(text.len())];
    1 + memchr::memchr_iter(b'\n', before).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(node: &Node, path: &str, found: &mut Vec<(String, usize)>) {
        match &node.content {
            Content::Scalar(_) => found.push((path.to_owned(), node.line)),
            Content::Array(entries) => {
                for entry in entries {
                    lines(entry, &format!("{path}[]"), found);
                }
            }
            Content::Table(entries) => {
                for (name, entry) in entries {
                    lines(entry, &format!("{path}.{name}"), found);
                }
            }
        }
    }

    #[test]
    fn every_value_knows_its_line() {
        let text =
            "a = 1\n\n[b]\nc.d = \"x\"\ne = [\n  1,\n  2,\n]\n[[f]]\ng = true\n[[f]]\ng = 1.5\n";
        let mut found = Vec::new();
        lines(&document(text).unwrap(), "", &mut found);
        let expected = [
            (".a", 1),
            (".b.c.d", 4),
            (".b.e[]", 6),
            (".b.e[]", 7),
            (".f[].g", 10),
            (".f[].g", 12),
        ];
        assert_eq!(found, expected.map(|(path, line)| (path.to_owned(), line)));
    }

    #[test]
    fn all_syntax_errors_are_told_without_the_text() {
        let errors = document("a = \nb = 1\nc = 'hunter2-hunter2\n").unwrap_err();
        assert_eq!(errors.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 3]);
        assert!(!format!("{errors:?}").contains("hunter2"));
    }

    #[test]
    fn inline_values_are_toml_or_json() {
        for text in ["[{ id = \"a\", open = true }]", "[{\"id\": \"a\", \"open\": true}]"] {
            let Content::Array(entries) = inline(text).unwrap().content else { panic!("{text}") };
            let Content::Table(fields) = &entries[0].content else { panic!("{text}") };
            assert_eq!(fields.len(), 2, "{text}");
        }
        assert!(!inline("[{hunter2").unwrap_err().contains("hunter2"));
    }
}
