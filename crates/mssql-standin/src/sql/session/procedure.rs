//! System procedures, and statements with parameters.

use std::collections::BTreeMap;

use logferry_model::SqlType;

use super::super::ast::{ModuleKind, Parameter, ParameterType};
use super::super::convert::convert;
use super::super::define;
use super::super::error::{Result, SqlError};
use super::super::function::split_name;
use super::super::parse::{parse, parse_parameters};
use super::super::state::Isolation;
use super::super::value::Value;
use super::{Out, Session};

impl Session {
    /// Settings as they were at first, for the next user of a pooled connection; rolls back unless `keep_transaction`.
    pub fn reset(&mut self, keep_transaction: bool) {
        if !keep_transaction {
            self.roll_back_all();
        }
        // Nobody else can hold a lock on them.
        let dropped = define::drop_temporary(&mut self.shared.lock(), self.scalars.spid);
        debug_assert!(dropped.is_ok());
        self.scalars.options.clear();
        self.scalars.isolation = Isolation::ReadCommitted;
        self.scalars.lock_timeout_ms = None;
        self.scalars.identity_insert = None;
        self.scalars.implicit = false;
        self.prepared.clear();
    }

    /// System procedures. Gives the status and the output parameters, in their order.
    #[allow(clippy::type_complexity)]
    pub(super) fn procedure(
        &mut self,
        name: &str,
        args: Vec<(Option<String>, SqlType, Value, bool)>,
        out: Out<'_>,
    ) -> Result<(i32, Vec<(String, SqlType, Value)>)> {
        let lower = name.to_lowercase();
        let short = lower.rsplit('.').next().unwrap_or_default().to_owned();
        let text = |at: usize| args.get(at).and_then(|(_, _, v, _)| v.as_text()).unwrap_or_default();
        match short.as_str() {
            "sp_executesql" => {
                let (sql, declared) = (text(0), parse_parameters(&text(1))?);
                self.run_prepared(&sql, &declared, args.get(2..).unwrap_or_default(), out)
            }
            "sp_prepare" | "sp_prepexec" => {
                let handle = self.next_handle;
                self.next_handle += 1;
                let declared = parse_parameters(&text(1))?;
                parse(&text(2))?;
                self.prepared.insert(handle, (declared.clone(), text(2)));
                let mut outputs = vec![("@handle".to_owned(), SqlType::Int, Value::Int(i64::from(handle)))];
                let mut status = 0;
                if short == "sp_prepexec" {
                    let (s, more) = self.run_prepared(&text(2), &declared, args.get(3..).unwrap_or_default(), out)?;
                    status = s;
                    outputs.extend(more);
                }
                Ok((status, outputs))
            }
            "sp_execute" => {
                let handle = args.first().and_then(|(_, _, v, _)| v.as_int()).unwrap_or(0) as i32;
                let Some((declared, sql)) = self.prepared.get(&handle).cloned() else {
                    return Err(SqlError::batch(
                        8179,
                        format!("Could not find prepared statement with handle {handle}."),
                    ));
                };
                self.run_prepared(&sql, &declared, args.get(1..).unwrap_or_default(), out)
            }
            "sp_unprepare" => {
                let handle = args.first().and_then(|(_, _, v, _)| v.as_int()).unwrap_or(0) as i32;
                match self.prepared.remove(&handle) {
                    Some(_) => Ok((0, Vec::new())),
                    None => {
                        Err(SqlError::batch(8179, format!("Could not find prepared statement with handle {handle}.")))
                    }
                }
            }
            "sp_reset_connection" => {
                self.reset(false);
                Ok((0, Vec::new()))
            }
            other => match self.catalog_procedure(other, &args, out)? {
                Some(status) => Ok((status, Vec::new())),
                None => self.other_procedure(name, other, &args, out),
            },
        }
    }

