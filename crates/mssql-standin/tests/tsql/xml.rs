//! Values of the type xml.

use crate::{check, connect, server};

#[test]
fn values() {
    check(
        &mut connect(&server()),
        &[
            ("CREATE TABLE t (id int PRIMARY KEY, x xml NULL)", ""),
            (
                "INSERT t VALUES (1, '<?xml version=\"1.0\"?>\n<a  b = ''1'' c=\"&lt;&quot;\">\n  <d></d> <e>x &amp; y</e><![CDATA[<z>]]>\n</a>'), (2, NULL), (3, N'<p:é xmlns:p=\"urn:x\"><!--c--><?t d?>ü</p:é>'), (4, ''), (5, CONVERT(xml, ' <a> </a> ', 1))",
                "#5",
            ),
            (
                "SELECT x FROM t ORDER BY id",
                "\"<a b=\\\"1\\\" c=\\\"&lt;&quot;\\\"><d/><e>x &amp; y</e>&lt;z&gt;</a>\" | null | \"<p:é xmlns:p=\\\"urn:x\\\"><!--c--><?t d?>ü</p:é>\" | \"\" | \" <a> </a> \"",
            ),
            (
                "UPDATE t SET x = '<n>7</n>' WHERE id = 2; SELECT x.value('(/n)[1]', 'int') + 1, CAST(x AS nvarchar(max)) FROM t WHERE id = 2",
                "#1 ; 8, \"<n>7</n>\"",
            ),
            (
                "SELECT x.value('(/a/@c)[1]', 'varchar(9)'), x.exist('/a/e'), x.exist('/a/f') FROM t WHERE id = 1",
                "\"<\\\"\", true, false",
            ),
            (
                "INSERT t VALUES (9, '<a><b></a>')",
                "!9436 XML parsing: line 1, character 11, end tag does not match start tag",
            ),
            ("INSERT t VALUES (9, '<a>')", "!9400 XML parsing: line 1, character 4, unexpected end of input"),
            (
                "SELECT x.value('/a', 'int') FROM t",
                "!2389 XQuery [value()]: 'value()' requires a singleton (or empty sequence), found operand of type 'xdt:untypedAtomic *'",
            ),
            (
                "SELECT id FROM t WHERE x = '<a/>'",
                "!402 The data types are incompatible in the equal to operator: text, ntext, image and xml cannot be compared.",
            ),
            (
                "SELECT CONVERT(varbinary(max), CONVERT(xml, '<root/>'))",
                "\"0xDFFF01B004F00472006F006F007400EF000001F801F7\"",
            ),
        ],
    );
}
