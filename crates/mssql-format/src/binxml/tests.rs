use super::*;

/// Tokens from a text: `+name` defines a name, `*uri prefix local` a qualified one, `'text` is an nvarchar, all else hexadecimal.
fn tokens(text: &str) -> Vec<u8> {
    let mut bytes = vec![0xDF, 0xFF, 2, 0xB0, 0x04];
    let units = |bytes: &mut Vec<u8>, text: &str| {
        let units: Vec<u16> = text.encode_utf16().collect();
        if units.len() < 0x80 {
            bytes.push(units.len() as u8);
        } else {
            bytes.extend([units.len() as u8 | 0x80, (units.len() >> 7) as u8]);
        }
        bytes.extend(units.iter().flat_map(|u| u.to_le_bytes()));
    };
    for line in text.lines().map(str::trim) {
        if let Some(name) = line.strip_prefix('+') {
            bytes.push(0xF0);
            units(&mut bytes, name);
        } else if let Some(name) = line.strip_prefix('*') {
            bytes.push(0xEF);
            bytes.extend(name.split(' ').map(|n| n.parse::<u8>().unwrap()));
        } else if let Some((token, text)) = line.split_once('\'') {
            bytes.extend(hex(token));
            units(&mut bytes, text);
        } else {
            bytes.extend(hex(line));
        }
    }
    bytes
}

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap()).collect()
}

#[track_caller]
fn check(input: &str, expect: Result<&str, &str>) {
    let mut out = b"before".to_vec();
    match (super::text(&tokens(input), &mut out), expect) {
        (Ok(()), Ok(expect)) => assert_eq!(String::from_utf8(out).unwrap(), format!("before{expect}")),
        (Err(e), Err(expect)) => assert!(e.to_string().contains(expect), "{e}"),
        (found, _) => panic!("{found:?} {}", String::from_utf8_lossy(&out)),
    }
}

#[test]
fn elements_attributes_and_text() {
    check("+root\n*0 0 1\nF8 01\n11'a < b & \"c\"\nF7", Ok("<root>a &lt; b &amp; \"c\"</root>"));
    check("+root\n*0 0 1\nF8 01 F7", Ok("<root/>"));
    check(
        "+urn:x\n+xmlns\n+http://www.w3.org/2000/xmlns/\n+p\n+item\n+id\n*3 2 4\n*1 4 5\n*0 0 6\n\
         F8 02 F6 01\n11'urn:x\nF6 03\n11'\"1\"\nF5 F8 02 F7\n11'\u{10348} é\nF7",
        Ok("<p:item xmlns:p=\"urn:x\" id=\"&quot;1&quot;\"><p:item/>\u{10348} é</p:item>"),
    );
    // A fragment: text, a comment, an instruction, two elements.
    check("11'x\n+a\n*0 0 1\nF8 01 F7\nF3'c\n+t\nF4 02'd=1\nF8 01 F7", Ok("x<a/><!--c--><?t d=1?><a/>"));
    check("+a\n*0 0 1\nF8 01\nF2'a<\nF2'b\nF1 F7", Ok("<a><![CDATA[a<b]]></a>"));
    check("FE'1.0\nFD'utf-16\n01\n+a\n*0 0 1\nF8 01 F7", Ok("<a/>"));
    check("", Ok(""));
    let mut out = Vec::new();
    super::text(&[], &mut out).unwrap();
    assert_eq!(out, b"");
}

#[test]
fn typed_values() {
    let value =
        |token: &str, expect: &str| check(&format!("+a\n*0 0 1\nF8 01\n{token}\nF7"), Ok(&format!("<a>{expect}</a>")));
    value("02 85FFFFFF", "-123");
    value("07 FF", "255");
    value("86 01", "true");
    value("88 80", "-128");
    value("8B FFFFFFFFFFFFFFFF", "18446744073709551615");
    value("04 000000000000F83F", "1.5");
    value("04 000000000000F0FF", "-INF");
    value("03 CDCCCC3D", "0.1");
    value("05 F0D8FFFFFFFFFFFF", "-1.00");
    value("0A 07 05 02 00 39300000", "-123.45");
    value("87 07 05 02 01 BC020000", "7");
    value("85 04 00010203", "AAECAw==");
    value("84 02 00AB", "00AB");
    value("8C 01", "a");
    value("09 FF19966F868B11D0B42D00C04FC964FF", "6f9619ff-8b86-d011-b42d-00c04fc964ff");
    value("7F 07240B", "2000-01-01");
    value("7E 03 01000000 07240B", "2000-01-01T00:00:00.001");
    value("7D 00 010000 07240B", "00:00:01");
    value("7B 00 000000 07240B 4A01", "2000-01-01T05:30:00+05:30");
    value("7C 00 000000 07240B 0000", "2000-01-01Z");
    value("12 00000000 2C010000", "1900-01-01T00:00:01");
    // A list.
    value("02 01000000 02 02000000", "1 2");
    let stored = |y: i64, m: i64, d: i64| (((y + 9999) * 12 + m - 1) * 31 + d - 1) * (29 * 60);
    let bytes = |n: i64| n.to_le_bytes().map(|b| format!("{b:02x}")).concat();
    value(&format!("83 {}", bytes((stored(2006, 3, 1) + 14 * 60) * 4)), "2006-03-01Z");
    value(&format!("83 {}", bytes((stored(2006, 3, 1) + 14 * 60 - 60) * 4)), "2006-03-01+01:00");
    let stored = ((((2006 + 9999) * 12 + 2) * 31) * 24 + 13) * 3_600_000 + 61_500;
    value(&format!("82 {}", bytes(stored * 4)), "2006-03-01T13:01:01.500Z");
    value(&format!("81 {}", bytes(3_600_000 * 4)), "01:00:00Z");
}

#[test]
fn what_is_malformed_is_refused() {
    let a = "+a\n*0 0 1\n";
    check(&format!("{a}F8 01"), Err("an element does not end"));
    check("F7", Err("an element ends that did not begin"));
    check(&format!("{a}F8 02 F7"), Err("no qualified name 2"));
    check(&format!("{a}F8 00 F7"), Err("no qualified name 0"));
    check("*0 0 1\n", Err("no name 1"));
    check(&format!("{a}F6 01"), Err("an attribute outside of a tag"));
    check(&format!("{a}F8 01 F6 01 F7"), Err("inside of its attributes"));
    check(&format!("{a}F8 01 8D"), Err("the token 0x8d"));
    check("FC", Err("the token 0xfc"));
    check("EC", Err("the token 0xec"));
    check("11 01 00D8", Err("half a character"));
    check("11 FFFFFFFFFF7F", Err("number has more than five bytes"));
    check("7E 08", Err("a time of scale 8"));
    check("15", Err("unknown type 0x15"));
    assert!(super::text(&[0xDF, 0xFF, 3, 0xB0, 4], &mut Vec::new()).is_err());
    assert!(super::text(b"<a/>", &mut Vec::new()).is_err());
    let good = tokens(
        "+a\n+b\n*1 2 1\n*0 0 1\nF8 01 F6 02\n11'x\nF5\n7E 03 01000000 07240B\n0A 07 05 02 00 39300000\nF3'c\nF7",
    );
    for at in 0..good.len() {
        let _ = super::text(&good[..at], &mut Vec::new());
        for byte in [0, 1, 0x7F, 0x80, 0x8C, 0xEA, 0xF2, 0xFF] {
            let mut other = good.clone();
            other[at] = byte;
            let _ = super::text(&other, &mut Vec::new());
        }
    }
}
