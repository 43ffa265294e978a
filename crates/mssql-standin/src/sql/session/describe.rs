//! What a text would give, without running it.

use std::collections::BTreeMap;

use logferry_model::SqlType;

use super::super::ast::{ParameterType, Query, Stmt, StmtKind};
use super::super::bind::Binder;
use super::super::error::Result;
use super::super::parse::{parse, parse_parameters};
use super::super::sink::ResultColumn;
use super::super::value::Value;
use super::select::result_columns;
use super::{Flow, Out, Session};

impl Session {
    /// The columns of the first query of a text with parameters; none where there is no query. Changes nothing.
    ///
    /// # Errors
    /// Where the text does not parse, or the query names what is not there.
    pub fn describe(&mut self, sql: &str, declarations: &str) -> Result<Vec<ResultColumn>> {
        let declared = parse_parameters(declarations)?;
        let query = parse(sql)?.into_iter().find_map(|stmt| match stmt.kind {
            StmtKind::Select(query) => Some(query),
            _ => None,
        });
        let Some(query) = query else { return Ok(Vec::new()) };
        let mut variables = BTreeMap::new();
        for (name, ty) in declared {
            match ty {
                ParameterType::Scalar(ty) => drop(variables.insert(name.to_ascii_lowercase(), (ty, Value::Null))),
                // Its columns are known when it is there.
                ParameterType::Table(_) => return Ok(Vec::new()),
            }
        }
        self.columns_of(&query, &variables)
    }

    /// With FMTONLY, queries give their columns and no rows, and nothing else is done but SET.
    pub(super) fn format_only(&mut self, stmt: &Stmt, out: Out<'_>) -> Result<Flow> {
        match &stmt.kind {
            StmtKind::SetOption(words) => self.set_option(words)?,
            StmtKind::Select(query) => {
                let variables = self.variables.borrow().clone();
                let columns = self.columns_of(query, &variables)?;
                out.columns(&columns);
                out.done(self.counted(0));
            }
            // So do those of a text.
            StmtKind::ExecText(_) => return self.kind(stmt, out, false),
            _ => {}
        }
        Ok(Flow::Next)
    }

    fn columns_of(
        &mut self,
        query: &Query,
        variables: &BTreeMap<String, (SqlType, Value)>,
    ) -> Result<Vec<ResultColumn>> {
        self.waiting(|state, scalars, _| {
            let plan = Binder::new(state, scalars, variables).query(query, None)?;
            Ok(result_columns(&plan.columns))
        })
    }
}
