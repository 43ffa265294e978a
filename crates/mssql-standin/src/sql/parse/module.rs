//! CREATE, ALTER and DROP of views and procedures: their text is kept, to the end of the batch.

use super::super::ast::{Module, ModuleKind, Parameter, StmtKind};
use super::super::error::{Result, SqlError};
use super::super::token::Tok;
use super::{Parser, parse};

impl Parser<'_> {
    /// What follows CREATE, CREATE OR ALTER, or ALTER; `None` where it is no module.
    pub(super) fn module(&mut self, begin: usize, make: bool, alter: bool) -> Result<Option<StmtKind>> {
        let view = self.word("VIEW");
        if !view && !self.word("PROCEDURE") && !self.word("PROC") {
            return Ok(None);
        }
        if begin != 0 {
            let what = if view { "CREATE VIEW" } else { "CREATE/ALTER PROCEDURE" };
            let message = format!("'{what}' must be the first statement in a query batch.");
            return Err(SqlError::batch(111, message).class(15).at_line(self.line()));
        }
        let name = self.name()?;
        let options;
        let kind = if view {
            let columns = if self.is_op("(") { self.ident_list()? } else { Vec::new() };
            options = self.module_options()?;
            self.expect_word("AS")?;
            let query = Box::new(self.query()?);
            let check_option = self.words(&["WITH", "CHECK", "OPTION"]);
            self.op(";");
            if self.peek() != &Tok::End {
                return Err(self.unexpected());
            }
            ModuleKind::View { columns, query, check_option }
        } else {
            let parenthesis = self.op("(");
            let mut parameters = Vec::new();
            while matches!(self.peek(), Tok::Var(_)) {
                let name = self.variable()?;
                self.word("AS");
                let of = self.parameter_type()?;
                let default = if self.op("=") { Some(self.unary()?) } else { None };
                let output = self.word("OUTPUT") || self.word("OUT");
                parameters.push(Parameter { name, of, default, output });
                if !self.op(",") {
                    break;
                }
            }
            if parenthesis {
                self.expect_op(")")?;
            }
            options = self.module_options()?;
            self.expect_word("AS")?;
            let body = self.sql.get(self.start_of(self.at)..).unwrap_or_default().to_owned();
            // Only what begins a batch is a call without EXEC.
            parse(&format!(";{body}"))?;
            self.at = self.tokens.len().saturating_sub(1);
            ModuleKind::Procedure { parameters, body }
        };
        let text = self.sql.to_owned();
        Ok(Some(StmtKind::DefineModule(Box::new(Module { name, make, alter, kind, options, text }))))
    }
}
