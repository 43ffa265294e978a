use super::*;

fn column(id: u32, name: &str, xtype: u8, nullable: bool) -> Column {
    Column {
        row: ColumnRow {
            object: 7,
            number: 0,
            id,
            name: name.to_owned(),
            xtype,
            utype: u32::from(xtype),
            length: 4,
            precision: 10,
            scale: 0,
            collation: 0x3400_d008,
            status: 0,
            identity: None,
        },
        nullable,
        computed: false,
        persisted: false,
        column_set: false,
        collation: None,
        identity: None,
        alias: None,
    }
}

fn index(id: u32, name: &str, columns: &[u32]) -> Index {
    Index {
        id,
        name: name.to_owned(),
        unique: true,
        primary: false,
        filtered: false,
        disabled: false,
        columns: columns.to_vec(),
    }
}

/// Columns: a int, b int NULL, c varchar, d int. Gives the columns that the rows are cut by.
#[track_caller]
fn check(indexes: &[Index], expect: &[&str]) {
    let columns = vec![
        column(1, "a", 56, false),
        column(2, "b", 56, true),
        Column { row: ColumnRow { length: 90, ..column(3, "c", 167, false).row }, ..column(3, "c", 167, false) },
        column(4, "d", 56, false),
        column(5, "m", 60, false),
    ];
    let table = build(7, TableName::new("dbo", "t"), columns, indexes, None);
    let clustered = indexes.iter().any(|index| index.id == 1 && index.unique);
    assert_eq!(table.is_cut_by_clustered_key(), table.order.is_none() || clustered && table.clustered.is_some());
    let order = table.order.map(|o| o.columns.into_iter().map(|c| c.name).collect::<Vec<_>>());
    assert_eq!(order.unwrap_or_default(), expect);
}

/// A chunk by anything else than a key that is never NULL would lose rows or have them twice.
#[test]
fn only_a_unique_key_that_is_never_null_cuts_a_table() {
    check(&[], &[]);
    check(&[index(1, "cx", &[2])], &[]);
    check(&[Index { unique: false, ..index(1, "cx", &[1]) }], &[]);
    check(&[index(2, "ux", &[2, 1])], &[]);
    check(&[Index { filtered: true, ..index(2, "ux", &[1]) }, Index { disabled: true, ..index(3, "uy", &[1]) }], &[]);
    check(&[index(1, "cx", &[4, 1]), Index { primary: true, ..index(3, "pk", &[1]) }], &["d", "a"]);
    check(&[index(1, "cx", &[3])], &["c"]);
    // Money cannot be handed back to the server as what it is.
    check(&[Index { primary: true, ..index(2, "pk", &[5]) }], &[]);
}

/// Of a heap, or where the clustered index is not unique: the primary key, else the one with the fewest and narrowest columns.
#[test]
fn the_best_unique_key_cuts_a_table_without_a_unique_clustered_one() {
    let pk = |id, columns: &[u32]| Index { primary: true, ..index(id, "pk", columns) };
    check(&[index(2, "ux", &[1]), pk(3, &[3, 4])], &["c", "d"]);
    check(&[Index { unique: false, ..index(1, "cx", &[2]) }, pk(3, &[4])], &["d"]);
    check(&[index(2, "ux", &[3, 4]), index(3, "uy", &[3]), index(4, "uz", &[4])], &["d"]);
    check(&[index(2, "ux", &[1]), index(3, "uy", &[4])], &["a"]);
    check(&[index(2, "ux", &[4, 1]), index(3, "uy", &[3])], &["c"]);
    check(&[pk(2, &[5]), index(3, "uy", &[3])], &["c"]);
    check(&[index(1, "cx", &[2]), index(3, "uy", &[3])], &["c"]);
}

#[test]
fn what_is_left_out_is_told() {
    let columns = vec![
        column(1, "a", 56, false),
        Column { computed: true, ..column(2, "twice", 56, false) },
        Column { computed: true, persisted: true, ..column(3, "kept", 56, false) },
        Column { column_set: true, ..column(4, "all", 241, true) },
        column(5, "doc", 241, true),
    ];
    let table = build(7, TableName::new("dbo", "t"), columns, &[index(2, "ux", &[2])], None);
    let names: Vec<&str> = table.version.columns.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(names, ["a", "kept", "doc"]);
    assert_eq!(table.version.notes.len(), 4, "{:?}", table.version.notes);
}

/// A type that is not shown must not become its base type without a word.
#[test]
fn alias_types_that_are_not_shown_are_told() {
    let alias = || Some(AliasType { schema: "dbo".to_owned(), name: "money_of_ours".to_owned() });
    let of = |name: &str, xtype, utype, alias| {
        let mut column = Column { alias, ..column(1, name, xtype, false) };
        column.row.utype = utype;
        column
    };
    let columns = vec![
        of("plain", 56, 56, None),
        of("sysname", 231, 256, None),
        of("shown", 106, 257, alias()),
        of("hidden", 106, 257, None),
        of("spatial", 240, 130, None),
        of("clr", 240, 300, None),
    ];
    let table = build(7, TableName::new("dbo", "t"), columns, &[], None);
    assert_eq!(table.version.notes, [format!("column \"hidden\" {HIDDEN_TYPE}")]);
}

#[test]
fn rows_are_known_by_the_unique_clustered_key() {
    let key =
        |name: &str, column: usize, clustered| UniqueKey { name: name.to_owned(), columns: vec![column], clustered };
    let version = |primary_key, unique_keys| TableVersion {
        id: TableId(1),
        version: 1,
        name: TableName::new("dbo", "t"),
        columns: Vec::new(),
        primary_key,
        unique_keys,
        notes: Vec::new(),
    };
    let order = || Order { columns: Vec::new() };
    let known = |version: TableVersion, order: Option<Order>| {
        Table {
            version: Arc::new(version),
            order: None,
            clustered: order,
            by_primary: None,
            columns: Vec::new(),
            size: None,
            condition: None,
        }
        .known_by_clustered_key()
        .version
    };
    let (pk, ux) = (|| key("pk", 0, false), || key("ux", 1, true));
    let found = known(version(Some(pk()), vec![ux()]), Some(order()));
    assert_eq!((found.primary_key.clone(), found.unique_keys.clone()), (Some(ux()), vec![pk()]));
    let found = known(version(None, vec![ux()]), Some(order()));
    assert_eq!((found.primary_key.clone(), found.unique_keys.clone()), (Some(ux()), vec![]));
    // A column of the clustered key may be NULL: no.
    let found = known(version(Some(pk()), vec![ux()]), None);
    assert_eq!((found.primary_key.clone(), found.unique_keys.clone()), (Some(pk()), vec![ux()]));
}
