//! What a login does not see: nobody has users and rights here, but clients must be able to meet what comes of missing ones.

use super::bind::TableAt;
use super::error::{Result, SqlError};
use super::state::{Scalars, State};

/// What sessions of a program do not see.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hidden {
    pub program: String,
    pub tables: Vec<TableAt>,
    pub rights: Rights,
}

/// What a login may do all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rights {
    /// It has no right on the tables, and sees only what it has a right on.
    #[default]
    Lost,
    /// It may see all definitions of the database, and has no right on the tables any more.
    SelectDenied,
    /// It may read the tables, and must not see their definitions.
    ViewDenied,
}

impl State {
    /// Whether a session sees the definition of an object.
    pub fn is_seen(&self, scalars: &Scalars, at: TableAt) -> bool {
        !self.is_hidden_from(scalars) || !self.hidden.tables.contains(&at)
    }

    /// Error 229 where a session may not read a table.
    pub fn may_read(&self, scalars: &Scalars, at: TableAt) -> Result<()> {
        if self.is_seen(scalars, at) || self.hidden.rights == Rights::ViewDenied {
            return Ok(());
        }
        let db = self.db(at.database);
        let (schema, table) = db.table_name(at.table);
        let what = format!(
            "The SELECT permission was denied on the object '{table}', database '{}', schema '{schema}'.",
            db.name
        );
        Err(SqlError::batch(229, what).class(14).state(5))
    }

    /// Whether a session sees all that is defined in its database.
    pub fn sees_all(&self, scalars: &Scalars) -> bool {
        !self.is_hidden_from(scalars) || self.hidden.rights != Rights::Lost
    }

    /// What a session may do all the same, where it is one that does not see everything.
    pub fn rights_lost(&self, scalars: &Scalars) -> Option<Rights> {
        self.is_hidden_from(scalars).then_some(self.hidden.rights)
    }

    fn is_hidden_from(&self, scalars: &Scalars) -> bool {
        !self.hidden.program.is_empty() && scalars.program.split(' ').next() == Some(self.hidden.program.as_str())
    }
}
