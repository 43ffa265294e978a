//! Tables that change while changes are applied: in the transaction of the rows.

use std::sync::Arc;

use logferry_model::{ChangeSink, Fault, PgType, Reshaped, SchemaChange, TargetTable};
use logferry_pg_apply::{KnownTable, Target, TaskSettings, TaskTarget};

use crate::support::{Streaming, batches, rows, run, streaming, tables};

fn alter(from: &Arc<TargetTable>, to: &Arc<TargetTable>, filled: &[(usize, Option<&[u8]>)]) -> SchemaChange {
    let filled = filled.iter().map(|(at, value)| (*at, value.map(<[u8]>::to_vec))).collect();
    SchemaChange::Alter(Reshaped { from: from.clone(), to: to.clone(), filled })
}

impl Streaming {
    async fn change(&mut self, changes: &[SchemaChange], text: &str, first: u32) -> Result<(), Fault> {
        self.sink.alter(changes).await?;
        for table in &self.tables {
            self.sink.define(table.clone()).await?;
        }
        for batch in batches(&self.tables, text, first) {
            self.sink.apply(&batch).await?;
        }
        Ok(())
    }

    async fn ask(&self, sql: &str) -> String {
        self.client.query_one(sql, &[]).await.unwrap().get(0)
    }
}

const COLUMNS: &str = "SELECT coalesce(string_agg(attname || ' ' || format_type(atttypid, atttypmod) \
     || CASE WHEN attnotnull THEN '!' ELSE '' END, ', ' ORDER BY attnum), '') \
     FROM pg_attribute WHERE attrelid = to_regclass('s.t') AND attnum > 0 AND NOT attisdropped";

const KEYS: &str = "SELECT coalesce(string_agg(conname || ' ' || pg_get_constraintdef(oid), ', ' ORDER BY conname), '') \
     FROM pg_constraint WHERE conrelid = to_regclass('s.t') AND contype IN ('p', 'u')";

/// The same table, with the next of these columns behind it: `w:int!`.
fn with(table: &Arc<TargetTable>, text: &str) -> Arc<TargetTable> {
    let mut other = TargetTable::clone(&tables(&format!("x({text})"))[0]);
    let last = table.columns.len() as u32;
    other.columns.iter_mut().for_each(|c| c.source_id += last);
    let mut new = TargetTable::clone(table);
    new.columns.append(&mut other.columns);
    Arc::new(new)
}

#[test]
fn a_new_column_may_be_of_a_domain_and_one_may_become_of_one() {
    run(async {
        let mut s = streaming("t(id:int key, v:varchar3)").await;
        s.apply("ins 1 a", 1).await.unwrap();
        let old = s.tables[0].clone();
        let mut new = TargetTable::clone(&with(&old, "w:varchar3@code"));
        new.columns[1].domain = new.columns[2].domain.clone();
        let new = Arc::new(new);
        s.tables[0] = new.clone();
        s.change(&[alter(&old, &new, &[(2, Some(b"x"))])], "ins 2 b c", 2).await.unwrap();
        assert_eq!(s.ask(COLUMNS).await, "id integer!, v s.code, w s.code");
        assert_eq!(rows(&s.client, &s.tables).await, "1 a x, 2 b c");
    });
}

