//! MERGE, as the changes that it stands for: what is to be inserted is worked out first, then rows are deleted and updated, then
//! inserted, so that each is decided by the rows as they were.
//!
//! Where `UPDATE` changes the columns that a later clause asks for, that clause would see them: a server does not. OUTPUT cannot name
//! columns of the source at rows that are inserted.

use std::cell::RefCell;

use logferry_model::SqlType;

use super::super::ast::{
    Body, CmpOp, Delete, Expr, Insert, InsertSource, Item, JoinKind, Locks, Merge, MergeAction, MergeClause, MergeWhen,
    Output, Query, Select, TableRef, Update,
};
use super::super::bind::Binder;
use super::super::error::{Result, SqlError};
use super::super::eval::Ctx;
use super::super::run;
use super::super::state::{Scalars, State};
use super::super::value::Value;
use super::{Outcome, Variables, delete, insert, update};

pub(crate) fn merge(state: &mut State, scalars: &mut Scalars, variables: &Variables, stmt: &Merge) -> Result<Outcome> {
    let alias = stmt.alias.clone().or_else(|| stmt.target.last().cloned()).unwrap_or_default();
    let target = TableRef::Named {
        name: stmt.target.clone(),
        alias: Some(alias.clone()),
        locks: Locks { none: false, ..stmt.locks },
    };
    let locks = stmt.locks;
    let joined = TableRef::Join {
        left: Box::new(target.clone()),
        right: Box::new(stmt.source.clone()),
        kind: JoinKind::Inner,
        on: Some(stmt.on.clone()),
    };
    let absent = |of: &TableRef| {
        let one = vec![Item::Expr(Expr::Number("1".into()), None)];
        Expr::Not(Box::new(Expr::Exists(Box::new(query(one, of.clone(), Some(stmt.on.clone()))))))
    };
    let mut rows = Vec::new();
    for clause in stmt.clauses.iter().filter(|c| c.when == MergeWhen::NotInTarget) {
        let MergeAction::Insert(columns, values) = &clause.action else { continue };
        let filter = both(Some(absent(&target)), effective(stmt, clause));
        let kept = values.iter().flatten().map(|e| Item::Expr(e.clone(), None)).collect();
        let mut given = query(kept, stmt.source.clone(), filter);
        given.with.clone_from(&stmt.with);
        let columns = match columns.is_empty() {
            true => Vec::new(),
            false => columns.iter().zip(values).filter(|(_, v)| v.is_some()).map(|(c, _)| c.clone()).collect(),
        };
        let (types, found) = worked_out(state, scalars, variables, &given)?;
        rows.push((columns, types, found));
    }
    let mut all = Outcome::default();
    for wanted in [true, false] {
        for clause in &stmt.clauses {
            let deletes = matches!(clause.action, MergeAction::Delete);
            if deletes != wanted || clause.when == MergeWhen::NotInTarget {
                continue;
            }
            let (from, filter) = match clause.when {
                MergeWhen::Matched => (joined.clone(), effective(stmt, clause)),
                _ => (target.clone(), both(Some(absent(&stmt.source)), effective(stmt, clause))),
            };
            let pairs = match clause.when {
                MergeWhen::Matched => {
                    let one = vec![Item::Expr(Expr::Number("1".into()), None)];
                    let mut pairs = query(one, from.clone(), filter.clone());
                    pairs.with.clone_from(&stmt.with);
                    worked_out(state, scalars, variables, &pairs)?.1.len() as u64
                }
                _ => 0,
            };
            let (with, name, from) = (stmt.with.clone(), vec![alias.clone()], vec![from]);
            let done = match &clause.action {
                MergeAction::Update(sets) => {
                    let (sets, output) = (sets.clone(), output_of(stmt, "UPDATE"));
                    update(
                        state,
                        scalars,
                        variables,
                        &Update { with, top: None, target: name, locks, sets, output, from, filter },
                    )
                }
                _ => {
                    let output = output_of(stmt, "DELETE");
                    delete(
                        state,
                        scalars,
                        variables,
                        &Delete { with, top: None, target: name, locks, output, from, filter },
                    )
                }
            }?;
            if pairs > done.count {
                return Err(SqlError::new(
                    8672,
                    "The MERGE statement attempted to UPDATE or DELETE the same row more than once. This happens when a target row matches more than one source row. A MERGE statement cannot UPDATE/DELETE the same row of the target table multiple times. Refine the ON clause to ensure a target row matches at most one source row, or use the GROUP BY clause to group the source rows.",
                ));
            }
            add(&mut all, done);
        }
    }
    for (columns, types, found) in rows {
        let source = InsertSource::Rows(types, found);
        let output = output_of(stmt, "INSERT");
        let done =
            insert(state, scalars, variables, &Insert { table: stmt.target.clone(), locks, columns, output, source })?;
        add(&mut all, done);
    }
    Ok(all)
}

