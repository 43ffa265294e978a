//! Texts that a session has parsed last: programs send the same ones again and again, with other parameters.

use std::collections::VecDeque;
use std::sync::Arc;

use super::super::ast::Stmt;
use super::super::error::Result;
use super::super::parse::parse;

/// So many texts are kept, of at most so many bytes each.
const KEPT_MAX: usize = 16;
const BYTES_MAX: usize = 4096;

/// The texts with their statements, the one that was added last at the end.
#[derive(Debug, Default)]
pub(super) struct Parsed(VecDeque<(String, Arc<[Stmt]>)>);

impl Parsed {
    /// The statements of a text.
    pub(super) fn of(&mut self, sql: &str) -> Result<Arc<[Stmt]>> {
        if let Some((_, known)) = self.0.iter().find(|(text, _)| text == sql) {
            return Ok(Arc::clone(known));
        }
        let statements: Arc<[Stmt]> = parse(sql)?.into();
        if sql.len() <= BYTES_MAX {
            if self.0.len() == KEPT_MAX {
                self.0.pop_front();
            }
            self.0.push_back((sql.to_owned(), Arc::clone(&statements)));
        }
        Ok(statements)
    }
}
