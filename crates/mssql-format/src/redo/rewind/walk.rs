//! The walk over a page's records with identities in place of rows.

use super::Step;
use crate::bytes::{Malformed, Result};
use crate::log::op::{Context, Op};
use crate::page::{Page, PageBytes};
use crate::redo::{inserted_rows, row_at, slots_are_fixed};

/// A slot before the walk.
#[derive(Debug)]
pub(super) enum Before<'a> {
    /// It was free.
    Free,
    /// It held a ghost that was never seen.
    Ghost,
    /// It held a row: its bytes where they are known first, and the steps between the begin and there that changed it.
    Row {
        /// the bytes, if they are known anywhere
        known: Option<&'a [u8]>,
        /// indexes of steps, in order
        changes: Vec<usize>,
    },
}

/// What a slot holds during the walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Identity {
    /// The row that was in this slot at the begin.
    Initial(u16),
    /// A row that came later.
    New,
    /// No row.
    Free,
}

#[derive(Debug, Default)]
struct Initial<'a> {
    known: Option<&'a [u8]>,
    changes: Vec<usize>,
    free: bool,
    ghost: bool,
    /// The first that is known of it is that a compensation made it a ghost: it was never committed.
    undone: bool,
}

/// The page during the walk. The slots at its end that no record spoke of yet are not materialised: how many there
/// are is known at the end only.
#[derive(Debug, Default)]
pub(super) struct Walk<'a> {
    slots: Vec<Identity>,
    initial: Vec<Initial<'a>>,
    fixed_slots: Option<bool>,
}

impl<'a> Walk<'a> {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// The identity in a slot; brings initial rows up to it into view.
    fn at(&mut self, slot: u16) -> Result<Identity> {
        while self.slots.len() <= usize::from(slot) {
            let Ok(next) = u16::try_from(self.initial.len()) else {
                return Err(Malformed::new("the page would have too many rows", 0));
            };
            self.initial.push(Initial::default());
            self.slots.push(Identity::Initial(next));
        }
        Ok(self.slots.get(usize::from(slot)).copied().unwrap_or(Identity::Free))
    }