fn query(items: Vec<Item>, from: TableRef, filter: Option<Expr>) -> Query {
    let select = Select {
        distinct: false,
        top: None,
        items,
        into: None,
        from: vec![from],
        filter,
        group: Vec::new(),
        having: None,
    };
    Query { with: Vec::new(), body: Body::Select(Box::new(select)), order: Vec::new(), offset: None, fetch: None }
}

fn both(a: Option<Expr>, b: Option<Expr>) -> Option<Expr> {
    match (a, b) {
        (Some(a), Some(b)) => Some(Expr::And(Box::new(a), Box::new(b))),
        (a, b) => a.or(b),
    }
}

/// What a clause asks for, and that no clause of its kind before it took the row.
fn effective(stmt: &Merge, clause: &MergeClause) -> Option<Expr> {
    let number = |n: &str| Box::new(Expr::Number(n.into()));
    let mut out = clause.test.clone();
    for earlier in stmt.clauses.iter().take_while(|c| !std::ptr::eq(*c, clause)).filter(|c| c.when == clause.when) {
        let taken = match &earlier.test {
            Some(test) => Expr::Case {
                operand: None,
                whens: vec![(test.clone(), Expr::Number("1".into()))],
                other: Some(number("0")),
            },
            None => Expr::Number("1".into()),
        };
        out = both(out, Some(Expr::Compare(CmpOp::Eq, Box::new(taken), number("0"))));
    }
    out
}

fn worked_out(
    state: &mut State,
    scalars: &Scalars,
    variables: &Variables,
    query: &Query,
) -> Result<(Vec<SqlType>, Vec<Vec<Value>>)> {
    let held = variables.borrow().clone();
    let (plan, read) = {
        let mut binder = Binder::new(state, scalars, &held);
        (binder.query(query, None)?, binder.held)
    };
    state.lock_tables(scalars, &read)?;
    let ctx = Ctx { state, scalars, variables, cache: RefCell::default() };
    let mut rows = Vec::new();
    run::run(&plan, &ctx, None, &mut |row| {
        rows.push(row);
        Ok(true)
    })?;
    Ok((plan.columns.into_iter().map(|c| c.ty).collect(), rows))
}

/// The items of OUTPUT, with the word for what is done.
fn output_of(stmt: &Merge, action: &str) -> Output {
    let mut output = stmt.output.clone();
    for item in &mut output.items {
        if let Item::Expr(e, alias) = item
            && matches!(e, Expr::Column(name) if matches!(&name[..], [n] if n.eq_ignore_ascii_case("$action")))
        {
            *e = Expr::Text(action.to_owned(), true);
            alias.get_or_insert_with(|| "$action".to_owned());
        }
    }
    output
}

fn add(all: &mut Outcome, done: Outcome) {
    all.count += done.count;
    all.images.extend(done.images);
    match (&mut all.output, done.output) {
        (Some((_, rows)), Some((_, more))) => rows.extend(more),
        (none, more) => *none = more,
    }
}
