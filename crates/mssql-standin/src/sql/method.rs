//! Methods of values: of xml and of CLR types.

use logferry_model::SqlType;

use super::ast::Expr;
use super::bind::{Binder, Scope, cast};
use super::error::{Result, SqlError, unsupported};
use super::function;
use super::parse::parse_type;
use super::plan::Typed;
use super::types;
use super::value::Value;
use super::xml;

/// Names that are methods wherever they stand behind a name and a point, before a parenthesis.
const METHODS: &[&str] = &["value", "query", "exist", "nodes", "modify", "ToString", "STAsText", "GetLevel"];

pub(crate) fn is_method(name: &str) -> bool {
    METHODS.contains(&name)
}

/// A method of a value with these arguments.
pub(crate) fn bind(b: &mut Binder<'_>, of: &Expr, name: &str, args: &[Expr], scope: &Scope<'_>) -> Result<Typed> {
    let of = b.value(of, scope)?;
    if super::clr::is_clr(&of.ty) && args.is_empty() {
        match (name, &of.ty) {
            ("ToString", _) | ("STAsText", SqlType::Geometry | SqlType::Geography) => {
                return function::bind(b, "$CLR_TEXT", vec![of]);
            }
            ("GetLevel", SqlType::HierarchyId) => return function::bind(b, "$CLR_LEVEL", vec![of]),
            _ => return Err(unsupported(format!("the method {name}() of {}", types::name(&of.ty)))),
        }
    }
    if of.ty != SqlType::Xml {
        return Err(SqlError::batch(258, format!("Cannot call methods on {}.", types::name(&of.ty))).class(15));
    }
    let text = |at: usize| match args.get(at) {
        Some(Expr::Text(text, _)) => Ok(text.as_str()),
        _ => Err(SqlError::batch(
            8172,
            format!("The argument {} of the XML data type method \"{name}\" must be a string literal.", at + 1),
        )),
    };
    let wanted = if name == "value" { 2 } else { 1 };
    if matches!(name, "value" | "query" | "exist") && args.len() != wanted {
        return Err(super::bind_wrong_count(name, wanted));
    }
    let called = |function: &str, of: Typed, path: &str| {
        let path = Typed::constant(types::nvarchar_max(), Value::text(path));
        function::bind(b, function, vec![of, path])
    };
    match name {
        "value" => {
            let path = text(0)?;
            if !xml::parse_path(path)?.is_single() {
                return Err(SqlError::batch(
                    2389,
                    "XQuery [value()]: 'value()' requires a singleton (or empty sequence), found operand of type 'xdt:untypedAtomic *'",
                ));
            }
            let to = parse_type(text(1)?)?;
            let found = called("$XML_VALUE", of, path)?;
            Ok(cast(found, &to))
        }
        "query" => called("$XML_QUERY", of, text(0)?),
        "exist" => called("$XML_EXIST", of, text(0)?),
        other => Err(unsupported(format!("the method {other}() of xml"))),
    }
}

/// `value()`, `query()`, `exist()`: what a path finds.
pub(crate) fn of_xml(document: &Value, path: &Value, function: function::Func) -> Result<Value> {
    let (Some(document), Some(path)) = (document.as_text(), path.as_text()) else { return Ok(Value::Null) };
    let (nodes, path) = (xml::parse(&document, true)?, xml::parse_path(&path)?);
    let found = path.find(&nodes);
    Ok(match function {
        function::Func::XmlExist => Value::bit(!found.is_empty()),
        function::Func::XmlQuery => {
            let nodes: Vec<xml::Node> = found
                .iter()
                .filter_map(|f| if let xml::Found::Node(node) = f { Some((*node).clone()) } else { None })
                .collect();
            Value::text(&xml::text_of(&nodes))
        }
        _ => found.first().map_or(Value::Null, |f| Value::text(&f.text())),
    })
}