#[test]
fn a_new_column_has_its_default_in_rows_that_are_there() {
    run(async {
        let mut s = streaming("t(id key, v)").await;
        s.apply("ins 1 a; ins 2 b", 1).await.unwrap();
        let old = s.tables[0].clone();
        let new = with(&old, "w:int!, x:varchar3!, y:int!");
        s.tables[0] = new.clone();
        let filled: &[(usize, Option<&[u8]>)] = &[(2, Some(&[0, 0, 0, 7])), (3, Some(b"'\\x")), (4, None)];
        // The last one gets its values row by row.
        let rows = "upd 1 a ? ? ~ > 1 a ? ? 8; upd 2 b ? ? ~ > 2 b ? ? 9; ins 3 c 1 z 1";
        s.change(&[alter(&old, &new, filled)], rows, 2).await.unwrap();
        assert_eq!(s.rows().await, "1 a 7 '\\x 8, 2 b 7 '\\x 9, 3 c 1 z 1");
        assert_eq!(s.ask(COLUMNS).await, "id text!, v text, w integer!, x character varying(3)!, y integer!");
        let sql = "SELECT count(*)::text FROM pg_attrdef WHERE adrelid = 's.t'::regclass";
        assert_eq!(s.ask(sql).await, "0", "the default is not kept");
        let written =
            "SELECT (xmin::text::bigint <> (SELECT max(xmin::text::bigint) FROM s.t))::text FROM s.t WHERE id = '1'";
        assert_eq!(s.ask(written).await, "false", "it was updated");
    });
}

#[test]
fn nothing_is_there_before_the_commit() {
    run(async {
        let mut s = streaming("t(id key, v)").await;
        s.apply("ins 1 a", 1).await.unwrap();
        let old = s.tables[0].clone();
        let new = with(&old, "w:int");
        let other = tables("u(id key)")[0].clone();
        s.tables[0] = new.clone();
        // No checkpoint: the transaction is open.
        let changes = [alter(&old, &new, &[(2, None)]), SchemaChange::Create(other.clone())];
        s.change(&changes, "ins 2 b 5|", 2).await.unwrap();
        drop(s.sink);
        let known = s.task.known_tables().await.unwrap();
        assert_eq!(known, [KnownTable::There(TargetTable::clone(&old))]);
        s.sink = s.task.sink().await.unwrap();
        assert_eq!(s.ask(COLUMNS).await, "id text!, v text");
        assert_eq!(s.ask("SELECT (to_regclass('s.u') IS NULL)::text").await, "true");
        s.change(&changes, "ins 2 b 5", 2).await.unwrap();
        assert_eq!(s.rows().await, "1 a ~, 2 b 5");
        let mut known = s.task.known_tables().await.unwrap();
        known.sort_by_key(|k| match k {
            KnownTable::There(t) | KnownTable::Kept(t) => t.name.clone(),
            KnownTable::LeftOut(_) => String::new(),
        });
        assert_eq!(known, [KnownTable::There((*new).clone()), KnownTable::There((*other).clone())]);
    });
}

#[test]
fn keys_follow() {
    run(async {
        let mut s = streaming("t(id:int key, v:int! unique)").await;
        s.apply("ins 1 10; ins 2 20", 1).await.unwrap();
        let old = s.tables[0].clone();
        let mut new = TargetTable::clone(&old);
        (new.key, new.key_name, new.unique) = (vec![1], Some("t_pkey".into()), vec![]);
        let new = Arc::new(new);
        s.tables[0] = new.clone();
        // Equal in the new key until the second one goes.
        s.change(&[alter(&old, &new, &[])], "upd 2 20 > 1 20", 2).await.unwrap();
        assert_eq!(s.ask(KEYS).await, "t_pkey PRIMARY KEY (v)");
        assert_eq!(s.rows().await, "1 10, 1 20");
        let mut none = TargetTable::clone(&new);
        (none.key, none.key_name) = (vec![], None);
        let none = Arc::new(none);
        s.tables[0] = none.clone();
        s.change(&[alter(&new, &none, &[])], "ins 1 20", 3).await.unwrap();
        assert_eq!(s.ask(KEYS).await, "");
        assert_eq!(s.rows().await, "1 10, 1 20, 1 20");
    });
}

