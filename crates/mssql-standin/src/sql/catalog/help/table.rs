//! `sp_help` and `sp_helpindex`: objects, their columns, indexes and constraints.

use logferry_model::SqlType;

use super::super::super::ast::{ModuleKind, ParameterType};
use super::super::super::collation;
use super::super::super::error::Result;
use super::super::super::plan::Column;
use super::super::super::state::{Db, ForeignDef, KeyDef, Scalars, State, Switch};
use super::super::super::types;
use super::super::super::value::{Dec, Value, same_name};
use super::super::objects::{Object, objects, type_rows};
use super::super::shape::{NULL, Rows, n, t, view};
use super::{Said, find};

const COLUMNS: &str = "Column_name n128?, Type n128?, Computed v35, Length int?, Prec char5?, Scale char5?, Nullable v35, TrimTrailingBlanks v35, FixedLenNullInSource v35, Collation sysname?";

const CONSTRAINTS: &str = "constraint_type n146?, constraint_name n128?, delete_action n9?, update_action n9?, status_enabled v8?, status_for_replication v19?, constraint_keys n2078?";

/// What a cell says where nothing applies.
const NONE: &str = "(n/a)";

/// What `sp_help` calls a kind of object.
fn kind_name(kind: &str) -> &'static str {
    match kind {
        "U " => "user table",
        "V " => "view",
        "P " => "stored procedure",
        "TR" => "trigger",
        "FN" => "scalar function",
        "IF" => "inline function",
        "TF" => "table function",
        "PK" => "primary key cns",
        "UQ" => "unique cns",
        "C " => "check cns",
        "D " => "default (maybe cns)",
        _ => "foreign key cns",
    }
}

/// The owner of schemas, and so of objects.
const OWNER: &str = "dbo";

/// All objects of the current database.
pub(super) fn summary(state: &State, s: &Scalars) -> Said {
    let mut all: Vec<Object> = objects(state, s.database);
    all.retain(|o| state.is_seen(s, super::super::super::bind::TableAt { database: s.database, table: o.id }));
    all.sort_by_key(|o| (std::cmp::Reverse(kind_name(o.kind)), o.name.to_lowercase()));
    Said::rows(view(
        "Name n128, Owner n128?, Object_type n31?",
        ["Name", "Owner", "Object_type"],
        all.iter().map(|o| [t(&o.name), t(OWNER), t(kind_name(o.kind))]),
    ))
}

/// An object, or a type, by its name.
///
/// # Errors
/// 15009, 15250
pub(super) fn help(state: &State, s: &Scalars, given: &str) -> Result<Vec<Said>> {
    let object = match find(state, s, given) {
        Ok(object) => object,
        Err(missing) => {
            let known = type_rows().iter().find(|r| same_name(r.name, given));
            return known.map(|r| vec![of_type(r)]).ok_or(missing);
        }
    };
    let db = state.db(s.database);
    let mut said = vec![Said::rows(view(
        "Name n128, Owner n128?, Type n31?, Created_datetime datetime",
        ["Name", "Owner", "Type", "Created_datetime"],
        [[t(&object.name), t(OWNER), t(kind_name(object.kind)), object.created.clone()]],
    ))];
    match object.kind {
        "U " => {
            said.push(columns(db, object.id));
            said.extend([identity(db, object.id), rowguid(db, object.id)]);
            let of = "Data_located_on_filegroup";
            said.push(Said::rows(view(&format!("{of} n128"), [of], [[t("PRIMARY")]])));
            said.extend(indexes(state, s, &object));
            said.push(constraints(db, &object, given));
            said.push(referencing(db, &object, given));
        }
        "V " => {
            said.push(columns(db, object.id));
            said.extend([identity(db, object.id), rowguid(db, object.id)]);
            said.extend(indexes(state, s, &object));
            said.push(no_constraints(given));
            said.push(no_references(given));
        }
        "P " => said.extend(parameters(db, object.id)),
        _ => {}
    }
    Ok(said)
}

fn of_type(row: &super::super::objects::TypeRow) -> Said {
    let prec = match row.system_id {
        34 | 35 | 99 => NULL,
        _ if row.precision > 0 => n(row.precision),
        231 | 239 => n(row.length / 2),
        _ => n(row.length),
    };
    let storage = if row.name == "sysname" { "nvarchar" } else { row.name };
    Said::rows(view(
        "Type_name n128, Storage_type n128?, Length smallint, Prec int?, Scale int?, Nullable v35, Default_name n128?, Rule_name n128?, Collation sysname?",
        ["Type_name", "Storage_type", "Length", "Prec", "Scale", "Nullable", "Default_name", "Rule_name", "Collation"],
        [[
            t(row.name),
            t(storage),
            n(row.length),
            prec,
            if row.precision > 0 { n(row.scale) } else { NULL },
            yes(!matches!(row.user_id, 189 | 256)),
            NULL,
            NULL,
            if row.collated { t(collation::DEFAULT_NAME) } else { NULL },
        ]],
    ))
}

fn yes(on: bool) -> Value {
    t(if on { "yes" } else { "no" })
}

