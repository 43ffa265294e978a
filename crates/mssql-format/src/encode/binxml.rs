//! `xml`: elements and text to binary XML, in the order and with the tokens that `binxml` reads.
//!
//! Names are defined where they are first used, text is `nvarchar`. A prefix that was never declared has an empty namespace: whether
//! documents are sound is the caller's business.

use std::collections::HashMap;

const HEADER: [u8; 5] = [0xDF, 0xFF, 0x01, 0xB0, 0x04];
const XMLNS: &str = "http://www.w3.org/2000/xmlns/";
const XML: &str = "http://www.w3.org/XML/1998/namespace";

/// Writes one value.
#[derive(Debug)]
pub struct XmlWriter {
    out: Vec<u8>,
    names: HashMap<String, u32>,
    qualified: HashMap<[u32; 3], u32>,
    /// Declared prefixes and their namespaces, the innermost last.
    declared: Vec<(String, String)>,
    /// How many were declared before each open element.
    open: Vec<usize>,
}

impl Default for XmlWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl XmlWriter {
    /// A value without anything in it.
    pub fn new() -> Self {
        let declared = vec![("xml".to_owned(), XML.to_owned())];
        XmlWriter { out: HEADER.to_vec(), names: HashMap::new(), qualified: HashMap::new(), declared, open: Vec::new() }
    }

    /// An element begins. Declarations of namespaces are attributes like others.
    pub fn start(&mut self, name: &str, attributes: &[(&str, &str)]) {
        self.open.push(self.declared.len());
        for (attribute, value) in attributes {
            let prefix = match attribute.strip_prefix("xmlns:") {
                Some(prefix) => prefix,
                None if *attribute == "xmlns" => "",
                None => continue,
            };
            self.declared.push((prefix.to_owned(), (*value).to_owned()));
        }
        let element = self.qualified_name(name, false);
        self.out.push(0xF8);
        self.number(element);
        for (attribute, value) in attributes {
            let name = self.qualified_name(attribute, true);
            self.out.push(0xF6);
            self.number(name);
            self.text(value);
        }
        if !attributes.is_empty() {
            self.out.push(0xF5);
        }
    }

    /// The innermost element ends.
    pub fn end(&mut self) {
        self.out.push(0xF7);
        let declared = self.open.pop().unwrap_or(1);
        self.declared.truncate(declared);
    }

    /// Text.
    pub fn text(&mut self, text: &str) {
        self.out.push(0x11);
        self.units(text);
    }

    /// A comment.
    pub fn comment(&mut self, text: &str) {
        self.out.push(0xF3);
        self.units(text);
    }

    /// A processing instruction.
    pub fn instruction(&mut self, name: &str, text: &str) {
        let name = self.name(name);
        self.out.push(0xF4);
        self.number(name);
        self.units(text);
    }

    /// The value's bytes.
    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    fn qualified_name(&mut self, name: &str, attribute: bool) -> u32 {
        let (prefix, local) = name.split_once(':').unwrap_or(("", name));
        let uri = match (prefix, attribute) {
            ("xmlns", _) => XMLNS.to_owned(),
            ("", true) if local == "xmlns" => XMLNS.to_owned(),
            ("", true) => String::new(),
            _ => {
                let found = self.declared.iter().rev().find(|(p, _)| p == prefix);
                found.map(|(_, uri)| uri.clone()).unwrap_or_default()
            }
        };
        let key = [self.name(&uri), self.name(prefix), self.name(local)];
        if let Some(known) = self.qualified.get(&key) {
            return *known;
        }
        self.out.push(0xEF);
        key.iter().for_each(|part| self.number(*part));
        let number = self.qualified.len() as u32 + 1;
        self.qualified.insert(key, number);
        number
    }

    fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        if let Some(known) = self.names.get(name) {
            return *known;
        }
        self.out.push(0xF0);
        self.units(name);
        let number = self.names.len() as u32 + 1;
        self.names.insert(name.to_owned(), number);
        number
    }

    fn units(&mut self, text: &str) {
        self.number(text.encode_utf16().count() as u32);
        self.out.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
    }

    fn number(&mut self, mut number: u32) {
        while number >= 0x80 {
            self.out.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.out.push(number as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::XmlWriter;

    #[test]
    fn what_is_written_reads_back() {
        let mut writer = XmlWriter::new();
        writer.start("root", &[]);
        writer.end();
        // As servers show it: CONVERT(varbinary(max), CONVERT(xml, '<root/>')).
        let hex: String = writer.finish().iter().map(|b| format!("{b:02X}")).collect();
        assert_eq!(hex, "DFFF01B004F00472006F006F007400EF000001F801F7");

        let mut writer = XmlWriter::new();
        writer.text("before");
        writer.start("p:a", &[("xmlns:p", "urn:1"), ("p:x", "1 < \"2\""), ("y", "")]);
        writer.start("b", &[("xmlns", "urn:2")]);
        writer.text(&"long & é \u{10348}".repeat(40));
        writer.end();
        writer.comment("c");
        writer.instruction("t", "d=1");
        writer.start("p:a", &[]);
        writer.end();
        writer.end();
        let mut text = Vec::new();
        crate::binxml::text(&writer.finish(), &mut text).unwrap();
        let long = "long &amp; é \u{10348}".repeat(40);
        let expect = format!(
            "before<p:a xmlns:p=\"urn:1\" p:x=\"1 &lt; &quot;2&quot;\" y=\"\"><b xmlns=\"urn:2\">{long}</b><!--c--><?t d=1?><p:a/></p:a>"
        );
        assert_eq!(String::from_utf8(text).unwrap(), expect);
    }
}
