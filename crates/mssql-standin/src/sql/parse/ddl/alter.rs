//! ALTER TABLE, ALTER INDEX, ALTER DATABASE.

use super::super::super::ast::{AlterTable, StmtKind};
use super::super::super::error::{Result, unsupported};
use super::super::super::token::Tok;
use super::super::Parser;
use super::super::cursor::is_reserved;
use super::table::without_type;

impl Parser<'_> {
    pub(in crate::sql::parse) fn alter(&mut self) -> Result<StmtKind> {
        let begin = self.at;
        self.skip();
        if let Some(module) = self.module(begin, false, true)? {
            return Ok(module);
        }
        if self.word("TRIGGER") {
            return self.trigger(begin, false, true);
        }
        if self.word("DATABASE") {
            return self.alter_database();
        }
        if self.word("INDEX") {
            return self.alter_index();
        }
        if !self.word("TABLE") {
            return Err(match self.peek() {
                Tok::Word(w) => unsupported(format!("ALTER {}", w.to_ascii_uppercase())),
                _ => self.unexpected(),
            });
        }
        let table = self.name()?;
        // Of ADD, WITH CHECK goes without saying; of constraints that are switched on, WITH NOCHECK.
        let said = match self.word("WITH") {
            true if self.word("CHECK") => Some(true),
            true => {
                self.expect_word("NOCHECK")?;
                Some(false)
            }
            false => None,
        };
        if self.word("ADD") {
            self.adding = true;
            let added = self.added(said == Some(false));
            self.adding = false;
            return Ok(StmtKind::AlterTable(table, added?));
        }
        let enable = self.is_word("CHECK");
        if (enable || self.is_word("NOCHECK")) && self.is_word_at(1, "CONSTRAINT") {
            self.skip();
            self.skip();
            let mut names = Vec::new();
            if !self.word("ALL") {
                names.push(self.ident()?);
                while self.op(",") {
                    names.push(self.ident()?);
                }
            }
            let with_check = said == Some(true);
            return Ok(StmtKind::AlterTable(table, AlterTable::Switch { enable, with_check, names }));
        }
        if said.is_some() {
            return Err(self.unexpected());
        }
        if self.word("REBUILD") {
            self.maintenance_options()?;
            return Ok(StmtKind::AlterTable(table, AlterTable::Rebuild));
        }
        if self.word("SET") {
            self.lock_escalation()?;
            return Ok(StmtKind::AlterTable(table, AlterTable::LockEscalation));
        }
        if self.words(&["ALTER", "COLUMN"]) {
            return Ok(StmtKind::AlterTable(table, AlterTable::Alter(self.column_spec()?)));
        }
        if self.word("DROP") {
            let (mut columns, mut constraints, mut if_exists, mut of_columns) = (Vec::new(), Vec::new(), false, false);
            loop {
                if self.word("COLUMN") {
                    of_columns = true;
                    if_exists |= self.if_exists();
                } else if self.word("CONSTRAINT") {
                    of_columns = false;
                    if_exists |= self.if_exists();
                }
                let list = if of_columns { &mut columns } else { &mut constraints };
                list.push(self.ident()?);
                if !self.op(",") {
                    break;
                }
            }
            return Ok(StmtKind::AlterTable(table, AlterTable::Drop { columns, constraints, if_exists }));
        }
        Err(match self.peek() {
            Tok::Word(w) => unsupported(format!("ALTER TABLE ... {}", w.to_ascii_uppercase())),
            _ => self.unexpected(),
        })
    }

    /// What ALTER TABLE ADD adds.
    fn added(&mut self, nocheck: bool) -> Result<AlterTable> {
        let (mut columns, mut constraints) = (Vec::new(), Vec::new());
        loop {
            match self.constraint(None)? {
                Some(constraint) => constraints.push(constraint),
                None => {
                    if let (Tok::Word(name) | Tok::Quoted(name), Tok::End | Tok::Op(";")) =
                        (self.peek(), self.peek_at(1))
                        && !is_reserved(name)
                    {
                        return Err(without_type(name, self.line()));
                    }
                    columns.push(self.column_spec()?);
                }
            }
            if !self.op(",") {
                return Ok(AlterTable::Add { columns, constraints, nocheck });
            }
        }
    }

    /// `(LOCK_ESCALATION = TABLE)`: how tables are locked here in any case.
    fn lock_escalation(&mut self) -> Result<()> {
        self.expect_op("(")?;
        let option = self.ident()?;
        self.expect_op("=")?;
        if !option.eq_ignore_ascii_case("LOCK_ESCALATION") || !self.word("TABLE") {
            return Err(unsupported(format!("ALTER TABLE ... SET ({option} = ...), but LOCK_ESCALATION = TABLE")));
        }
        self.expect_op(")")
    }

    pub(super) fn alter_index(&mut self) -> Result<StmtKind> {
        let index = if self.word("ALL") { None } else { Some(self.ident()?) };
        self.expect_word("ON")?;
        let table = self.name()?;
        let reorganize = self.word("REORGANIZE");
        if !reorganize && !self.word("REBUILD") {
            return Err(match self.peek() {
                Tok::Word(w) => unsupported(format!("ALTER INDEX ... {}", w.to_ascii_uppercase())),
                _ => self.unexpected(),
            });
        }
        self.maintenance_options()?;
        Ok(StmtKind::AlterIndex { index, table, reorganize })
    }

    /// `PARTITION = ALL WITH (...)`: read and left aside.
    pub(super) fn maintenance_options(&mut self) -> Result<()> {
        if self.word("PARTITION") {
            self.expect_op("=")?;
            if !self.word("ALL") {
                return Err(unsupported("maintenance of one partition"));
            }
        }
        self.storage_options("ALTER INDEX")
    }

    pub(super) fn alter_database(&mut self) -> Result<StmtKind> {
        let name = if self.word("CURRENT") { None } else { Some(self.ident()?) };
        if !self.word("SET") {
            return Err(unsupported("ALTER DATABASE without SET"));
        }
        let mut options = Vec::new();
        loop {
            let Tok::Word(option) = self.next() else { return Err(self.unexpected()) };
            self.op("=");
            let value = match self.peek().clone() {
                Tok::Word(w) if !w.eq_ignore_ascii_case("WITH") => {
                    self.skip();
                    w.to_ascii_uppercase()
                }
                Tok::Number(n) => {
                    self.skip();
                    n
                }
                _ => String::new(),
            };
            options.push((option.to_ascii_uppercase(), value));
            if !self.op(",") {
                break;
            }
        }
        if self.word("WITH") {
            self.termination()?;
        }
        Ok(StmtKind::AlterDatabase { name, options })
    }
}
