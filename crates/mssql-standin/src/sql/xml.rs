//! Values of the type xml: text to a tree and back, to the binary form of storage, and the paths of `value()`, `query()`
//! and `exist()`.
//!
//! A value is kept as its text, in the form in which the server gives it: without declaration, white space between elements and
//! CDATA sections, with `<a/>` for what is empty.
//!
//! Left out: typed XML, DTDs, `nodes()`, `modify()`, and all of XQuery but paths with numbers in brackets.

mod parse;
mod path;

use logferry_mssql_format::binxml;
use logferry_mssql_format::encode::XmlWriter;

use super::error::Result;
pub(crate) use path::{Found, parse as parse_path};

/// A part of a document.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    Element { name: String, attributes: Vec<(String, String)>, children: Vec<Node> },
    Text(String),
    Comment(String),
    Instruction(String, String),
}

/// Reads a document or a fragment. White space between elements goes, as CONVERT without a style takes it away, unless it
/// is to be kept.
///
/// # Errors
/// 9400 and the like, with the place.
pub(crate) fn parse(text: &str, keep_space: bool) -> Result<Vec<Node>> {
    parse::document(text, keep_space)
}

/// The text of nodes, as the server writes it.
pub(crate) fn text_of(nodes: &[Node]) -> String {
    let mut out = String::new();
    nodes.iter().for_each(|node| write(node, &mut out));
    out
}

/// The form that rows have.
pub(crate) fn to_binary(text: &str) -> Vec<u8> {
    let mut writer = XmlWriter::new();
    // What is a value was read before.
    for node in parse(text, true).unwrap_or_default() {
        encode(&node, &mut writer);
    }
    writer.finish()
}

/// The text of the form that rows have; bytes that are none are taken as UTF-16, which is what clients send.
pub(crate) fn from_binary(bytes: &[u8]) -> Vec<u16> {
    let mut text = Vec::new();
    if binxml::is_binary(bytes) && binxml::text(bytes, &mut text).is_ok() {
        return String::from_utf8_lossy(&text).encode_utf16().collect();
    }
    bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect()
}

/// Text between tags, as the server escapes it.
pub(crate) fn escaped(text: &str, attribute: bool, out: &mut String) {
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' if attribute => out.push_str("&quot;"),
            '\r' => out.push_str("&#x0D;"),
            c => out.push(c),
        }
    }
}

fn write(node: &Node, out: &mut String) {
    match node {
        Node::Element { name, attributes, children } => {
            out.push('<');
            out.push_str(name);
            for (name, value) in attributes {
                out.push(' ');
                out.push_str(name);
                out.push_str("=\"");
                escaped(value, true, out);
                out.push('"');
            }
            if children.is_empty() {
                return out.push_str("/>");
            }
            out.push('>');
            children.iter().for_each(|child| write(child, out));
            out.push_str("</");
            out.push_str(name);
            out.push('>');
        }
        Node::Text(text) => escaped(text, false, out),
        Node::Comment(text) => {
            out.push_str("<!--");
            out.push_str(text);
            out.push_str("-->");
        }
        Node::Instruction(name, text) => {
            out.push_str("<?");
            out.push_str(name);
            if !text.is_empty() {
                out.push(' ');
                out.push_str(text);
            }
            out.push_str("?>");
        }
    }
}

fn encode(node: &Node, writer: &mut XmlWriter) {
    match node {
        Node::Element { name, attributes, children } => {
            let attributes: Vec<(&str, &str)> = attributes.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            writer.start(name, &attributes);
            children.iter().for_each(|child| encode(child, writer));
            writer.end();
        }
        Node::Text(text) => writer.text(text),
        Node::Comment(text) => writer.comment(text),
        Node::Instruction(name, text) => writer.instruction(name, text),
    }
}