#[test]
fn names_change_hands_in_one_step() {
    run(async {
        let mut s = streaming("t(id key), u(id key)").await;
        s.apply("t: ins 1; u: ins 2", 1).await.unwrap();
        let (t, u) = (s.tables[0].clone(), s.tables[1].clone());
        let renamed = |table: &TargetTable, name: &str| Arc::new(TargetTable { name: name.into(), ..table.clone() });
        let (new_u, new_t) = (renamed(&t, "u"), renamed(&u, "t"));
        s.tables = vec![new_t.clone(), new_u.clone()];
        let fresh = tables("w(id key)")[0].clone();
        let changes = [alter(&t, &new_u, &[]), alter(&u, &new_t, &[]), SchemaChange::Create(fresh)];
        s.change(&changes, "t: ins 3; u: ins 4", 2).await.unwrap();
        assert_eq!(s.rows().await, "2, 3 | 1, 4");
        // One goes, and another one takes its name.
        let last = renamed(&new_u, "t");
        s.tables = vec![last.clone()];
        s.change(&[SchemaChange::Drop(new_t), alter(&new_u, &last, &[])], "ins 5", 4).await.unwrap();
        assert_eq!(rows(&s.client, &s.tables).await, "1, 4, 5");
        assert_eq!(s.ask("SELECT (to_regclass('s.u') IS NULL)::text").await, "true");
    });
}

/// Messages name the statement, and no value of a row.
#[test]
fn what_is_refused_is_named() {
    run(async {
        let mut s = streaming("t(id key, v)").await;
        s.apply("ins 1 secret", 1).await.unwrap();
        let old = s.tables[0].clone();
        let mut new = TargetTable::clone(&old);
        new.columns[1].pg_type = PgType::Int4;
        let new = Arc::new(new);
        let fault = s.sink.alter(&[alter(&old, &new, &[])]).await.unwrap_err().to_string();
        let step = "ALTER TABLE \"s\".\"t\" ALTER COLUMN \"v\" TYPE integer USING \"v\"::integer";
        assert!(fault.contains(step) && !fault.contains("secret"), "{fault}");
        assert!(s.sink.alter(&[]).await.is_err(), "the sink is not used again");
        assert_eq!(s.rows().await, "1 secret");
    });
}

#[test]
fn a_new_table_does_not_take_what_is_there() {
    run(async {
        let mut s = streaming("t(id key)").await;
        s.client
            .batch_execute("CREATE TABLE s.u (id text PRIMARY KEY); INSERT INTO s.u VALUES ('theirs')")
            .await
            .unwrap();
        let u = tables("u(id key, v unique)")[0].clone();
        let fault = s.sink.alter(&[SchemaChange::Create(u.clone())]).await.unwrap_err();
        assert!(fault.to_string().contains("\"s.u\""), "{fault}");
        s.sink = s.task.sink().await.unwrap();
        // An empty one that fits is taken, and gets what it lacks.
        s.client
            .batch_execute("DELETE FROM s.u; ALTER TABLE s.u ADD v text; CREATE TABLE s.u_v (a int)")
            .await
            .unwrap();
        s.tables.push(u.clone());
        s.change(&[SchemaChange::Create(u)], "u: ins 1 a", 1).await.unwrap();
        assert_eq!(s.rows().await, " | 1 a");
        let names = KEYS.replace("s.t'", "s.u'");
        assert_eq!(s.ask(&names).await, "u_pkey PRIMARY KEY (id), u_v_1 UNIQUE (v)");
    });
}

/// A task of a version that remembered no shapes.
#[test]
fn a_state_without_shapes_is_brought_to_the_present_one() {
    run(async {
        let s = streaming("t(id key)").await;
        let sql = "DROP TABLE logferry.shape, logferry.fence, logferry.reload; ALTER TABLE logferry.task DROP COLUMN whole_at; UPDATE logferry.version SET version = 2";
        s.client.batch_execute(sql).await.unwrap();
        let target = Target::parse(&s.database.url()).unwrap();
        let (task, _) = TaskTarget::open(&target, TaskSettings::new("test")).await.unwrap();
        assert_eq!(task.known_tables().await.unwrap(), []);
    });
}
