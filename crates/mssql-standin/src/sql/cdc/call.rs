//! The procedures `sys.sp_cdc_*`.

use logferry_model::SqlType;

use super::super::convert::convert;
use super::super::error::{Result, SqlError};
use super::super::plan::Column;
use super::super::session::{Out, Session, send_values};
use super::super::sink::FirstError;
use super::super::state::Db;
use super::super::time::to_300ths;
use super::super::types;
use super::super::value::{DAYS_TO_1900, Value};
use super::define::Wanted;
use super::lsn::lsn_of;
use super::{CaptureJob, Cdc, CleanupJob, bytes, clean_by_retention, clean_up, not_enabled, scan};

/// A parameter of a call: name, type, value, whether it is for output.
pub(crate) type Arg = (Option<String>, SqlType, Value, bool);

/// The tables that every enabled database has.
const TABLES: &str = "
CREATE TABLE cdc.change_tables (object_id int NOT NULL CONSTRAINT change_tables_clustered_idx PRIMARY KEY, version int NULL, source_object_id int NULL, capture_instance sysname NOT NULL, start_lsn binary(10) NULL, end_lsn binary(10) NULL, supports_net_changes bit NULL, has_drop_pending bit NULL, role_name sysname NULL, index_name sysname NULL, filegroup_name sysname NULL, create_date datetime NULL, partition_switch bit NOT NULL);
CREATE TABLE cdc.ddl_history (source_object_id int NULL, object_id int NOT NULL, required_column_update bit NULL, ddl_command nvarchar(max) NULL, ddl_lsn binary(10) NOT NULL, ddl_time datetime NULL, CONSTRAINT ddl_history_clustered_idx PRIMARY KEY (object_id, ddl_lsn));
CREATE TABLE cdc.lsn_time_mapping (start_lsn binary(10) NOT NULL CONSTRAINT lsn_time_mapping_clustered_idx PRIMARY KEY, tran_begin_time datetime NULL, tran_end_time datetime NULL, tran_id varbinary(10) NULL, tran_begin_lsn binary(10) NULL);
CREATE TABLE cdc.captured_columns (object_id int NOT NULL, column_name sysname NOT NULL, column_id int NULL, column_type sysname NOT NULL, column_ordinal int NOT NULL, is_computed bit NULL, masking_function nvarchar(4000) NULL, CONSTRAINT captured_columns_clustered_idx PRIMARY KEY (object_id, column_ordinal));
CREATE TABLE cdc.index_columns (object_id int NOT NULL, column_name sysname NOT NULL, index_ordinal tinyint NOT NULL, column_id int NOT NULL, CONSTRAINT index_columns_clustered_idx PRIMARY KEY (object_id, index_ordinal));
CREATE TABLE dbo.systranschemas (tabid int NOT NULL, startlsn binary(10) NOT NULL, endlsn binary(10) NOT NULL, typeid int NOT NULL)";

/// Parameters by their names, or by their places.
struct Args<'a> {
    given: &'a [Arg],
    names: &'static [&'static str],
}

impl Args<'_> {
    fn find(&self, name: &str) -> Option<&Arg> {
        let place = self.names.iter().position(|n| *n == name);
        let named = |a: &&Arg| a.0.as_ref().is_some_and(|n| n.trim_start_matches('@').eq_ignore_ascii_case(name));
        self.given.iter().find(named).or_else(|| self.given.get(place?).filter(|a| a.0.is_none()))
    }

    fn text(&self, name: &str) -> Option<String> {
        self.find(name).and_then(|a| a.2.as_text())
    }

    fn number(&self, name: &str) -> Result<Option<i64>> {
        match self.find(name) {
            Some((_, ty, value, _)) => Ok(convert(value.clone(), ty, &SqlType::BigInt, None)?.as_int()),
            None => Ok(None),
        }
    }

    /// A text that has to be given.
    fn needed(&self, name: &str) -> Result<String> {
        self.text(name).filter(|t| !t.is_empty()).ok_or_else(|| {
            SqlError::batch(
                22963,
                format!("Parameter '@{name}' cannot be null or empty. Specify a value for the named parameter and retry the operation."),
            )
        })
    }
}

