//! Paths: `(/a/b[1]/@c)[1]`, `//x`, `text()`.

use super::super::error::{Result, SqlError, unsupported};
use super::Node;

/// A path.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    steps: Vec<Step>,
    /// Which of all that it finds.
    of_all: Option<usize>,
}

#[derive(Clone, Debug)]
struct Step {
    /// `//`
    deep: bool,
    what: What,
    number: Option<usize>,
}

#[derive(Clone, Debug)]
enum What {
    Child(String),
    Any,
    Attribute(String),
    Text,
    /// `node()`
    Node,
    Own,
}

/// What a path finds.
pub(crate) enum Found<'a> {
    Node(&'a Node),
    Attribute(&'a str),
}

impl Found<'_> {
    /// The text in it.
    pub fn text(&self) -> String {
        fn of(node: &Node, out: &mut String) {
            match node {
                Node::Element { children, .. } => children.iter().for_each(|c| of(c, out)),
                Node::Text(text) => out.push_str(text),
                Node::Comment(_) | Node::Instruction(..) => {}
            }
        }
        match self {
            Found::Attribute(value) => (*value).to_owned(),
            Found::Node(Node::Comment(text) | Node::Instruction(_, text)) => text.clone(),
            Found::Node(node) => {
                let mut out = String::new();
                of(node, &mut out);
                out
            }
        }
    }
}

/// Reads a path.
///
/// # Errors
/// 2225 where it is no path, 40517 where it is more of XQuery.
pub(crate) fn parse(text: &str) -> Result<Path> {
    let whole = text.trim();
    let wrong = || unsupported(format!("the XQuery '{whole}': only paths with numbers in brackets are"));
    let mut inner = whole;
    let mut of_all = None;
    if let Some(rest) = inner.strip_prefix('(') {
        let (body, behind) = rest.rsplit_once(')').ok_or_else(|| {
            SqlError::new(2225, format!("XQuery: A string literal was expected, found the end of '{whole}'"))
        })?;
        // `(/a/text())[1]`: the last parenthesis is the one that matches.
        inner = body.trim();
        let behind = behind.trim();
        if !behind.is_empty() {
            of_all = Some(bracket(behind).ok_or_else(wrong)?);
        }
    }
    let mut steps = Vec::new();
    let mut rest = inner;
    while !rest.is_empty() {
        let deep = rest.starts_with("//");
        let without = rest.strip_prefix("//").or_else(|| rest.strip_prefix('/'));
        rest = match without {
            Some(rest) => rest,
            None if steps.is_empty() => rest,
            None => return Err(wrong()),
        };
        let end = rest.find('/').unwrap_or(rest.len());
        let (step, after) = rest.split_at(end);
        rest = after;
        let step = step.trim();
        let (name, number) = match step.find('[') {
            Some(at) => {
                let (name, number) = step.split_at(at);
                (name.trim(), Some(bracket(number).ok_or_else(wrong)?))
            }
            None => (step, None),
        };
        let what = match name {
            "*" => What::Any,
            "." => What::Own,
            "text()" => What::Text,
            "node()" => What::Node,
            _ => match name.strip_prefix('@') {
                Some(name) if is_name(name) => What::Attribute(name.to_owned()),
                None if is_name(name) => What::Child(name.to_owned()),
                _ => return Err(wrong()),
            },
        };
        steps.push(Step { deep, what, number });
    }
    if steps.is_empty() && whole != "/" && whole != "." {
        return Err(wrong());
    }
    Ok(Path { steps, of_all })
}

fn bracket(text: &str) -> Option<usize> {
    text.strip_prefix('[')?.strip_suffix(']')?.trim().parse().ok().filter(|n| *n > 0)
}

fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ':'))
}

impl Path {
    /// Whether it cannot find more than one thing, which `value()` asks for.
    pub fn is_single(&self) -> bool {
        let one = |s: &Step| s.number.is_some() && !s.deep || matches!(s.what, What::Own | What::Attribute(_));
        self.of_all.is_some() || self.steps.iter().all(one)
    }

    /// All that it finds in a document, in its order.
    pub fn find<'a>(&self, document: &'a [Node]) -> Vec<Found<'a>> {
        // The document itself stands for the first step's parent.
        let mut parents: Vec<&'a [Node]> = vec![document];
        let mut elements: Vec<&'a Node> = Vec::new();
        let mut out: Vec<Found<'a>> = Vec::new();
        for (at, step) in self.steps.iter().enumerate() {
            let last = at + 1 == self.steps.len();
            let mut next: Vec<Found<'a>> = Vec::new();
            if let What::Attribute(name) = &step.what {
                let mut of: Vec<&'a Node> = elements.clone();
                if step.deep {
                    parents.iter().for_each(|list| descend(list, &mut |node| of.push(node)));
                }
                for node in of {
                    if let Node::Element { attributes, .. } = node {
                        let found = attributes.iter().filter(|(n, _)| n == name);
                        next.extend(found.map(|(_, value)| Found::Attribute(value)));
                    }
                }
            } else if matches!(step.what, What::Own) {
                match at == 0 {
                    true => next.extend(document.iter().map(Found::Node)),
                    false => next.extend(elements.iter().map(|e| Found::Node(e))),
                }
            } else {
                let fits = |node: &Node| match (&step.what, node) {
                    (What::Child(name), Node::Element { name: of, .. }) => name == of,
                    (What::Any, Node::Element { .. }) | (What::Text, Node::Text(_)) | (What::Node, _) => true,
                    _ => false,
                };
                for list in &parents {
                    let mut each = |list: &'a [Node]| {
                        let found = list.iter().filter(|n| fits(n)).map(Found::Node);
                        match step.number {
                            Some(number) => next.extend(found.skip(number - 1).take(1)),
                            None => next.extend(found),
                        }
                    };
                    each(list);
                    if step.deep {
                        descend(list, &mut |node| {
                            if let Node::Element { children, .. } = node {
                                each(children);
                            }
                        });
                    }
                }
            }
            if last {
                out = next;
                break;
            }
            elements = next.iter().filter_map(|f| if let Found::Node(node) = f { Some(*node) } else { None }).collect();
            parents = elements
                .iter()
                .filter_map(|e| if let Node::Element { children, .. } = e { Some(&children[..]) } else { None })
                .collect();
        }
        if self.steps.is_empty() {
            out = document.iter().map(Found::Node).collect();
        }
        match self.of_all {
            Some(number) => out.into_iter().skip(number - 1).take(1).collect(),
            None => out,
        }
    }
}

/// All nodes below, in the document's order.
fn descend<'a>(list: &'a [Node], each: &mut impl FnMut(&'a Node)) {
    for node in list {
        each(node);
        if let Node::Element { children, .. } = node {
            descend(children, each);
        }
    }
}
