//! Expressions as SQL Server keeps their text: `definition` of constraints and computed columns.
//!
//! Not what was written: numbers stand in parentheses, names in brackets, functions in small letters, CAST is CONVERT, IN is a
//! row of ORs from the last to the first, BETWEEN is two comparisons; the whole is in parentheses.

use logferry_model::SqlType;

use super::ast::{BinOp, CmpOp, Expr};
use super::types;

/// The text of a definition.
pub(crate) fn definition(e: &Expr) -> String {
    format!("({})", text(e, 0))
}

/// How strongly an expression holds together: a weaker one inside of a stronger one needs parentheses.
fn strength(e: &Expr) -> u8 {
    match e {
        Expr::Or(..) => 1,
        Expr::In { list, .. } if list.len() > 1 => 1,
        Expr::And(..) | Expr::Between { .. } => 2,
        Expr::Not(_) => 3,
        Expr::Compare(..) | Expr::Like { .. } | Expr::IsNull(..) | Expr::In { .. } => 4,
        Expr::Binary(BinOp::Mul | BinOp::Div | BinOp::Mod, ..) => 6,
        Expr::Binary(..) => 5,
        Expr::Neg(_) | Expr::BitNot(_) | Expr::Collate(..) => 7,
        _ => 9,
    }
}

fn quoted(name: &[String]) -> String {
    let parts: Vec<String> = name.iter().map(|p| format!("[{}]", p.replace(']', "]]"))).collect();
    parts.join(".")
}

fn list(items: &[Expr]) -> String {
    items.iter().map(|e| text(e, 0)).collect::<Vec<_>>().join(",")
}

/// A type as CONVERT names it there.
pub(super) fn type_text(ty: &SqlType) -> String {
    let plain = plain_type(ty);
    let (name, size) = plain.split_at(plain.find('(').unwrap_or(plain.len()));
    format!("[{name}]{size}")
}

/// A type as a declaration has it: `nvarchar(20)`.
pub(crate) fn plain_type(ty: &SqlType) -> String {
    let name = types::name(ty);
    let length = |n: &Option<u16>| n.map_or("(max)".to_owned(), |n| format!("({n})"));
    let size = match ty {
        SqlType::Decimal { precision, scale } => format!("({precision},{scale})"),
        SqlType::Time { scale } | SqlType::DateTime2 { scale } | SqlType::DateTimeOffset { scale } => {
            format!("({scale})")
        }
        SqlType::Char { length, .. } | SqlType::NChar { length, .. } | SqlType::Binary { length } => {
            format!("({length})")
        }
        SqlType::VarChar { length: n, .. } | SqlType::NVarChar { length: n, .. } | SqlType::VarBinary { length: n } => {
            length(n)
        }
        _ => String::new(),
    };
    format!("{name}{size}")
}

fn text(e: &Expr, around: u8) -> String {
    let own = strength(e);
    let out = match e {
        Expr::Null => "NULL".to_owned(),
        Expr::Number(n) => format!("({n})"),
        Expr::Text(t, national) => format!("{}'{}'", if *national { "N" } else { "" }, t.replace('\'', "''")),
        Expr::Hex(h) => format!("0x{}", h.iter().map(|b| format!("{b:02X}")).collect::<String>()),
        Expr::Column(name) => quoted(name),
        Expr::Var(name) => name.clone(),
        Expr::Neg(a) => format!("-{}", text(a, own)),
        Expr::BitNot(a) => format!("~{}", text(a, own)),
        Expr::Collate(a, name) => format!("{} COLLATE {name}", text(a, own)),
        Expr::Binary(op, a, b) => {
            let sign = match op {
                BinOp::Add => "+",
                BinOp::Sub => "-",
                BinOp::Mul => "*",
                BinOp::Div => "/",
                BinOp::Mod => "%",
                BinOp::BitAnd => "&",
                BinOp::BitOr => "|",
                BinOp::BitXor => "^",
            };
            format!("{}{sign}{}", text(a, own), text(b, own + 1))
        }
        Expr::Compare(op, a, b) => format!("{}{}{}", text(a, own + 1), sign(*op), text(b, own + 1)),
        Expr::And(a, b) => format!("{} AND {}", text(a, own), text(b, own)),
        Expr::Or(a, b) => format!("{} OR {}", text(a, own), text(b, own)),
        Expr::Not(a) => format!("NOT {}", text(a, own)),
        Expr::IsNull(a, not) => format!("{} IS {}NULL", text(a, own), if *not { "NOT " } else { "" }),
        Expr::Like { value, pattern, escape, not } => {
            let escape = escape.as_ref().map_or(String::new(), |e| format!(" escape {}", text(e, own)));
            let not = if *not { "NOT " } else { "" };
            format!("{not}{} like {}{escape}", text(value, own), text(pattern, own))
        }
        Expr::Between { value, low, high, not } => {
            let value = text(value, 5);
            let inner = format!("{value}>={} AND {value}<={}", text(low, 5), text(high, 5));
            if *not { format!("NOT ({inner})") } else { inner }
        }
        Expr::In { value, list, not } => {
            let value = text(value, 5);
            let all: Vec<String> = list.iter().rev().map(|e| format!("{value}={}", text(e, 5))).collect();
            let inner = all.join(" OR ");
            if *not { format!("NOT ({inner})") } else { inner }
        }
        Expr::Case { operand, whens, other } => {
            let mut out = "case ".to_owned();
            if let Some(operand) = operand {
                out += &format!("{} ", text(operand, 0));
            }
            for (test, value) in whens {
                out += &format!("when {} then {} ", text(test, 0), text(value, 0));
            }
            if let Some(other) = other {
                out += &format!("else {} ", text(other, 0));
            }
            out + "end"
        }
        Expr::Func { name, args, star, .. } => {
            let name = match &name[..] {
                [name] => name.to_lowercase(),
                name => quoted(name),
            };
            format!("{name}({})", if *star { "*".to_owned() } else { list(args) })
        }
        Expr::Method { of, name, args } => format!("{}.{name}({})", text(of, own), list(args)),
        Expr::Cast { value, to, style, tries } => {
            let name = if *tries { "TRY_CAST" } else { "CONVERT" };
            let style = style.as_ref().map_or(String::new(), |s| format!(",{}", text(s, 0)));
            match tries {
                true => format!("{name}({} AS {})", text(value, 0), type_text(to)),
                false => format!("{name}({},{}{style})", type_text(to), text(value, 0)),
            }
        }
        // Definitions have no queries in them.
        Expr::Quantified { .. } | Expr::InQuery { .. } | Expr::Exists(_) | Expr::Subquery(_) => String::new(),
    };
    if own < around { format!("({out})") } else { out }
}

fn sign(op: CmpOp) -> &'static str {
    match op {
        CmpOp::Eq => "=",
        CmpOp::Ne => "<>",
        CmpOp::Lt => "<",
        CmpOp::Le => "<=",
        CmpOp::Gt => ">",
        CmpOp::Ge => ">=",
    }
}