fn names_of(procedure: &str) -> Option<&'static [&'static str]> {
    Some(match procedure {
        "sp_cdc_enable_db" | "sp_cdc_disable_db" | "sp_cdc_help_jobs" | "sp_mscdc_cleanup_job" => &[],
        "sp_cdc_enable_table" => &[
            "source_schema",
            "source_name",
            "role_name",
            "capture_instance",
            "supports_net_changes",
            "index_name",
            "captured_column_list",
            "filegroup_name",
            "allow_partition_switch",
        ],
        "sp_cdc_disable_table" => &["source_schema", "source_name", "capture_instance"],
        "sp_cdc_help_change_data_capture" => &["source_schema", "source_name"],
        "sp_cdc_get_captured_columns" | "sp_cdc_get_ddl_history" => &["capture_instance"],
        "sp_cdc_scan" => &["maxtrans", "maxscans", "continuous", "pollinginterval"],
        "sp_cdc_cleanup_change_table" => &["capture_instance", "low_water_mark", "threshold"],
        "sp_cdc_add_job" => &[
            "job_type",
            "start_job",
            "maxtrans",
            "maxscans",
            "continuous",
            "pollinginterval",
            "retention",
            "threshold",
        ],
        "sp_cdc_change_job" => {
            &["job_type", "maxtrans", "maxscans", "continuous", "pollinginterval", "retention", "threshold"]
        }
        "sp_cdc_start_job" | "sp_cdc_stop_job" | "sp_cdc_drop_job" => &["job_type"],
        _ => return None,
    })
}

impl Session {
    /// A procedure of CDC, by its name in lower case; `None` where there is none of that name.
    pub(crate) fn cdc_procedure(&mut self, name: &str, given: &[Arg], out: Out<'_>) -> Result<Option<i32>> {
        let Some(names) = names_of(name) else { return Ok(None) };
        let args = Args { given, names };
        let at = self.scalars.database;
        let now = self.scalars.now;
        if matches!(name, "sp_cdc_enable_db" | "sp_cdc_disable_db" | "sp_cdc_enable_table" | "sp_cdc_disable_table") {
            self.refuse_procedure_in_transaction(name)?;
        }
        match name {
            "sp_cdc_enable_db" => self.enable_database()?,
            "sp_cdc_disable_db" => self.waiting(|state, _, _| super::disable_database(state, at))?,
            "sp_cdc_enable_table" => {
                if args.find("role_name").is_none() {
                    return Err(SqlError::batch(
                        201,
                        "Procedure or function 'sp_cdc_enable_table' expects parameter '@role_name', which was not supplied.",
                    )
                    .state(4));
                }
                let net = args.number("supports_net_changes")?.map(|n| n != 0);
                let wanted = Wanted {
                    schema: args.needed("source_schema")?,
                    table: args.needed("source_name")?,
                    instance: args.text("capture_instance").filter(|t| !t.is_empty()),
                    net,
                    role: args.text("role_name").filter(|t| !t.is_empty()),
                    index: args.text("index_name").filter(|t| !t.is_empty()),
                    columns: args.text("captured_column_list"),
                };
                let created = Value::DateTime(now.0 - DAYS_TO_1900, to_300ths(now.1));
                self.waiting(|state, _, _| super::enable_table(state, at, &wanted, created.clone()))?;
                // The first table of a database brings the jobs.
                self.with_cdc(|cdc| {
                    cdc.cleanup.get_or_insert_default();
                    if cdc.capture.is_none() {
                        cdc.capture.insert(CaptureJob::default()).start();
                    }
                    Ok(())
                })?;
                self.watch_jobs();
            }
            "sp_cdc_disable_table" => {
                let (schema, table) = (args.needed("source_schema")?, args.needed("source_name")?);
                let instance = args.needed("capture_instance")?;
                self.waiting(|state, _, _| super::disable_table(state, at, &schema, &table, &instance))?;
            }
            "sp_cdc_scan" => {
                let most = args.number("maxtrans")?.unwrap_or(500);
                let scans = args.number("maxscans")?.unwrap_or(10);
                self.with_cdc(|_| Ok(()))?;
                for _ in 0..scans {
                    let most = usize::try_from(most).unwrap_or(0);
                    if self.waiting(|state, s, _| scan(state, at, s.now, most))? == 0 {
                        break;
                    }
                }
            }
            "sp_cdc_cleanup_change_table" => {
                let instance = args.needed("capture_instance")?;
                let mark = args.find("low_water_mark").and_then(|a| lsn_of(&a.2));
                self.waiting(|state, _, _| clean_up(state, at, &instance, mark))?;
            }
            "sp_mscdc_cleanup_job" => self.waiting(|state, s, _| clean_by_retention(state, at, s.now))?,
            "sp_cdc_add_job" | "sp_cdc_change_job" | "sp_cdc_start_job" | "sp_cdc_stop_job" | "sp_cdc_drop_job" => {
                self.change_job(name, &args)?;
            }
            "sp_cdc_help_jobs" => self.help_jobs(out)?,
            "sp_cdc_help_change_data_capture" => {
                let (schema, table) = (args.text("source_schema"), args.text("source_name"));
                self.help_instances(schema.as_deref(), table.as_deref(), out)?;
            }
            "sp_cdc_get_captured_columns" => {
                let instance = args.needed("capture_instance")?.replace('\'', "''");
                self.with_cdc(|_| Ok(()))?;
                self.nested(
                    &format!(
                        "SELECT SCHEMA_NAME(o.schema_id) AS source_schema, o.name AS source_table, t.capture_instance, c.column_name, c.column_id, c.column_ordinal AS ordinal_position, c.column_type AS data_type, COLUMNPROPERTY(t.object_id, c.column_name, 'CharMaxLen') AS character_maximum_length, c.is_computed FROM cdc.captured_columns c JOIN cdc.change_tables t ON t.object_id = c.object_id JOIN sys.objects o ON o.object_id = t.source_object_id WHERE t.capture_instance = N'{instance}' ORDER BY c.column_ordinal"
                    ),
                    out,
                )?;
            }
            "sp_cdc_get_ddl_history" => {
                let instance = args.needed("capture_instance")?.replace('\'', "''");
                self.with_cdc(|_| Ok(()))?;
                self.nested(
                    &format!(
                        "SELECT SCHEMA_NAME(o.schema_id) AS source_schema, o.name AS source_table, t.capture_instance, h.required_column_update, h.ddl_command, h.ddl_lsn, h.ddl_time FROM cdc.ddl_history h JOIN cdc.change_tables t ON t.object_id = h.object_id JOIN sys.objects o ON o.object_id = t.source_object_id WHERE t.capture_instance = N'{instance}' ORDER BY h.ddl_lsn"
                    ),
                    out,
                )?;
            }
            _ => return Ok(None),
        }
        Ok(Some(0))
    }

