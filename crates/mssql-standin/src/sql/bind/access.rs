//! Which rows of a table a condition makes the engine look at: one by its key, a range of keys, those that an index finds, or
//! all.
//!
//! What is found here only narrows: the condition is still asked of every row. Text is compared without case by rules that
//! differ from the order of keys, so it never makes a range and no order.

use logferry_model::SqlType;

use super::super::ast::{CmpOp, JoinKind};
use super::super::plan::{Access, Bound, From, Node, OrderKey, Typed};
use super::super::types;
use super::Binder;

impl Binder<'_> {
    /// Decides how the tables of a FROM are read, from what WHERE says of them.
    pub fn find_access(&self, from: &mut From, filter: &Typed) {
        match from {
            From::Table { source, database, table, types, access } => {
                let db = self.state.db(*database);
                let Some(def) = db.storage.table_def(*table) else { return };
                let of = |column: usize| Key { source: *source, column, ty: types.get(column) };
                let key: Vec<Key<'_>> = def.primary_key.iter().map(|c| of(*c)).collect();
                let equal: Vec<Typed> = key.iter().map_while(|k| k.equal(filter)).cloned().collect();
                let unique = db.storage.is_key_unique(*table);
                if unique && !key.is_empty() && equal.len() == key.len() {
                    *access = Access::Key(equal);
                    return;
                }
                let mut keys = Vec::new();
                if unique && !key.is_empty() && any_key(filter, &key, &mut keys) {
                    *access = Access::Keys(keys);
                    return;
                }
                let indexed = db.meta(*table).keys.iter().filter(|k| !k.clustered).map(|k| {
                    let of_index = k.columns.iter().map(|(c, _)| (*c, of(*c)));
                    of_index.map_while(|(c, key)| Some((c, key.equal(filter)?.clone()))).collect::<Vec<_>>()
                });
                if let Some(found) = indexed.max_by_key(Vec::len).filter(|f| f.len() > equal.len()) {
                    let (columns, values) = found.into_iter().unzip();
                    *access = Access::Lookup { columns, values };
                    return;
                }
                let low = bound(filter, &key, CmpOp::Gt);
                let high = bound(filter, &key, CmpOp::Lt);
                if low.is_some() || high.is_some() {
                    *access = Access::Range { low, high };
                }
            }
            From::Join { left, right, kind, .. } => {
                if matches!(kind, JoinKind::Inner | JoinKind::Left | JoinKind::CrossApply | JoinKind::OuterApply) {
                    self.find_access(left, filter);
                }
                if *kind == JoinKind::Inner {
                    self.find_access(right, filter);
                }
            }
            _ => {}
        }
    }

    /// Whether the rows of a table come in an order by themselves.
    pub fn is_in_order(&self, from: &From, order: &[(OrderKey, bool)], items: &[Typed]) -> bool {
        let From::Table { source, database, table, types, access } = from else { return false };
        if matches!(access, Access::Lookup { .. }) {
            return false;
        }
        let Some(def) = self.state.db(*database).storage.table_def(*table) else { return false };
        let named = order.iter().map(|(key, descending)| match key {
            OrderKey::Output(at) => items.get(*at).filter(|_| !descending),
            OrderKey::Row(e) => Some(e).filter(|_| !descending),
        });
        let mut named = named.peekable();
        for column in &def.primary_key {
            let is_it = |e: Option<&Typed>| {
                e.is_some_and(|e| e.node == Node::Column { depth: 0, source: *source, column: *column })
            };
            match named.next() {
                None => return true,
                Some(e) if is_it(e) && types.get(*column).is_some_and(|ty| !types::is_text(ty)) => {}
                Some(_) => return false,
            }
        }
        // Behind the whole key there is nothing left to order, unless rows can have the same.
        !def.primary_key.is_empty()
            && (named.peek().is_none() || self.state.db(*database).storage.is_key_unique(*table))
    }
}

/// A column that rows are found by.
#[derive(Clone, Copy)]
struct Key<'a> {
    source: usize,
    column: usize,
    ty: Option<&'a SqlType>,
}

