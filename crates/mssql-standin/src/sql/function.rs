//! Functions of one row: their types, and what they give.

mod bind;
mod call;
mod date;
mod fact;
mod round;
mod text;

pub(crate) use bind::bind;
pub(crate) use call::call;

macro_rules! functions {
    ($($variant:ident $name:literal $least:literal $most:literal),* $(,)?) => {
        /// A function.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Func { $($variant),* }

        /// Name, least and most arguments.
        const FUNCTIONS: &[(&str, Func, usize, usize)] = &[$(($name, Func::$variant, $least, $most)),*];
    };
}

functions! {
    IsNull "ISNULL" 2 2, Coalesce "COALESCE" 2 99, NullIf "NULLIF" 2 2, Choose "CHOOSE" 2 99,
    Len "LEN" 1 1, DataLength "DATALENGTH" 1 1, Substring "SUBSTRING" 3 3, Left "LEFT" 2 2, Right "RIGHT" 2 2,
    Upper "UPPER" 1 1, Lower "LOWER" 1 1, LTrim "LTRIM" 1 1, RTrim "RTRIM" 1 1, Trim "TRIM" 1 1, Replace "REPLACE" 3 3,
    CharIndex "CHARINDEX" 2 3, PatIndex "PATINDEX" 2 2, Concat "CONCAT" 2 99, ConcatWs "CONCAT_WS" 3 99, Replicate "REPLICATE" 2 2,
    Space "SPACE" 1 1, Reverse "REVERSE" 1 1, Stuff "STUFF" 4 4, Ascii "ASCII" 1 1, Unicode "UNICODE" 1 1, Char "CHAR" 1 1,
    NChar "NCHAR" 1 1, QuoteName "QUOTENAME" 1 2, Str "STR" 1 3, BinaryCollation "$BINARY_COLLATION" 1 1,
    Abs "ABS" 1 1, Round "ROUND" 2 3, Floor "FLOOR" 1 1, Ceiling "CEILING" 1 1, Sign "SIGN" 1 1, Power "POWER" 2 2,
    Sqrt "SQRT" 1 1, Exp "EXP" 1 1, Log "LOG" 1 1, Pi "PI" 0 0, Rand "RAND" 0 1, Checksum "CHECKSUM" 1 99,
    ParseName "PARSENAME" 2 2, VariantProperty "SQL_VARIANT_PROPERTY" 2 2, CurrentTransactionId "CURRENT_TRANSACTION_ID" 0 0,
    ConnectionProperty "CONNECTIONPROPERTY" 1 1, SuserSid "SUSER_SID" 0 2, OriginalDbName "ORIGINAL_DB_NAME" 0 0,
    ObjectDefinition "OBJECT_DEFINITION" 1 1, SwitchOffset "SWITCHOFFSET" 2 2, ToDateTimeOffset "TODATETIMEOFFSET" 2 2,
    HexText "FN_VARBINTOHEXSTR" 1 1, MinActiveRowVersion "MIN_ACTIVE_ROWVERSION" 0 0, AtProcId "@@PROCID" 0 0,
    IsNumeric "ISNUMERIC" 1 1, IsDate "ISDATE" 1 1,
    GetDate "GETDATE" 0 0, CurrentTimestamp "CURRENT_TIMESTAMP" 0 0, GetUtcDate "GETUTCDATE" 0 0, SysDateTime "SYSDATETIME" 0 0,
    SysUtcDateTime "SYSUTCDATETIME" 0 0, SysDateTimeOffset "SYSDATETIMEOFFSET" 0 0,
    DateAdd "DATEADD" 3 3, DateDiff "DATEDIFF" 3 3, DateDiffBig "DATEDIFF_BIG" 3 3, DatePart "DATEPART" 2 2, DateName "DATENAME" 2 2,
    Year "YEAR" 1 1, Month "MONTH" 1 1, Day "DAY" 1 1, EoMonth "EOMONTH" 1 1, DateFromParts "DATEFROMPARTS" 3 3,
    NewId "NEWID" 0 0, NewSequentialId "NEWSEQUENTIALID" 0 0,
    DbName "DB_NAME" 0 1, DbId "DB_ID" 0 1, SchemaName "SCHEMA_NAME" 0 1, SchemaId "SCHEMA_ID" 0 1, ObjectId "OBJECT_ID" 1 2,
    ObjectName "OBJECT_NAME" 1 2, ObjectSchemaName "OBJECT_SCHEMA_NAME" 1 2, ColumnProperty "COLUMNPROPERTY" 3 3,
    ObjectProperty "OBJECTPROPERTY" 2 2, ObjectPropertyEx "OBJECTPROPERTYEX" 2 2, TypeName "TYPE_NAME" 1 1, TypeId "TYPE_ID" 1 1, ColName "COL_NAME" 2 2,
    ColLength "COL_LENGTH" 2 2, ServerProperty "SERVERPROPERTY" 1 1, DatabasePropertyEx "DATABASEPROPERTYEX" 2 2,
    IndexProperty "INDEXPROPERTY" 3 3, CollationProperty "COLLATIONPROPERTY" 2 2, HasPerms "HAS_PERMS_BY_NAME" 3 5, HasDbAccess "HAS_DBACCESS" 1 1,
    IsSrvRoleMember "IS_SRVROLEMEMBER" 1 2, IsMember "IS_MEMBER" 1 1, IsRoleMember "IS_ROLEMEMBER" 1 2,
    SuserSname "SUSER_SNAME" 0 1, SuserName "SUSER_NAME" 0 1, SystemUser "SYSTEM_USER" 0 0, OriginalLogin "ORIGINAL_LOGIN" 0 0,
    UserName "USER_NAME" 0 1, CurrentUser "CURRENT_USER" 0 0, SessionUser "SESSION_USER" 0 0, User "USER" 0 0,
    UserId "USER_ID" 0 1, SuserId "SUSER_ID" 0 1, HostName "HOST_NAME" 0 0, AppName "APP_NAME" 0 0, SessionProperty "SESSIONPROPERTY" 1 1,
    ScopeIdentity "SCOPE_IDENTITY" 0 0, IdentCurrent "IDENT_CURRENT" 1 1, IdentSeed "IDENT_SEED" 1 1, IdentIncr "IDENT_INCR" 1 1,
    XactState "XACT_STATE" 0 0, ErrorNumber "ERROR_NUMBER" 0 0, ErrorMessage "ERROR_MESSAGE" 0 0, ErrorSeverity "ERROR_SEVERITY" 0 0,
    ErrorState "ERROR_STATE" 0 0, ErrorLine "ERROR_LINE" 0 0, ErrorProcedure "ERROR_PROCEDURE" 0 0,
    AtVersion "@@VERSION" 0 0, AtSpid "@@SPID" 0 0, AtTranCount "@@TRANCOUNT" 0 0, AtRowCount "@@ROWCOUNT" 0 0, RowCountBig "ROWCOUNT_BIG" 0 0,
    AtIdentity "@@IDENTITY" 0 0, AtError "@@ERROR" 0 0, AtServerName "@@SERVERNAME" 0 0, AtServiceName "@@SERVICENAME" 0 0,
    AtLanguage "@@LANGUAGE" 0 0, AtDateFirst "@@DATEFIRST" 0 0, AtMaxPrecision "@@MAX_PRECISION" 0 0, AtLockTimeout "@@LOCK_TIMEOUT" 0 0,
    AtOptions "@@OPTIONS" 0 0, AtMicrosoftVersion "@@MICROSOFTVERSION" 0 0, AtTextSize "@@TEXTSIZE" 0 0, AtNestLevel "@@NESTLEVEL" 0 0, AtDbts "@@DBTS" 0 0,
    CdcMaxLsn "FN_CDC_GET_MAX_LSN" 0 0, CdcMinLsn "FN_CDC_GET_MIN_LSN" 1 1, CdcIncrement "FN_CDC_INCREMENT_LSN" 1 1,
    CdcDecrement "FN_CDC_DECREMENT_LSN" 1 1, CdcMapLsn "FN_CDC_MAP_LSN_TO_TIME" 1 1, CdcMapTime "FN_CDC_MAP_TIME_TO_LSN" 2 2,
    CdcIsBitSet "FN_CDC_IS_BIT_SET" 2 2, CdcColumnOrdinal "FN_CDC_GET_COLUMN_ORDINAL" 2 2,
    HierarchyRoot "HIERARCHYID::GETROOT" 0 0, HierarchyParse "HIERARCHYID::PARSE" 1 1,
    GeometryParse "GEOMETRY::PARSE" 1 1, GeometryText "GEOMETRY::STGEOMFROMTEXT" 2 2, GeometryPoint "GEOMETRY::POINT" 3 3,
    GeographyParse "GEOGRAPHY::PARSE" 1 1, GeographyText "GEOGRAPHY::STGEOMFROMTEXT" 2 2, GeographyPoint "GEOGRAPHY::POINT" 3 3,
    ClrText "$CLR_TEXT" 1 1, ClrLevel "$CLR_LEVEL" 1 1,
    Updated "$UPDATED" 1 1, EventData "EVENTDATA" 0 0, XmlValue "$XML_VALUE" 2 2, XmlQuery "$XML_QUERY" 2 2, XmlExist "$XML_EXIST" 2 2,
    CdcHasChanged "FN_CDC_HAS_COLUMN_CHANGED" 3 3,
}

impl Func {
    /// Whether it gives the same for the whole statement.
    pub fn is_steady(self) -> bool {
        !matches!(self, Func::NewId | Func::NewSequentialId | Func::Rand)
    }
}

/// `[a].[b]`, `a.b` as parts.
pub(crate) fn split_name(text: &str) -> Vec<String> {
    let (mut parts, mut part, mut quote) = (Vec::new(), String::new(), None);
    let mut chars = text.trim().chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '[') => quote = Some(']'),
            (None, '"') => quote = Some('"'),
            (None, '.') => parts.push(std::mem::take(&mut part)),
            (Some(q), c) if c == q => {
                if chars.peek() == Some(&q) {
                    part.push(q);
                    chars.next();
                } else {
                    quote = None;
                }
            }
            (_, c) => part.push(c),
        }
    }
    parts.push(part);
    parts
}