    /// Works on what CDC keeps of the session's database; 22901 where it is not enabled.
    fn with_cdc<T>(&mut self, mut work: impl FnMut(&mut Cdc) -> Result<T>) -> Result<T> {
        let at = self.scalars.database;
        self.waiting(|state, _, _| {
            let db = state.db_mut(at);
            match &mut db.cdc {
                Some(cdc) => work(cdc),
                None => Err(not_enabled(db)),
            }
        })
    }

    fn enable_database(&mut self) -> Result<()> {
        let at = self.scalars.database;
        let (name, enabled, taken) = self.waiting(|state, _, _| {
            let db = state.db(at);
            let taken = db.storage.schemas().any(|(n, _)| n.eq_ignore_ascii_case(super::SCHEMA));
            Ok((db.name.clone(), db.cdc.is_some(), taken))
        })?;
        if super::super::state::SYSTEM_DATABASES.contains(&name.as_str()) {
            return Err(SqlError::batch(
                22989,
                format!(
                    "Could not enable Change Data Capture for database '{name}'. Change data capture is not supported on system databases, or on a distribution database."
                ),
            ));
        }
        if enabled {
            return Ok(());
        }
        if taken {
            return Err(SqlError::batch(
                22906,
                format!(
                    "The database '{name}' cannot be enabled for Change Data Capture because a database user named 'cdc' or a schema named 'cdc' already exists in the current database. These objects are required exclusively by Change Data Capture. Drop or rename the user or schema and retry the operation."
                ),
            ));
        }
        let mut first = FirstError(None);
        for sql in ["CREATE SCHEMA cdc", TABLES] {
            self.nested(sql, &mut first)?;
        }
        if let Some(e) = first.0 {
            return Err(e);
        }
        self.waiting(|state, _, _| {
            state.db_mut(at).cdc = Some(Cdc::default());
            Ok(())
        })
    }