/// Types whose digits are shown.
fn is_numeric(ty: &SqlType) -> bool {
    !matches!(ty, SqlType::Bit | SqlType::DateTime | SqlType::SmallDateTime) && types::sizes(ty).1 > 0
}

fn columns(db: &Db, id: u32) -> Said {
    let row = |name: &str, ty: &SqlType, nullable: bool, computed: bool| {
        let (length, precision, scale) = types::sizes(ty);
        let digits = |of: u8| if is_numeric(ty) { t(&of.to_string()) } else { t("") };
        let (single, sized) = match ty {
            SqlType::Char { .. } | SqlType::VarChar { .. } | SqlType::Binary { .. } | SqlType::VarBinary { .. } => {
                (t("no"), yes(nullable))
            }
            _ => (t(NONE), t(NONE)),
        };
        [
            t(name),
            t(types::name(ty)),
            yes(computed),
            n(length),
            digits(precision),
            if matches!(ty, SqlType::Real | SqlType::Float) { NULL } else { digits(scale) },
            yes(nullable),
            single,
            sized,
            collation::of(ty).map_or(NULL, |c| t(&collation::name(c))),
        ]
    };
    let mut rows = Vec::new();
    if let Some(def) = db.storage.table_def(id) {
        let computed = |place: usize| db.meta(id).computed.iter().any(|c| c.column == place);
        let all = def.columns.iter().enumerate();
        rows.extend(all.map(|(place, c)| row(&c.name, &c.sql_type, c.nullable, computed(place))));
    }
    rows.extend(
        db.modules.get(&id).into_iter().flat_map(|m| m.shown.iter().map(|c| row(&c.name, &c.ty, c.nullable, false))),
    );
    let names = [
        "Column_name",
        "Type",
        "Computed",
        "Length",
        "Prec",
        "Scale",
        "Nullable",
        "TrimTrailingBlanks",
        "FixedLenNullInSource",
        "Collation",
    ];
    Said::rows(view(COLUMNS, names, rows))
}

fn identity(db: &Db, id: u32) -> Said {
    let def = db.storage.table_def(id);
    let found = def.and_then(|d| Some((d, db.meta(id).identity.as_ref()?)));
    let number = |mantissa: i128| Value::Dec(Dec { mantissa, scale: 0 });
    let row = match found {
        Some((def, of)) => [
            t(&def.columns[of.column].name),
            number(of.seed),
            number(of.increment),
            n(u8::from(of.not_for_replication)),
        ],
        None => [t("No identity column defined."), NULL, NULL, NULL],
    };
    Said::rows(view(
        "Identity n128?, Seed num38?, Increment num38?, [Not For Replication] int?",
        ["Identity", "Seed", "Increment", "Not For Replication"],
        [row],
    ))
}

fn rowguid(db: &Db, id: u32) -> Said {
    let def = db.storage.table_def(id);
    let found = def.and_then(|d| d.columns.get(db.meta(id).rowguid?));
    let name = found.map_or("No rowguidcol column defined.", |c| &c.name);
    Said::rows(view("RowGuidCol sysname?", ["RowGuidCol"], [[t(name)]]))
}

/// Columns of a key, with a minus behind those in descending order.
fn key_columns(db: &Db, table: u32, key: &KeyDef) -> String {
    let Some(def) = db.storage.table_def(table) else { return String::new() };
    let name = |(place, descending): &(usize, bool)| {
        format!("{}{}", def.columns[*place].name, if *descending { "(-)" } else { "" })
    };
    key.columns.iter().map(name).collect::<Vec<_>>().join(", ")
}

/// The indexes of an object, or that it has none.
pub(super) fn indexes(state: &State, s: &Scalars, object: &Object) -> Vec<Said> {
    let db = state.db(s.database);
    let known = db.tables.get(&object.id).map(|m| &m.keys[..]).unwrap_or_default();
    if known.is_empty() {
        let what = format!("The object '{}' does not have any indexes, or you do not have permissions.", object.name);
        return vec![Said::Message(15472, what)];
    }
    let mut keys: Vec<&KeyDef> = known.iter().collect();
    keys.sort_by_key(|k| k.name.to_lowercase());
    let rows = keys.into_iter().map(|k| {
        let words = [
            (true, if k.clustered { "clustered" } else { "nonclustered" }),
            (k.unique, ", unique"),
            (k.primary, ", primary key"),
            (k.object.is_some() && !k.primary, ", unique key"),
            (true, " located on PRIMARY"),
        ];
        let description: String = words.into_iter().filter(|(on, _)| *on).map(|(_, word)| word).collect();
        [t(&k.name), t(&description), t(&key_columns(db, object.id, k))]
    });
    let names = ["index_name", "index_description", "index_keys"];
    vec![Said::rows(view("index_name sysname, index_description v210?, index_keys n2078?", names, rows))]
}

/// A line of the constraints.
type Line = [Value; 7];

