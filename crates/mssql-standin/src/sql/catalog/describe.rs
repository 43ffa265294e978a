//! The rows of `sp_describe_first_result_set`.

use super::super::plan::Column;
use super::super::sink::ResultColumn;
use super::super::types;
use super::shape::{NULL, Rows, b, n, t, view};

const RESULT: &str = "is_hidden bit=0, column_ordinal int, name sysname?, is_nullable bit, system_type_id int, system_type_name n256?, max_length smallint, precision tinyint, scale tinyint, collation_name sysname?, user_type_id int?, user_type_database sysname?, user_type_schema sysname?, user_type_name sysname?, assembly_qualified_type_name n4000?, xml_collection_id int?, xml_collection_database sysname?, xml_collection_schema sysname?, xml_collection_name sysname?, is_xml_document bit=0, is_case_sensitive bit=0, is_fixed_length_clr_type bit=0, source_server sysname?, source_database sysname?, source_schema sysname?, source_table sysname?, source_column sysname?, is_identity_column bit?, is_part_of_unique_key bit?, is_updateable bit?=1, is_computed_column bit?=0, is_sparse_column_set bit?=0, ordinal_in_order_by_list smallint?, order_by_is_descending smallint?, order_by_list_length smallint?, tds_type_id int, tds_length int, tds_collation_id int?, tds_collation_sort_id tinyint?";

/// What a result's columns are, as rows.
pub(crate) fn described(columns: &[ResultColumn]) -> (Vec<Column>, Rows) {
    view(
        RESULT,
        [
            "column_ordinal",
            "name",
            "is_nullable",
            "system_type_id",
            "system_type_name",
            "max_length",
            "precision",
            "scale",
            "collation_name",
            "is_identity_column",
            "tds_type_id",
            "tds_length",
        ],
        columns.iter().enumerate().map(|(at, c)| {
            let (length, precision, scale) = types::sizes(&c.sql_type);
            [
                n(at as i64 + 1),
                if c.name.is_empty() { NULL } else { t(&c.name) },
                b(c.nullable),
                n(types::code(&c.sql_type)),
                t(&super::super::deparse::plain_type(&c.sql_type)),
                n(length),
                n(precision),
                n(scale),
                if types::is_text(&c.sql_type) { t("SQL_Latin1_General_CP1_CI_AS") } else { NULL },
                b(c.identity),
                n(types::code(&c.sql_type)),
                n(if length == -1 { 65535 } else { i64::from(length) }),
            ]
        }),
    )
}