    #[allow(clippy::type_complexity)]
    fn other_procedure(
        &mut self,
        name: &str,
        short: &str,
        args: &[(Option<String>, SqlType, Value, bool)],
        out: Out<'_>,
    ) -> Result<(i32, Vec<(String, SqlType, Value)>)> {
        if let Some(status) = self.cdc_procedure(short, args, out)? {
            return Ok((status, Vec::new()));
        }
        let found = {
            let state = self.shared.lock();
            let module = state.find_module(&self.scalars, &split_name(name))?;
            module.and_then(|(at, id)| state.db(at).modules.get(&id).map(|m| m.kind.clone()))
        };
        match found {
            Some(ModuleKind::Procedure { parameters, body }) => {
                self.user_procedure(name, &parameters, &body, args, out)
            }
            Some(ModuleKind::Shown { code: "P ", why }) => {
                Err(super::super::error::unsupported(format!("procedure {name}, of an attached file: {why}")))
            }
            _ => Err(SqlError::batch(2812, format!("Could not find stored procedure '{name}'.")).state(62)),
        }
    }

    /// A procedure of the user: its parameters are the variables of its text.
    #[allow(clippy::type_complexity)]
    fn user_procedure(
        &mut self,
        name: &str,
        parameters: &[Parameter],
        body: &str,
        args: &[(Option<String>, SqlType, Value, bool)],
        out: Out<'_>,
    ) -> Result<(i32, Vec<(String, SqlType, Value)>)> {
        let mut given = args.to_vec();
        for (at, Parameter { name: parameter, of, default, .. }) in parameters.iter().enumerate() {
            if matches!(of, ParameterType::Table(_)) {
                continue;
            }
            let is = |n: &Option<String>| n.as_ref().is_some_and(|n| n.eq_ignore_ascii_case(parameter));
            if args.iter().any(|a| is(&a.0)) || args.get(at).is_some_and(|a| a.0.is_none()) {
                continue;
            }
            let Some(default) = default else {
                return Err(SqlError::batch(
                    201,
                    format!("Procedure or function '{name}' expects parameter '{parameter}', which was not supplied."),
                )
                .state(4));
            };
            let (ty, value) = self.evaluate(default)?;
            given.push((Some(parameter.clone()), ty, value, false));
        }
        let declared: Vec<(String, ParameterType)> =
            parameters.iter().map(|p| (p.name.clone(), p.of.clone())).collect();
        // What it sets is as it was when it ends.
        let options = self.scalars.options.clone();
        let result = self.run_prepared(body, &declared, &given, out);
        self.scalars.options = options;
        result
    }

    #[allow(clippy::type_complexity)]
    fn run_prepared(
        &mut self,
        sql: &str,
        declared: &[(String, ParameterType)],
        args: &[(Option<String>, SqlType, Value, bool)],
        out: Out<'_>,
    ) -> Result<(i32, Vec<(String, SqlType, Value)>)> {
        let mut variables = BTreeMap::new();
        let mut outputs = Vec::new();
        let mut tables = Vec::new();
        for (at, (name, ty)) in declared.iter().enumerate() {
            let named = args.iter().find(|(n, ..)| n.as_ref().is_some_and(|n| n.eq_ignore_ascii_case(name)));
            let positional = args.get(at).filter(|(n, ..)| n.is_none());
            let ty = match ty {
                ParameterType::Scalar(ty) => ty,
                ParameterType::Table(of) => {
                    let sent = named.or(positional).and_then(|(_, _, value, _)| self.sent_rows(value));
                    tables.push((name.clone(), of.clone(), sent.unwrap_or_default()));
                    continue;
                }
            };
            let Some((_, from, value, output)) = named.or(positional) else {
                return Err(SqlError::batch(
                    8178,
                    format!("The parameterized query expects the parameter '{name}', which was not supplied."),
                ));
            };
            variables.insert(name.to_ascii_lowercase(), (ty.clone(), convert(value.clone(), from, ty, None)?));
            if *output {
                outputs.push(name.clone());
            }
        }
        if args.len() > declared.len() {
            return Err(SqlError::batch(8144, "Procedure or function has too many arguments specified.").state(2));
        }
        let outer = self.variables.replace(variables);
        let result = self.nested_with(sql, &tables, out);
        let inner = self.variables.replace(outer);
        let status = result?;
        let outputs = outputs
            .into_iter()
            .filter_map(|name| {
                let (ty, value) = inner.get(&name.to_ascii_lowercase()).cloned()?;
                Some((name, ty, value))
            })
            .collect();
        Ok((status, outputs))
    }
}