    fn change_job(&mut self, name: &str, args: &Args<'_>) -> Result<()> {
        let at = self.scalars.database;
        let job = args.text("job_type").unwrap_or_else(|| "capture".into()).to_lowercase();
        if !matches!(job.as_str(), "capture" | "cleanup") {
            return Err(SqlError::batch(
                22992,
                format!(
                    "The specified @job_type, {job}, is not supported. The value specified for the parameter @job_type must be N'capture' to indicate a capture job, or N'cleanup' to indicate a cleanup job."
                ),
            ));
        }
        let (maxtrans, maxscans) = (args.number("maxtrans")?, args.number("maxscans")?);
        let (continuous, polling) = (args.number("continuous")?, args.number("pollinginterval")?);
        let (retention, threshold) = (args.number("retention")?, args.number("threshold")?);
        let begins = name == "sp_cdc_add_job" && args.number("start_job")? != Some(0);
        if polling.is_some_and(|p| !(0..86_400).contains(&p)) {
            return Err(SqlError::batch(
                22990,
                "The value specified for the parameter @pollinginterval must be greater than or equal to 0 and less than 24 hours(Max: 86399 seconds). Specify a polling interval (in seconds) that is less than 24 hours (86,400 seconds).",
            ));
        }
        if maxtrans.is_some_and(|n| n < 1) {
            return Err(SqlError::batch(
                22991,
                "The value specified for the parameter @maxtrans must be greater than 0.",
            ));
        }
        if maxscans.is_some_and(|n| n < 1) {
            return Err(SqlError::batch(
                22970,
                "The value for parameter @maxscans specified for the Change Data Capture job must be greater than 0.",
            ));
        }
        if job == "cleanup" && name == "sp_cdc_start_job" {
            return self.waiting(|state, s, _| clean_by_retention(state, at, s.now));
        }
        let database = self.database();
        self.with_cdc(|cdc| {
            let missing = || {
                SqlError::batch(
                    22993,
                    format!(
                        "The Change Data Capture job table containing job information for database '{database}' cannot be found in the msdb system database. Run the stored procedure 'sys.sp_cdc_add_job' to create the appropriate CDC capture or cleanup job. The stored procedure will create the required job table."
                    ),
                )
            };
            if job == "cleanup" {
                if name == "sp_cdc_drop_job" {
                    cdc.cleanup = None;
                    return Ok(());
                }
                if name == "sp_cdc_add_job" {
                    cdc.cleanup.get_or_insert_default();
                }
                let held: &mut CleanupJob = cdc.cleanup.as_mut().ok_or_else(missing)?;
                held.retention_min = retention.unwrap_or(held.retention_min);
                held.threshold = threshold.unwrap_or(held.threshold);
                return Ok(());
            }
            match name {
                "sp_cdc_drop_job" => {
                    cdc.capture = None;
                    return Ok(());
                }
                "sp_cdc_add_job" => {
                    cdc.capture.get_or_insert_default();
                }
                _ => {}
            }
            let held = cdc.capture.as_mut().ok_or_else(missing)?;
            held.settings.maxtrans = maxtrans.unwrap_or(held.settings.maxtrans);
            held.settings.maxscans = maxscans.unwrap_or(held.settings.maxscans);
            held.settings.continuous = continuous.map_or(held.settings.continuous, |n| n != 0);
            held.settings.polling_s = polling.unwrap_or(held.settings.polling_s);
            match name {
                "sp_cdc_start_job" => held.start(),
                "sp_cdc_add_job" if begins => held.start(),
                "sp_cdc_stop_job" => held.running = None,
                _ => {}
            }
            Ok(())
        })?;
        self.watch_jobs();
        Ok(())
    }