impl Key<'_> {
    /// Whether an expression is the column, be it as another type that keeps its values apart.
    fn is(&self, e: &Typed) -> bool {
        match &e.node {
            Node::Cast { value, style: None, tries: false } => keeps_apart(&value.ty, &e.ty) && self.is(value),
            node => *node == Node::Column { depth: 0, source: self.source, column: self.column },
        }
    }

    /// What the column is compared to, and how, where a condition is such a comparison.
    fn compared<'e>(&self, e: &'e Typed) -> Option<(CmpOp, &'e Typed)> {
        let Node::Compare(op, a, b) = &e.node else { return None };
        self.ty?;
        if self.is(a) && b.is_fixed() {
            return Some((*op, b));
        }
        (self.is(b) && a.is_fixed()).then(|| (mirrored(*op), &**a))
    }

    /// What the column is equal to in a condition that must hold.
    fn equal<'e>(&self, filter: &'e Typed) -> Option<&'e Typed> {
        match &filter.node {
            Node::And(a, b) => self.equal(a).or_else(|| self.equal(b)),
            _ => self.compared(filter).filter(|(op, _)| *op == CmpOp::Eq).map(|(_, e)| e),
        }
    }

    /// Below which value no row is (with `Gt`), or above which (with `Lt`); whether the value itself is out.
    fn limit<'e>(&self, filter: &'e Typed, wanted: CmpOp) -> Option<(&'e Typed, bool)> {
        match &filter.node {
            Node::And(a, b) => self.limit(a, wanted).or_else(|| self.limit(b, wanted)),
            _ => match (self.compared(filter)?, wanted) {
                ((CmpOp::Gt, e), CmpOp::Gt) | ((CmpOp::Lt, e), CmpOp::Lt) => Some((e, true)),
                ((CmpOp::Ge, e), CmpOp::Gt) | ((CmpOp::Le, e), CmpOp::Lt) => Some((e, false)),
                _ => None,
            },
        }
    }
}

/// Finds whole keys of which a row must have one: `k IN (..)`, or keys of several columns written out with OR.
fn any_key(filter: &Typed, key: &[Key<'_>], found: &mut Vec<Vec<Typed>>) -> bool {
    let before = found.len();
    let is_one = match (&filter.node, key) {
        (Node::And(a, b), _) => {
            let equal: Vec<Typed> = key.iter().map_while(|k| k.equal(filter)).cloned().collect();
            if equal.len() == key.len() {
                found.push(equal);
                return true;
            }
            any_key(a, key, found) || any_key(b, key, found)
        }
        (Node::Or(a, b), _) => any_key(a, key, found) && any_key(b, key, found),
        (Node::In(value, list), [one]) if one.ty.is_some() && one.is(value) && list.iter().all(Typed::is_fixed) => {
            found.extend(list.iter().map(|e| vec![e.clone()]));
            true
        }
        (Node::Compare(..), [one]) => match one.equal(filter) {
            Some(e) => {
                found.push(vec![e.clone()]);
                true
            }
            None => false,
        },
        _ => false,
    };
    if !is_one {
        found.truncate(before);
    }
    is_one
}

/// Where rows begin or end by a key, as far as a condition tells. Comparisons of rows written out, `a > 1 OR a = 1 AND b > 2`,
/// are one bound.
fn bound(filter: &Typed, key: &[Key<'_>], wanted: CmpOp) -> Option<Bound> {
    let (first, rest) = key.split_first()?;
    if first.ty.is_none_or(types::is_text) {
        return None;
    }
    if let Some(e) = first.equal(filter) {
        let more = bound(filter, rest, wanted);
        let (values, strict) = more.map_or((Vec::new(), false), |b| (b.values, b.strict));
        return Some(Bound { values: std::iter::once(e.clone()).chain(values).collect(), strict });
    }
    either(filter, key, wanted).or_else(|| {
        let (e, strict) = first.limit(filter, wanted)?;
        Some(Bound { values: vec![e.clone()], strict })
    })
}

/// The bound of an OR that must hold: the weaker one of both sides.
fn either(filter: &Typed, key: &[Key<'_>], wanted: CmpOp) -> Option<Bound> {
    match &filter.node {
        Node::And(a, b) => either(a, key, wanted).or_else(|| either(b, key, wanted)),
        Node::Or(a, b) => {
            let (a, b) = (bound(a, key, wanted)?, bound(b, key, wanted)?);
            let (short, long) = if a.values.len() <= b.values.len() { (a, b) } else { (b, a) };
            if !long.values.starts_with(&short.values) {
                return None;
            }
            // Beyond all rows that begin so is stronger than any bound among them.
            let same = short.values.len() == long.values.len();
            Some(match (short.strict, same) {
                (true, false) => long,
                (true, true) => Bound { strict: long.strict, ..short },
                (false, _) => short,
            })
        }
        _ => None,
    }
}

fn mirrored(op: CmpOp) -> CmpOp {
    match op {
        CmpOp::Lt => CmpOp::Gt,
        CmpOp::Le => CmpOp::Ge,
        CmpOp::Gt => CmpOp::Lt,
        CmpOp::Ge => CmpOp::Le,
        op => op,
    }
}

/// Whether two values of a type stay two, and in their order, as values of another type.
fn keeps_apart(from: &SqlType, to: &SqlType) -> bool {
    let exact = |ty: &SqlType| {
        types::is_integer(ty) || matches!(ty, SqlType::Decimal { .. } | SqlType::Money | SqlType::SmallMoney)
    };
    let moment = |ty: &SqlType| types::is_time(ty) && !matches!(ty, SqlType::DateTimeOffset { .. });
    exact(from) && exact(to) || types::is_text(from) && types::is_text(to) || moment(from) && moment(to)
}
