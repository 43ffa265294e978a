//! Values of window functions: all rows of a query are there first, then each gets what its window gives.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::super::ast::{Frame, FrameEnd};
use super::super::error::Result;
use super::super::eval::{Ctx, Env, eval};
use super::super::plan::{Part, WindowKind, WindowPlan};
use super::super::value::{Value, group_key};
use super::group::{accumulate, fresh, total};
use super::order_of;

/// A row that waits for its window values: what it is made of, and its aggregates.
pub(super) type Waiting = (Vec<Part>, Vec<Value>);

/// Gives every row its window values, one per function, behind its aggregates: the first function's last.
pub(super) fn add_windows(
    windows: &[WindowPlan],
    rows: &mut [Waiting],
    ctx: &Ctx<'_>,
    outer: Option<&Env<'_>>,
) -> Result<()> {
    for window in windows.iter().rev() {
        let values = values_of(window, rows, ctx, outer)?;
        for ((_, aggs), value) in rows.iter_mut().zip(values) {
            aggs.push(value);
        }
    }
    Ok(())
}

fn values_of(window: &WindowPlan, rows: &[Waiting], ctx: &Ctx<'_>, outer: Option<&Env<'_>>) -> Result<Vec<Value>> {
    let mut out = vec![Value::Null; rows.len()];
    let mut partitions: Vec<Vec<usize>> = Vec::new();
    let mut index: HashMap<Vec<u8>, usize> = HashMap::new();
    let mut keys: Vec<Vec<Value>> = Vec::new();
    for (n, (parts, aggs)) in rows.iter().enumerate() {
        let env = Env { ctx, parts, aggs, outer };
        let mut partition = Vec::new();
        for e in &window.partition {
            group_key(&eval(e, &env)?, &mut partition);
        }
        keys.push(window.order.iter().map(|(e, _)| eval(e, &env)).collect::<Result<_>>()?);
        let at = *index.entry(partition).or_insert_with(|| {
            partitions.push(Vec::new());
            partitions.len() - 1
        });
        partitions[at].push(n);
    }
    let compare = |a: usize, b: usize| -> Ordering {
        let pairs = keys[a].iter().zip(&keys[b]).zip(&window.order);
        let mut orders = pairs.map(|((a, b), (_, descending))| {
            let found = order_of(a, b);
            if *descending { found.reverse() } else { found }
        });
        orders.find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
    };
    for mut partition in partitions {
        partition.sort_by(|a, b| compare(*a, *b));
        let argument = |place: usize, which: usize| -> Result<Option<Value>> {
            let Some(e) = window.args.get(which) else { return Ok(None) };
            let (parts, aggs) = &rows[partition[place]];
            eval(e, &Env { ctx, parts, aggs, outer }).map(Some)
        };
        let same = |a: usize, b: usize| compare(partition[a], partition[b]).is_eq();
        let count = partition.len();
        // Where the rows that are equal to this one in the order begin and end.
        let mut peers = vec![(0, count); count];
        let mut begin = 0;
        for (place, peers) in peers.iter_mut().enumerate() {
            if place > 0 && !same(place - 1, place) {
                begin = place;
            }
            peers.0 = begin;
        }
        let mut end = count;
        for (place, peers) in peers.iter_mut().enumerate().rev() {
            if place + 1 < count && !same(place, place + 1) {
                end = place + 1;
            }
            peers.1 = end;
        }
        let bounds = |place: usize| frame_of(window, place, count, peers[place]);
        let mut rank = 0;
        let mut running: Option<(usize, super::group::Acc)> = None;
        for place in 0..count {
            rank += i64::from(peers[place].0 == place);
            let value = match &window.kind {
                WindowKind::RowNumber => Value::Int(place as i64 + 1),
                WindowKind::Rank => Value::Int(peers[place].0 as i64 + 1),
                WindowKind::DenseRank => Value::Int(rank),
                WindowKind::Ntile => {
                    let tiles = argument(place, 0)?.and_then(|v| v.as_int()).unwrap_or(1).max(1) as usize;
                    let (size, larger) = (count / tiles, count % tiles);
                    let first = larger * (size + 1);
                    let tile = match place < first {
                        true => place / (size + 1),
                        false => larger + (place - first) / size.max(1),
                    };
                    Value::Int(tile as i64 + 1)
                }
                WindowKind::Lag | WindowKind::Lead => {
                    let by = argument(place, 1)?.map_or(Some(1), |v| v.as_int()).unwrap_or(0);
                    let by = if window.kind == WindowKind::Lag { -by } else { by };
                    let at = (place as i64).checked_add(by).and_then(|at| usize::try_from(at).ok());
                    match at.filter(|at| *at < count) {
                        Some(at) => argument(at, 0)?,
                        None => argument(place, 2)?,
                    }
                    .unwrap_or(Value::Null)
                }
                WindowKind::First | WindowKind::Last => {
                    let (from, to) = bounds(place);
                    let at = if window.kind == WindowKind::First { from } else { to.saturating_sub(1) };
                    if from < to { argument(at, 0)?.unwrap_or(Value::Null) } else { Value::Null }
                }
                WindowKind::Aggregate(agg) => {
                    let (from, to) = bounds(place);
                    // Most windows begin where they began before: then only what is new is added.
                    let (done, mut acc) = match running.take() {
                        Some((done, acc)) if from == 0 && done <= to => (done, acc),
                        _ => (from, fresh()),
                    };
                    for at in done..to {
                        let (parts, aggs) = &rows[partition[at]];
                        accumulate(agg, &mut acc, &Env { ctx, parts, aggs, outer })?;
                    }
                    let value = total(agg, acc.clone())?;
                    running = (from == 0).then_some((to, acc));
                    value
                }
            };
            out[partition[place]] = value;
        }
    }
    Ok(out)
}

/// The rows of a window, by their places in the partition.
fn frame_of(window: &WindowPlan, place: usize, count: usize, peers: (usize, usize)) -> (usize, usize) {
    let Some(Frame { rows, from, to }) = window.frame else {
        return if window.order.is_empty() { (0, count) } else { (0, peers.1) };
    };
    let begin = match from {
        FrameEnd::Unbounded => 0,
        FrameEnd::Current if rows => place,
        FrameEnd::Current => peers.0,
        FrameEnd::Preceding(n) => place.saturating_sub(n),
        FrameEnd::Following(n) => place.saturating_add(n),
    };
    let end = match to {
        FrameEnd::Unbounded => count,
        FrameEnd::Current if rows => place + 1,
        FrameEnd::Current => peers.1,
        FrameEnd::Preceding(n) => (place + 1).saturating_sub(n),
        FrameEnd::Following(n) => place.saturating_add(n).saturating_add(1),
    };
    (begin.min(count), end.min(count).max(begin.min(count)))
}
