//! Triggers and their events.

use super::super::super::plan::Column;
use super::super::super::state::Db;
use super::super::super::trigger::event_number;
use super::super::shape::{NULL, Rows, b, n, t, view as shaped};

/// A view of this file.
pub(super) fn view(db: &Db, view: &str) -> Option<(Vec<Column>, Rows)> {
    Some(match view {
        "triggers" => shaped(
            "name sysname, object_id int, parent_class tinyint, parent_class_desc n60?, parent_id int, type char2=TR, type_desc n60?=SQL_TRIGGER, create_date datetime, modify_date datetime, is_ms_shipped bit=0, is_disabled bit, is_not_for_replication bit=0, is_instead_of_trigger bit=0",
            [
                "name",
                "object_id",
                "parent_class",
                "parent_class_desc",
                "parent_id",
                "create_date",
                "modify_date",
                "is_disabled",
                "is_not_for_replication",
            ],
            db.triggers.iter().map(|(id, trigger)| {
                [
                    t(&trigger.name),
                    n(*id),
                    n(u8::from(trigger.table.is_some())),
                    t(if trigger.table.is_some() { "OBJECT_OR_COLUMN" } else { "DATABASE" }),
                    n(trigger.table.unwrap_or(0)),
                    trigger.created.clone(),
                    trigger.modified.clone(),
                    b(trigger.disabled),
                    b(trigger.not_for_replication),
                ]
            }),
        ),
        "trigger_events" => shaped(
            "object_id int, type int, type_desc n60, is_trigger_event bit?=1, is_first bit?=0, is_last bit?=0, event_group_type int?, event_group_type_desc n60?",
            ["object_id", "type", "type_desc", "event_group_type", "event_group_type_desc"],
            db.triggers.iter().flat_map(|(id, trigger)| {
                let of_rows = trigger.events.iter().filter(|_| trigger.table.is_some()).map(|e| {
                    let number = ["INSERT", "UPDATE", "DELETE"].iter().position(|v| v == e).unwrap_or(0);
                    [n(*id), n(number as i64 + 1), t(e), NULL, NULL]
                });
                let of_definitions = trigger.expanded().into_iter().map(|(event, group)| {
                    [
                        n(*id),
                        n(event_number(event).unwrap_or(0)),
                        t(event),
                        group.and_then(event_number).map_or(NULL, n),
                        group.map_or(NULL, t),
                    ]
                });
                of_rows.chain(of_definitions).collect::<Vec<_>>()
            }),
        ),
        _ => return None,
    })
}
