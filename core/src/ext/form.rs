//! XEP-0004: data forms, as far as answers and queries need them. XEP-0068 says how they are typed, XEP-0128 how they extend
//! disco#info.

use crate::error::Condition;
use crate::ns;
use crate::xml::{Element, Writer};

/// Opens a form of type `result` whose fields are those of `form_type`. The caller adds them and closes it.
pub(crate) fn open_result(xml: &mut Writer<'_>, form_type: &str) {
    open(xml, "result", form_type);
}

/// Opens a form of type `submit`, as whoever fills one in does. The caller adds its fields and closes it.
pub(crate) fn open_submit(xml: &mut Writer<'_>, form_type: &str) {
    open(xml, "submit", form_type);
}

/// Opens a form of type `form`, to be filled in. The caller adds its fields and closes it.
pub(crate) fn open_form(xml: &mut Writer<'_>, form_type: &str) {
    open(xml, "form", form_type);
}

fn open(xml: &mut Writer<'_>, kind: &'static str, form_type: &str) {
    xml.open("x").ns(ns::DATA_FORMS).attr("type", kind);
    // XEP-0068 §3.1
    hidden(xml, "FORM_TYPE", form_type);
}

/// A field that is to be filled in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blank {
    /// Its name.
    pub var: &'static str,
    /// Its type. XEP-0004 §3.3
    pub kind: &'static str,
    /// What people read.
    pub label: &'static str,
    /// Whether the form is good for nothing without it.
    pub required: bool,
    /// What can be chosen, the first of which is the value that it has already; none where anything can be written.
    pub options: &'static [&'static str],
}

impl Blank {
    /// A field that has to be filled in with something.
    pub const fn new(var: &'static str, kind: &'static str, label: &'static str) -> Blank {
        Blank { var, kind, label, required: true, options: &[] }
    }

    /// The same, which can be left empty.
    pub const fn optional(self) -> Blank {
        Blank { required: false, ..self }
    }

    /// The same, where one of these is chosen.
    pub const fn of(self, options: &'static [&'static str]) -> Blank {
        Blank { options, ..self }
    }
}

/// A field that is to be filled in.
pub(crate) fn blank(xml: &mut Writer<'_>, blank: &Blank) {
    xml.open("field").attr("var", blank.var).attr("type", blank.kind).attr("label", blank.label);
    if blank.required {
        xml.leaf("required", &[]);
    }
    if let Some(first) = blank.options.first() {
        xml.simple("value", first);
    }
    for option in blank.options {
        xml.open("option").attr("label", option).simple("value", option).close();
    }
    xml.close();
}

/// A field that clients give back as it is.
pub(crate) fn hidden(xml: &mut Writer<'_>, name: &str, value: &str) {
    xml.open("field").attr("var", name).attr("type", "hidden").simple("value", value).close();
}

/// A field and its values.
pub(crate) fn field<'v>(xml: &mut Writer<'_>, name: &str, values: impl IntoIterator<Item = &'v str>) {
    xml.open("field").attr("var", name);
    for value in values {
        xml.simple("value", value);
    }
    xml.close();
}

/// A field that was filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Field {
    /// Its name.
    pub var: String,
    /// Its values, in their order.
    pub values: Vec<String>,
}

impl Field {
    /// The value of a field that has one.
    pub fn one(&self) -> Result<&str, Condition> {
        match self.values.as_slice() {
            [value] => Ok(value),
            _ => Err(Condition::BadRequest),
        }
    }
}

/// The fields of the form of this type that `parent` holds; none without a form. A form of another type, one that is not
/// submitted, and one that says a thing twice is refused.
pub(crate) fn submitted(parent: Element<'_>, form_type: &str) -> Result<Vec<Field>, Condition> {
    let Some(mut fields) = filled(parent)? else { return Ok(Vec::new()) };
    // XEP-0068 §3.1
    let typed = fields.iter().position(|field| field.var == "FORM_TYPE").ok_or(Condition::BadRequest)?;
    let kind = fields.remove(typed);
    if kind.one()? != form_type {
        return Err(Condition::BadRequest);
    }
    Ok(fields)
}

/// All fields of the one form that `parent` holds, if it does. One that is not submitted, or says a thing twice, is refused.
pub(crate) fn filled(parent: Element<'_>) -> Result<Option<Vec<Field>>, Condition> {
    let mut forms = parent.children().filter(|child| child.is("x", ns::DATA_FORMS));
    let Some(form) = forms.next() else { return Ok(None) };
    if forms.next().is_some() || form.attr("type").as_deref() != Some("submit") {
        return Err(Condition::BadRequest);
    }
    let mut fields: Vec<Field> = Vec::new();
    for element in form.children().filter(|child| child.is("field", ns::DATA_FORMS)) {
        let var = element.attr("var").ok_or(Condition::BadRequest)?.into_owned();
        // The second bound keeps the search for repeated names short.
        if fields.iter().any(|field| field.var == var) || fields.len() >= FIELDS_MAX {
            return Err(Condition::BadRequest);
        }
        let values = element.children().filter(|child| child.is("value", ns::DATA_FORMS));
        fields.push(Field { var, values: values.map(|value| value.text().into_owned()).collect() });
    }
    Ok(Some(fields))
}

/// Fields of one form.
const FIELDS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::{Context, Limits, Nodes};

    fn read(inside: &str) -> Result<Vec<Field>, Condition> {
        let source = format!("<query xmlns='urn:q'>{inside}</query>");
        let mut nodes = Nodes::new();
        submitted(nodes.parse(source.as_bytes(), &Context::CLIENT, &Limits::STANZA).expect(inside), "urn:q")
    }

    fn form(fields: &str) -> String {
        let kind = "<field var='FORM_TYPE' type='hidden'><value>urn:q</value></field>";
        format!("<x xmlns='jabber:x:data' type='submit'>{kind}{fields}</x>")
    }

    #[test]
    fn reads_what_was_filled_in() {
        assert_eq!(read(""), Ok(vec![]));
        assert_eq!(read(&form("")), Ok(vec![]));
        let fields = "<field var='a'><value>1 &lt;</value><value/></field><field var='b' type='jid-single'/>";
        let expected = [("a", vec!["1 <", ""]), ("b", vec![])].map(|(var, values)| Field {
            var: var.to_owned(),
            values: values.into_iter().map(str::to_owned).collect(),
        });
        assert_eq!(read(&form(fields)), Ok(expected.to_vec()));
    }

    #[test]
    fn refuses_what_is_no_submitted_form_of_the_type() {
        let many: String = (0..100).map(|n| format!("<field var='v{n}'/>")).collect();
        for wrong in [
            form("").replace("submit", "cancel"),
            form("").replace("submit", "result"),
            form("").replace(" type='submit'", ""),
            form("").replace("urn:q", "urn:other"),
            "<x xmlns='jabber:x:data' type='submit'/>".to_owned(),
            form("").repeat(2),
            form("<field><value>1</value></field>"),
            form("<field var='a'/><field var='a'/>"),
            form("<field var='FORM_TYPE'><value>urn:q</value></field>"),
            form(&many),
        ] {
            assert_eq!(read(&wrong), Err(Condition::BadRequest), "{wrong}");
        }
    }
}
