//! What functions say of the session and of who it is.

use super::super::catalog;
use super::super::error::Result;
use super::super::eval::Ctx;
use super::super::value::Value;
use super::Func;
use super::call::text_at;

/// What a function says of the session; of others, what the catalog has.
pub(super) fn fact(func: Func, v: &[Value], ctx: &Ctx<'_>) -> Result<Value> {
    use super::Func as F;
    let s = ctx.scalars;
    Ok(match func {
        F::XactState => Value::Int(i64::from(s.depth > 0)),
        F::ErrorNumber => s.caught.as_ref().map_or(Value::Null, |e| Value::Int(i64::from(e.number))),
        F::ErrorMessage => s.caught.as_ref().map_or(Value::Null, |e| Value::text(&e.message)),
        F::ErrorSeverity => s.caught.as_ref().map_or(Value::Null, |e| Value::Int(i64::from(e.class))),
        F::ErrorState => s.caught.as_ref().map_or(Value::Null, |e| Value::Int(i64::from(e.state))),
        F::ErrorLine => s.caught.as_ref().map_or(Value::Null, |e| Value::Int(i64::from(e.line))),
        F::ErrorProcedure => Value::Null,
        F::AtVersion => Value::text(catalog::VERSION_TEXT),
        F::AtSpid => Value::Int(i64::from(s.spid)),
        F::AtTranCount => Value::Int(i64::from(s.depth)),
        F::AtRowCount | F::RowCountBig => Value::Int(s.rowcount),
        F::AtError => Value::Int(i64::from(s.error)),
        F::AtServerName => Value::text(&ctx.state.server),
        F::AtServiceName => Value::text("MSSQLSERVER"),
        F::AtLanguage => Value::text("us_english"),
        F::AtDateFirst => Value::Int(7),
        F::AtMaxPrecision => Value::Int(38),
        F::AtLockTimeout => Value::Int(s.lock_timeout_ms.map_or(-1, |n| n as i64)),
        F::AtOptions => Value::Int(5496),
        F::AtMicrosoftVersion => Value::Int(0x0D00_0000 | 5026),
        F::AtTextSize => Value::Int(2_147_483_647),
        F::AtNestLevel => Value::Int(0),
        F::AtDbts => Value::Bytes(ctx.state.db(s.database).row_version.to_be_bytes().to_vec()),
        F::SuserSname | F::SuserName | F::SystemUser | F::OriginalLogin => Value::text(&s.login),
        F::UserName | F::CurrentUser | F::SessionUser | F::User => match v.first().and_then(Value::as_int) {
            None | Some(1) => Value::text("dbo"),
            Some(0) => Value::text("public"),
            Some(2) => Value::text("guest"),
            Some(_) => Value::Null,
        },
        F::UserId | F::SuserId => Value::Int(1),
        F::HostName => Value::text(&s.host),
        F::AppName => Value::text(&s.program),
        F::HasPerms => Value::Int(i64::from(ctx.state.sees_all(s))),
        F::HasDbAccess => Value::Int(1),
        F::IsSrvRoleMember | F::IsMember | F::IsRoleMember => {
            let role = text_at(v, 0).to_lowercase();
            let server = [
                "sysadmin",
                "serveradmin",
                "securityadmin",
                "processadmin",
                "setupadmin",
                "bulkadmin",
                "diskadmin",
                "dbcreator",
                "public",
            ];
            let database = [
                "db_owner",
                "public",
                "db_accessadmin",
                "db_securityadmin",
                "db_ddladmin",
                "db_backupoperator",
                "db_datareader",
                "db_datawriter",
            ];
            let known: &[&str] = if func == F::IsSrvRoleMember { &server } else { &database };
            if known.contains(&role.as_str()) {
                Value::Int(1)
            } else if ["db_denydatareader", "db_denydatawriter"].contains(&role.as_str()) {
                Value::Int(0)
            } else {
                Value::Null
            }
        }
        _ => catalog::property(func, v, ctx)?,
    })
}