fn constraints(db: &Db, object: &Object, given: &str) -> Said {
    let Some(def) = db.storage.table_def(object.id) else { return no_constraints(given) };
    let meta = db.meta(object.id);
    let names = |of: &[usize]| of.iter().map(|c| def.columns[*c].name.clone()).collect::<Vec<_>>().join(", ");
    let plain = |kind: String, name: &str, keys: &str| -> Line {
        [t(&kind), t(name), t(NONE), t(NONE), t(NONE), t(NONE), t(keys)]
    };
    let mut lines: Vec<(String, Vec<Line>)> = Vec::new();
    for k in meta.keys.iter().filter(|k| k.object.is_some()) {
        let kind = if k.primary { "PRIMARY KEY" } else { "UNIQUE" };
        let how = if k.clustered { "clustered" } else { "non-clustered" };
        let line = plain(format!("{kind} ({how})"), &k.name, &key_columns(db, object.id, k));
        lines.push((k.name.clone(), vec![line]));
    }
    for c in &meta.checks {
        let place =
            c.column.map_or("CHECK Table Level ".into(), |at| format!("CHECK on column {}", def.columns[at].name));
        let mut line = plain(place, &c.name, &c.text);
        [line[4], line[5]] = switches(c.switch);
        lines.push((c.name.clone(), vec![line]));
    }
    for d in &meta.defaults {
        let kind = format!("DEFAULT on column {}", def.columns[d.column].name);
        lines.push((d.name.clone(), vec![plain(kind, &d.name, &d.text)]));
    }
    for f in &meta.foreign {
        let mut line = plain("FOREIGN KEY".into(), &f.name, &names(&f.columns));
        (line[2], line[3]) = (t("No Action"), t("No Action"));
        [line[4], line[5]] = switches(f.switch);
        let blank = || t(" ");
        let to = t(&format!("REFERENCES {}", referenced(db, f)));
        lines.push((f.name.clone(), vec![line, [blank(), blank(), blank(), blank(), blank(), blank(), to]]));
    }
    if lines.is_empty() {
        return no_constraints(given);
    }
    lines.sort_by_key(|(name, _)| name.to_lowercase());
    let given = [
        "constraint_type",
        "constraint_name",
        "delete_action",
        "update_action",
        "status_enabled",
        "status_for_replication",
        "constraint_keys",
    ];
    Said::rows(view(CONSTRAINTS, given, lines.into_iter().flat_map(|(_, lines)| lines)))
}

fn switches(of: Switch) -> [Value; 2] {
    let replication = if of.not_for_replication { "Not_For_Replication" } else { "Is_For_Replication" };
    [t(if of.disabled { "Disabled" } else { "Enabled" }), t(replication)]
}

/// The table and the columns that a foreign key is to.
fn referenced(db: &Db, f: &ForeignDef) -> String {
    let (schema, table) = db.table_name(f.table);
    let def = db.storage.table_def(f.table);
    let names = f.referenced.iter().filter_map(|c| Some(def?.columns.get(*c)?.name.clone()));
    format!("{}.{schema}.{table} ({})", db.name, names.collect::<Vec<_>>().join(", "))
}

fn no_constraints(given: &str) -> Said {
    let what = format!("No constraints are defined on object '{given}', or you do not have permissions.");
    Said::Message(15469, what)
}

fn no_references(given: &str) -> Said {
    let what =
        format!("No foreign keys reference table '{given}', or you do not have permissions on referencing tables.");
    Said::Message(15470, what)
}

/// Foreign keys to a table.
fn referencing(db: &Db, object: &Object, given: &str) -> Said {
    let mut found: Rows = Vec::new();
    for (id, def) in db.storage.tables() {
        let own = db.meta(id).foreign.iter().filter(|f| f.table == object.id);
        found.extend(own.map(|f| vec![t(&format!("{}.{}.{}: {}", db.name, def.schema, def.name, f.name))]));
    }
    if found.is_empty() {
        return no_references(given);
    }
    found.sort_by_key(|row| row[0].as_text());
    let of = "Table is referenced by";
    Said::rows(view(&format!("[{of}] n516?"), [of], found))
}

/// The parameters of a procedure; nothing, where it has none.
fn parameters(db: &Db, id: u32) -> Option<Said> {
    let Some(ModuleKind::Procedure { parameters, .. }) = db.modules.get(&id).map(|m| &m.kind) else { return None };
    if parameters.is_empty() {
        return None;
    }
    let rows = parameters.iter().zip(1i64..).map(|(p, place)| {
        let (name, length, prec, scale) = match &p.of {
            ParameterType::Scalar(ty) => {
                let (length, precision, scale) = types::sizes(ty);
                let digits = precision > 0;
                let prec = if digits { n(precision) } else { types::char_len(ty).map_or(n(length), n) };
                (types::name(ty).to_owned(), length, prec, if digits { n(scale) } else { NULL })
            }
            ParameterType::Table(name) => (name.last().cloned().unwrap_or_default(), -1, NULL, NULL),
        };
        [t(&p.name), t(&name), n(length), prec, scale, n(place)]
    });
    let names = ["Parameter_name", "Type", "Length", "Prec", "Scale", "Param_order"];
    let found: (Vec<Column>, Rows) = view(
        "Parameter_name n128?, Type n128?, Length smallint, Prec int?, Scale int?, Param_order smallint",
        names,
        rows,
    );
    Some(Said::rows(found))
}