    fn help_jobs(&mut self, out: Out<'_>) -> Result<()> {
        let at = self.scalars.database;
        let database = self.database();
        let rows = self.with_cdc(|cdc| {
            let mut rows = Vec::new();
            let id = |n: u8| {
                let mut id = [0; 16];
                id[0] = n;
                id[1] = at as u8;
                Value::Guid(id)
            };
            let name = |kind: &str| Value::text(&format!("cdc.{database}_{kind}"));
            if let Some(job) = &cdc.capture {
                let s = job.settings;
                let mut row = vec![id(1), Value::text("capture"), name("capture")];
                row.extend([s.maxtrans, s.maxscans, i64::from(s.continuous), s.polling_s, 0, 0].map(Value::Int));
                rows.push(row);
            }
            if let Some(job) = &cdc.cleanup {
                let mut row = vec![id(2), Value::text("cleanup"), name("cleanup")];
                row.extend([0, 0, 0, 0, job.retention_min, job.threshold].map(Value::Int));
                rows.push(row);
            }
            Ok(rows)
        })?;
        let columns = [
            ("job_id", SqlType::UniqueIdentifier),
            ("job_type", types::nvarchar(20)),
            ("job_name", types::sysname()),
            ("maxtrans", SqlType::Int),
            ("maxscans", SqlType::Int),
            ("continuous", SqlType::Bit),
            ("pollinginterval", SqlType::BigInt),
            ("retention", SqlType::BigInt),
            ("threshold", SqlType::BigInt),
        ];
        self.answer(&columns, rows, out)
    }

    fn help_instances(&mut self, schema: Option<&str>, table: Option<&str>, out: Out<'_>) -> Result<()> {
        let at = self.scalars.database;
        let rows = self.waiting(|state, _, _| {
            let db = state.db(at);
            let Some(cdc) = &db.cdc else { return Err(not_enabled(db)) };
            Ok(cdc.instances.iter().filter_map(|i| instance_row(db, i, schema, table)).collect::<Vec<_>>())
        })?;
        let lsn = SqlType::Binary { length: 10 };
        let columns = [
            ("source_schema", types::sysname()),
            ("source_table", types::sysname()),
            ("capture_instance", types::sysname()),
            ("object_id", SqlType::Int),
            ("source_object_id", SqlType::Int),
            ("start_lsn", lsn.clone()),
            ("end_lsn", lsn),
            ("supports_net_changes", SqlType::Bit),
            ("has_drop_pending", SqlType::Bit),
            ("role_name", types::sysname()),
            ("index_name", types::sysname()),
            ("filegroup_name", types::sysname()),
            ("create_date", SqlType::DateTime),
            ("index_column_list", types::nvarchar_max()),
            ("captured_column_list", types::nvarchar_max()),
        ];
        self.answer(&columns, rows, out)
    }

    /// A result that is made here.
    fn answer(&self, columns: &[(&str, SqlType)], rows: Vec<Vec<Value>>, out: Out<'_>) -> Result<()> {
        let columns: Vec<Column> = columns
            .iter()
            .map(|(name, ty)| Column {
                name: (*name).to_owned(),
                ty: ty.clone(),
                nullable: true,
                identity: false,
                computed: false,
            })
            .collect();
        send_values(&columns, rows, out)
    }
}

fn instance_row(db: &Db, i: &super::Instance, schema: Option<&str>, table: Option<&str>) -> Option<Vec<Value>> {
    let (own_schema, own_table) = db.table_name(i.source);
    let is =
        |wanted: Option<&str>, own: &str| wanted.is_none_or(|w| w.is_empty() || super::super::value::same_name(w, own));
    if !is(schema, &own_schema) || !is(table, &own_table) {
        return None;
    }
    let list = |names: Vec<&str>| {
        let quoted: Vec<String> = names.iter().map(|n| format!("[{}]", n.replace(']', "]]"))).collect();
        Value::text(&quoted.join(", "))
    };
    let key: Vec<&str> = i.key.iter().filter_map(|k| i.columns.get(*k)).map(|c| c.name.as_str()).collect();
    Some(vec![
        Value::text(&own_schema),
        Value::text(&own_table),
        Value::text(&i.name),
        Value::Int(i.changes.into()),
        Value::Int(i.source.into()),
        i.start.map_or(Value::Null, bytes),
        Value::Null,
        Value::bit(i.net),
        Value::Null,
        Value::opt_text(i.role.as_deref()),
        Value::opt_text(i.index_name.as_deref()),
        Value::Null,
        i.created.clone(),
        if key.is_empty() { Value::Null } else { list(key) },
        list(i.columns.iter().map(|c| c.name.as_str()).collect()),
    ])
}