    fn initial(&mut self, identity: Identity) -> Option<&mut Initial<'a>> {
        match identity {
            Identity::Initial(i) => self.initial.get_mut(usize::from(i)),
            Identity::New | Identity::Free => None,
        }
    }

    /// The bytes of a row at this point are known; earlier knowledge is worth more.
    fn know(&mut self, identity: Identity, row: &'a [u8]) {
        if let Some(initial) = self.initial(identity) {
            initial.known.get_or_insert(row);
        }
    }

    fn changed(&mut self, identity: Identity, step: usize) {
        if let Some(initial) = self.initial(identity)
            && initial.known.is_none()
        {
            initial.changes.push(step);
        }
    }

    /// The row goes as a ghost without bytes.
    fn ghost_goes(&mut self, identity: Identity) {
        if let Some(initial) = self.initial(identity)
            && initial.known.is_none()
            && initial.changes.is_empty()
        {
            initial.ghost = true;
        }
    }

    fn fix_slots(&mut self, context: Context) -> Result<bool> {
        let fixed = slots_are_fixed(context);
        if *self.fixed_slots.get_or_insert(fixed) != fixed {
            return Err(Malformed::new("the page is a heap's and a b-tree's", 0));
        }
        Ok(fixed)
    }

    pub(super) fn step(&mut self, index: usize, step: &Step<'a>) -> Result<()> {
        let record = &step.record;
        let slot = super::page_op(record)?.row.slot;
        match record.op {
            Op::INSERT_ROWS => {
                let replaces = record.row_op()?.is_some_and(|op| op.replaces_ghost());
                let fixed = self.fix_slots(record.context)?;
                for i in 0..inserted_rows(record).count() {
                    let slot = u16::try_from(i).ok().and_then(|i| slot.checked_add(i));
                    let slot = slot.ok_or_else(|| Malformed::new("too many rows", 0))?;
                    self.insert(slot, fixed, replaces)?;
                }
            }
            Op::DELETE_ROWS => {
                let identity = self.at(slot)?;
                let image = record.element(0);
                if !image.is_empty() {
                    self.know(identity, image);
                }
                if record.context == Context::MARK_AS_GHOST {
                    if record.is_compensation()
                        && let Some(initial) = self.initial(identity)
                    {
                        initial.undone |= initial.known.is_none() && initial.changes.is_empty();
                    }
                    self.changed(identity, index);
                } else if self.fix_slots(record.context)? {
                    self.set(slot, Identity::Free);
                } else {
                    self.slots.remove(usize::from(slot));
                }
            }
            Op::EXPUNGE_ROWS => {
                let identity = self.at(slot)?;
                self.ghost_goes(identity);
                if self.fix_slots(record.context)? {
                    self.set(slot, Identity::Free);
                } else {
                    self.slots.remove(usize::from(slot));
                }
            }
            Op::DELETE_SPLIT => self.split(slot, step)?,
            Op::MODIFY_ROW | Op::MODIFY_COLUMNS | Op::ROOT_CHANGE => {
                let identity = self.at(slot)?;
                self.changed(identity, index);
            }
            Op::MODIFY_HEADER | Op::INSYSXACT | Op::COUNT_DELTA | Op::REMOVE_VERSION_INFO => {}
            _ => return Err(Malformed::new("the operation cannot be undone", 0)),
        }
        Ok(())
    }

    fn set(&mut self, slot: u16, identity: Identity) {
        if let Some(at) = self.slots.get_mut(usize::from(slot)) {
            *at = identity;
        }
    }

    fn insert(&mut self, slot: u16, fixed: bool, replaces_ghost: bool) -> Result<()> {
        if fixed {
            let identity = self.at(slot)?;
            match self.initial(identity) {
                Some(initial) => initial.free = true,
                None if identity == Identity::Free => {}
                None => return Err(Malformed::new(format!("slot {slot} is not free"), 0)),
            }
            self.set(slot, Identity::New);
        } else if replaces_ghost {
            let identity = self.at(slot)?;
            self.ghost_goes(identity);
            self.set(slot, Identity::New);
        } else {
            if let Some(last) = slot.checked_sub(1) {
                self.at(last)?;
            }
            self.slots.insert(usize::from(slot), Identity::New);
        }
        Ok(())
    }

    fn split(&mut self, slot: u16, step: &Step<'a>) -> Result<()> {
        let gone = step.record.u16_at(54, "rows deleted")?;
        if let Some(last) = gone.checked_sub(1).and_then(|n| slot.checked_add(n)) {
            self.at(last)?;
        }
        let end = usize::from(slot) + usize::from(gone);
        if self.slots.len() != end {
            let why = format!("{gone} rows go from slot {slot} on, the page has {} slots", self.slots.len());
            return Err(Malformed::new(why, 0));
        }
        let moved: Vec<&'a [u8]> = step.moved.iter().flat_map(inserted_rows).collect();
        for (k, identity) in self.slots.split_off(usize::from(slot)).into_iter().enumerate() {
            if moved.len() == usize::from(gone)
                && let Some(row) = moved.get(k)
            {
                self.know(identity, row);
            }
        }
        Ok(())
    }

    /// The slots before the walk. `base` is the page behind it.
    pub(super) fn finish(mut self, base: Option<&'a PageBytes>) -> Result<Vec<Before<'a>>> {
        let fixed = self.fixed_slots == Some(true);
        let mut now = 0;
        if let Some(base) = base {
            let page = Page::read(base)?;
            now = page.slot_count();
            if let Some(last) = now.checked_sub(1) {
                self.at(last)?;
            }
            for slot in 0..now {
                let identity = self.at(slot)?;
                match row_at(base, slot)? {
                    Some(row) => self.know(identity, row),
                    None => match self.initial(identity) {
                        Some(initial) => initial.free = true,
                        None if identity == Identity::Free => {}
                        None => return Err(Malformed::new(format!("slot {slot} should hold a row"), 0)),
                    },
                }
            }
        }
        // Behind the last slot nothing is left: of fixed slots free ones are not kept there, of others there must be none.
        for identity in self.slots.split_off(usize::from(now).min(self.slots.len())) {
            match self.initial(identity) {
                Some(initial) if base.is_none() || fixed => {
                    initial.free |= fixed && initial.known.is_none() && initial.changes.is_empty();
                }
                None if identity == Identity::Free || base.is_none() => {}
                _ => return Err(Malformed::new(format!("there should be more than {now} rows on the page"), 0)),
            }
        }
        Ok(self.initial.into_iter().map(Initial::before).collect())
    }
}

impl<'a> Initial<'a> {
    fn before(self) -> Before<'a> {
        if self.free {
            Before::Free
        } else if self.ghost || self.undone && self.known.is_none() {
            Before::Ghost
        } else {
            Before::Row { known: self.known, changes: self.changes }
        }
    }
}
